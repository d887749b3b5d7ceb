"""CLIP with a modified ResNet in PyTorch, written after arXiv 2103.00020 and 1812.01187, with the published names."""

from collections import OrderedDict

import torch
from torch import nn
from torch.nn import functional


class Bottleneck(nn.Module):
    def __init__(self, inputs, channels, stride):
        super().__init__()
        outputs = 4 * channels
        self.conv1, self.bn1 = nn.Conv2d(inputs, channels, 1, bias=False), nn.BatchNorm2d(channels)
        self.conv2, self.bn2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels)
        self.conv3, self.bn3 = nn.Conv2d(channels, outputs, 1, bias=False), nn.BatchNorm2d(outputs)
        self.shrink = nn.AvgPool2d(stride)
        self.downsample = None
        if stride > 1 or inputs != outputs:
            parts = {"-1": nn.AvgPool2d(stride), "0": nn.Conv2d(inputs, outputs, 1, bias=False)}
            self.downsample = nn.Sequential(OrderedDict(parts | {"1": nn.BatchNorm2d(outputs)}))

    def forward(self, x):
        y = torch.relu(self.bn1(self.conv1(x)))
        y = self.shrink(torch.relu(self.bn2(self.conv2(y))))
        return torch.relu(self.bn3(self.conv3(y)) + (x if self.downsample is None else self.downsample(x)))


class AttentionPool(nn.Module):
    """The mean of a map, put before its places, asks them all."""

    def __init__(self, places, width, heads, outputs):
        super().__init__()
        self.positional_embedding = nn.Parameter(torch.randn(places + 1, width) / width**0.5)
        self.k_proj, self.q_proj, self.v_proj = (nn.Linear(width, width) for _ in range(3))
        self.c_proj, self.heads = nn.Linear(width, outputs), heads

    def forward(self, x):
        x = x.flatten(2).transpose(1, 2)
        x = torch.cat([x.mean(1, keepdim=True), x], 1) + self.positional_embedding
        split = lambda y: y.unflatten(-1, (self.heads, -1)).transpose(1, 2)  # noqa: E731
        q, k, v = split(self.q_proj(x[:, :1])), split(self.k_proj(x)), split(self.v_proj(x))
        return self.c_proj(functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)[:, 0])


class ModifiedResNet(nn.Module):
    def __init__(self, blocks, width, outputs, size):
        super().__init__()
        half = width // 2
        self.conv1, self.bn1 = nn.Conv2d(3, half, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(half)
        self.conv2, self.bn2 = nn.Conv2d(half, half, 3, padding=1, bias=False), nn.BatchNorm2d(half)
        self.conv3, self.bn3 = nn.Conv2d(half, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)
        inputs = width
        for stage, count in enumerate(blocks):
            made, channels = [], width * 2**stage
            for block in range(count):
                made.append(Bottleneck(inputs, channels, 2 if block == 0 and stage else 1))
                inputs = 4 * channels
            setattr(self, f"layer{stage + 1}", nn.Sequential(*made))
        self.attnpool = AttentionPool((size // 32) ** 2, inputs, inputs // 64, outputs)

    def forward(self, x):
        for conv, norm in ((self.conv1, self.bn1), (self.conv2, self.bn2), (self.conv3, self.bn3)):
            x = torch.relu(norm(conv(x)))
        x = functional.avg_pool2d(x, 2)
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = stage(x)
        return self.attnpool(x)


class QuickGELU(nn.Module):
    def forward(self, x):
        return x * torch.sigmoid(1.702 * x)


class TextBlock(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.attn = nn.MultiheadAttention(width, heads, batch_first=True)
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        layers = {"c_fc": nn.Linear(width, 4 * width), "gelu": QuickGELU(), "c_proj": nn.Linear(4 * width, width)}
        self.mlp = nn.Sequential(OrderedDict(layers))

    def forward(self, x):
        y, length = self.ln_1(x), x.shape[1]
        later = torch.ones(length, length, dtype=torch.bool).triu(1)
        x = x + self.attn(y, y, y, attn_mask=later, need_weights=False)[0]
        return x + self.mlp(self.ln_2(x))


class CLIP(nn.Module):
    """Both towers; called with images [B, 3, H, W] and tokens [B, T], it gives the joint embeddings and the loss."""

    def __init__(self, *, blocks, width, outputs, size, vocabulary, length, text_width, depth, heads):
        super().__init__()
        self.visual = ModifiedResNet(blocks, width, outputs, size)
        self.transformer = nn.Module()
        self.transformer.resblocks = nn.Sequential(*(TextBlock(text_width, heads) for _ in range(depth)))
        self.token_embedding = nn.Embedding(vocabulary, text_width)
        self.positional_embedding = nn.Parameter(0.1 * torch.randn(length, text_width))
        self.ln_final = nn.LayerNorm(text_width)
        self.text_projection = nn.Parameter(torch.randn(text_width, outputs) / text_width**0.5)
        self.logit_scale = nn.Parameter(torch.tensor(2.0))

    def forward(self, images, tokens):
        z_image = self.visual(images)
        x = self.token_embedding(tokens) + self.positional_embedding
        x = self.ln_final(self.transformer.resblocks(x))
        z_text = x[torch.arange(len(x)), tokens.argmax(1)] @ self.text_projection
        unit = [functional.normalize(z, dim=1) for z in (z_image, z_text)]
        logits, right = self.logit_scale.exp() * unit[0] @ unit[1].T, torch.arange(len(x))
        loss = (functional.cross_entropy(logits, right) + functional.cross_entropy(logits.T, right)) / 2
        return z_image, z_text, loss
