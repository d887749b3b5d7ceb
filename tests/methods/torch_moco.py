"""MoCo v2 and v3 in torch and float64, in the order of their official code, for `test_moco_parity.py`.

Written from arXiv 1911.05722, 2003.04297 and 2104.02057 and from the behaviour of facebookresearch/moco at 132aea9 (its
CIFAR-10 demo where the loss is symmetric) and facebookresearch/moco-v3 at c349e6e. Nothing of ssl_jax runs here. Only
the names and layouts of its parameters are shared: nested dicts, convolutions [H, W, in, out], dense layers [in, out].
Running statistics are dicts of the same names. Images are [B, C, H, W].
"""

import math

import jax
import torch
from torch.nn import functional as F


def tensors(tree, trained=False):
    """Float64 copies of arrays."""
    return jax.tree.map(lambda leaf: torch.tensor(leaf, dtype=torch.float64, requires_grad=trained), tree)


# Networks: `encoder(params, stats, images, groups) -> features`; in training mode, so that `stats` moves.


def batch_norm(x, params, stats, groups):
    """One batch norm on every GPU's contiguous rows; the running statistics are the mean of the GPUs' (the demo's)."""
    made, means, variances = [], [], []
    for rows in x.chunk(groups):
        mean, variance = stats["mean"].clone(), stats["var"].clone()
        made.append(F.batch_norm(rows, mean, variance, params.get("scale"), params.get("bias"), training=True))
        means.append(mean)
        variances.append(variance)
    stats["mean"], stats["var"] = torch.stack(means).mean(0), torch.stack(variances).mean(0)
    return torch.cat(made)


def convolve(x, params, stride=1, padding=1):
    return F.conv2d(x, params["kernel"].permute(3, 2, 0, 1), stride=stride, padding=padding)


def resnet(params, stats, images, groups):
    """He et al. 2015 with basic blocks, as changed for CIFAR: a first convolution 3x3 of stride 1, no max-pool."""

    def norm(x, *names):
        p, s = params, stats
        for name in names:
            p, s = p[name], s[name]
        return batch_norm(x, p, s, groups)

    x = norm(convolve(images, params["stem_conv"]), "stem_norm").relu()
    for stage in sorted(name for name in params if name.startswith("stage_")):
        for block in sorted(params[stage]):
            p, stride = params[stage][block], 2 if block == "block_1" and stage != "stage_1" else 1
            y = norm(convolve(x, p["conv_1"], stride), stage, block, "norm_1").relu()
            y = norm(convolve(y, p["conv_2"]), stage, block, "norm_2")
            if stride == 2:
                x = norm(convolve(x, p["shortcut_conv"], stride, padding=0), stage, block, "shortcut_norm")
            x = (x + y).relu()
    return x.mean((2, 3))


def vit(patch_size, heads):
    """Dosovitskiy et al. 2020 with the fixed positions of MoCo v3; the output is the normed class token."""

    def linear(x, p):
        return F.linear(x, p["kernel"].T, p["bias"])

    def norm(x, p):
        return F.layer_norm(x, x.shape[-1:], p["scale"], p["bias"], eps=1e-6)

    def attend(x, p):
        b, tokens, width = x.shape
        q, k, v = linear(x, p["qkv"]).view(b, tokens, 3, heads, width // heads).permute(2, 0, 3, 1, 4)
        weights = (q @ k.transpose(2, 3) / math.sqrt(width // heads)).softmax(-1)
        return linear((weights @ v).transpose(1, 2).reshape(b, tokens, width), p["out"])

    def encode(params, stats, images, groups):
        projection, token = params["patch_projection"], params["class_token"]
        width, side = token.shape[-1], images.shape[-1] // patch_size
        kernel = projection["kernel"].view(patch_size, patch_size, -1, width).permute(3, 2, 0, 1)
        patches = F.conv2d(images, kernel, projection["bias"], stride=patch_size).flatten(2).transpose(1, 2)
        x = torch.cat([token.expand(len(images), 1, width), patches + sine_cosine(side, width)], 1)
        for name in sorted(name for name in params if name.startswith("block_")):
            p = params[name]
            x = x + attend(norm(x, p["norm_1"]), p["attention"])
            y = F.gelu(linear(norm(x, p["norm_2"]), p["mlp"]["dense_1"]))
            x = x + linear(y, p["mlp"]["dense_2"])
        return norm(x, params["norm"])[:, 0]

    return encode


def sine_cosine(side, width):
    """Positions [side^2, width] of a square grid: sines, cosines of the row, then of the column; the token has none."""
    frequencies = 10000.0 ** -(torch.arange(width // 4, dtype=torch.float64) / (width // 4))
    rows = torch.arange(side, dtype=torch.float64).repeat_interleave(side)[:, None] * frequencies
    columns = torch.arange(side, dtype=torch.float64).repeat(side)[:, None] * frequencies
    return torch.cat([rows.sin(), rows.cos(), columns.sin(), columns.cos()], 1)


def mlp_v2(params, x):
    """The projector of MoCo v2: linear, ReLU, linear, with biases."""
    hidden = F.linear(x, params["dense_1"]["kernel"].T, params["dense_1"]["bias"]).relu()
    return F.linear(hidden, params["dense_2"]["kernel"].T, params["dense_2"]["bias"])


def mlp_v3(params, stats, x, layers, last_norm):
    """Projector or predictor of MoCo v3: no biases; batch norm and ReLU between layers, a plain batch norm at last."""
    for layer in range(1, layers + 1):
        x = F.linear(x, params[f"dense_{layer}"]["kernel"].T)
        if layer < layers:
            x = batch_norm(x, params[f"norm_{layer}"], stats[f"norm_{layer}"], groups=1).relu()
        elif last_norm:
            x = batch_norm(x, {}, stats[f"norm_{layer}"], groups=1)
    return x


# Training: in every step the teacher follows first, then come the loss and the step of SGD.


def cosine(start, end, fraction):
    """From `start` to `end`: the learning rate of both versions, and the momentum of v3."""
    return end + (start - end) * (1 + math.cos(math.pi * fraction)) / 2


class Trainer:
    """An encoder with its heads, their teacher, and `torch.optim.SGD`, which passes over what is frozen."""

    def __init__(self, encoder, params, stats, *, momentum, weight_decay, frozen=()):
        self.encoder, self.stats, self.teacher_stats = encoder, tensors(stats), tensors(stats)
        self.params, self.teacher = tensors(params, trained=True), tensors(params)
        for name in frozen:
            for leaf in jax.tree.leaves(self.params["encoder"][name]):
                leaf.requires_grad_(False)
        trained = [leaf for leaf in jax.tree.leaves(self.params) if leaf.requires_grad]
        self.optimizer = torch.optim.SGD(trained, lr=1.0, momentum=momentum, weight_decay=weight_decay)

    @torch.no_grad()
    def follow(self, momentum):
        """The teacher's parameters move towards the trained ones; its running statistics are its own."""

        def move(own, trained):
            own.copy_(own * momentum + trained * (1 - momentum))

        jax.tree.map(move, self.teacher, {name: self.params[name] for name in self.teacher})

    def step(self, learning_rate, momentum, *inputs):
        """One step of training; returns its loss."""
        self.follow(momentum)
        loss = self.loss(*inputs)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.param_groups[0]["lr"] = learning_rate
        self.optimizer.step()
        return loss.item()


class MoCoV2(Trainer):
    """Queries find their keys among those of the queue; on every GPU keys are of images shuffled over all GPUs."""

    def __init__(self, *args, queue, temperature, groups, symmetric, **options):
        super().__init__(*args, **options)
        self.queue, self.pointer = tensors(queue).T.contiguous(), 0  # [D, K]
        self.temperature, self.groups, self.symmetric = temperature, groups, symmetric

    def embed(self, params, stats, images):
        features = self.encoder(params["encoder"], stats["encoder"], images, self.groups)
        return F.normalize(mlp_v2(params["projector"], features), dim=1)

    def contrast(self, query_images, key_images, order):
        query = self.embed(self.params, self.stats, query_images)
        with torch.no_grad():
            shuffled = self.embed(self.teacher, self.teacher_stats, key_images[order])
            key = shuffled[order.argsort()]
        positive, negative = (query * key).sum(1, keepdim=True), query @ self.queue.clone()
        logits = torch.cat([positive, negative], 1) / self.temperature
        return F.cross_entropy(logits, torch.zeros(len(logits), dtype=torch.long)), key

    def loss(self, view_0, view_1, order_0, order_1):
        """`order_0`, `order_1`: the permutation that shuffles a view's images where they become keys."""
        loss, keys = self.contrast(view_0, view_1, order_1)
        if self.symmetric:
            other, keys_0 = self.contrast(view_1, view_0, order_0)
            loss, keys = loss + other, torch.cat([keys_0, keys])
        end = self.pointer + len(keys)
        self.queue[:, self.pointer : end] = keys.T
        self.pointer = end % self.queue.shape[1]
        return loss


class MoCoV3(Trainer):
    """Both views are queries, through a predictor, and keys; the batch's other keys are the negatives."""

    def __init__(self, *args, temperature, projector, predictor, **options):
        super().__init__(*args, **options)
        self.temperature, self.projector, self.predictor = temperature, projector, predictor
        del self.teacher["predictor"], self.teacher_stats["predictor"]

    def embed(self, params, stats, images):
        features = self.encoder(params["encoder"], stats["encoder"], images, 1)
        return mlp_v3(params["projector"], stats["projector"], features, **self.projector)

    def query(self, images):
        z = self.embed(self.params, self.stats, images)
        return mlp_v3(self.params["predictor"], self.stats["predictor"], z, **self.predictor)

    def contrast(self, query, key):
        logits = F.normalize(query, dim=1) @ F.normalize(key, dim=1).T / self.temperature
        return 2 * self.temperature * F.cross_entropy(logits, torch.arange(len(logits)))

    def loss(self, view_0, view_1):
        query_0, query_1 = self.query(view_0), self.query(view_1)
        with torch.no_grad():
            key_0, key_1 = (self.embed(self.teacher, self.teacher_stats, view) for view in (view_0, view_1))
        return self.contrast(query_0, key_1) + self.contrast(query_1, key_0)
