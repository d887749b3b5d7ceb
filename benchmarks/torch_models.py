"""The models, losses and updates of `step.py` in plain PyTorch: what it compares ours with.

Modules are named as in `ssl_jax.models`, so that both sides start from the same weights and give the same first loss.
"""

import copy
from collections import OrderedDict

import jax
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from ssl_jax.models import vit
from ssl_jax.models.positions import SINCOS
from ssl_jax.models.resnet import BLOCKS
from ssl_jax.models.vit import SIZES


class ResNet(nn.Module):
    """`ssl_jax.models.resnet.ResNet`."""

    def __init__(self, model, channels: int):
        super().__init__()
        width, momentum, imagenet = int(64 * model.width), 1 - model.norm_momentum, model.stem == "imagenet"
        self.stem_conv = conv(channels, width, *((7, 2) if imagenet else (3, 1)))
        self.stem_norm = nn.BatchNorm2d(width, momentum=momentum)
        self.pool = nn.MaxPool2d(3, 2, 1) if imagenet else nn.Identity()
        inputs = width
        for stage, count in enumerate(BLOCKS[model.depth]):
            c, blocks = width * 2**stage, OrderedDict()
            for i in range(count):
                stride = 2 if stage and not i else 1
                bottleneck = ((c, 1, 1), (c, 3, stride), (4 * c, 1, 1))
                convs = bottleneck if model.depth >= 50 else ((c, 3, stride), (c, 3, 1))
                blocks[f"block_{i + 1}"] = ResidualBlock(inputs, convs, stride, momentum)
                inputs = convs[-1][0]
            self.add_module(f"stage_{stage + 1}", nn.Sequential(blocks))
        self.feature_dim, self.stages = inputs, len(BLOCKS[model.depth])

    def forward(self, images):
        x = self.pool(F.relu(self.stem_norm(self.stem_conv(images)), inplace=True))
        for stage in range(self.stages):
            x = self.get_submodule(f"stage_{stage + 1}")(x)
        return x.mean((2, 3), dtype=torch.float32)


class ResidualBlock(nn.Module):
    """A basic or a bottleneck block; `convs` are (features, size, stride)."""

    def __init__(self, inputs: int, convs, stride: int, momentum: float):
        super().__init__()
        self.count, outputs, before = len(convs), convs[-1][0], inputs
        for i, (features, size, step) in enumerate(convs, start=1):
            self.add_module(f"conv_{i}", conv(before, features, size, step))
            self.add_module(f"norm_{i}", nn.BatchNorm2d(features, momentum=momentum))
            before = features
        self.projects = stride > 1 or inputs != outputs
        if self.projects:
            self.shortcut_conv = conv(inputs, outputs, 1, stride)
            self.shortcut_norm = nn.BatchNorm2d(outputs, momentum=momentum)

    def forward(self, x):
        y = x
        for i in range(1, self.count + 1):
            y = getattr(self, f"norm_{i}")(getattr(self, f"conv_{i}")(y))
            y = F.relu(y, inplace=True) if i < self.count else y
        x = self.shortcut_norm(self.shortcut_conv(x)) if self.projects else x
        return F.relu(y + x, inplace=True)


def conv(inputs: int, outputs: int, size: int, stride: int):
    """A convolution without bias."""
    return nn.Conv2d(inputs, outputs, size, stride, (size - 1) // 2, bias=False)


class ViT(nn.Module):
    """`ssl_jax.models.vit.ViT` with a class token and fixed positions."""

    def __init__(self, model, channels: int, image_size: int):
        super().__init__()
        size, self.p, self.pool = SIZES[model.size], model.patch_size, model.pool
        width, heads, side = size["width"], model.heads or size["heads"], image_size // self.p
        self.patch_projection = nn.Linear(self.p**2 * channels, width)
        self.class_token = nn.Parameter(torch.zeros(1, 1, width))
        table = np.pad(SINCOS[model.positions](side, side, width), ((1, 0), (0, 0)))
        self.register_buffer("positions", torch.tensor(table, dtype=torch.float32)[None])
        self.blocks = [f"block_{i + 1}" for i in range(size["depth"])]
        for name in self.blocks:
            self.add_module(name, Block(width, heads))
        self.norm, self.feature_dim = nn.LayerNorm(width, vit.ViT.epsilon), width

    def forward(self, images):
        (b, c, height, width), p = images.shape, self.p
        x = images.reshape(b, c, height // p, p, width // p, p).permute(0, 2, 4, 3, 5, 1)
        x = self.patch_projection(x.reshape(b, -1, p * p * c))
        x = torch.cat([self.class_token.to(x.dtype).expand(b, -1, -1), x], dim=1) + self.positions.to(x.dtype)
        for name in self.blocks:
            x = getattr(self, name)(x)
        return self.norm(x[:, 0]) if self.pool == "class" else self.norm(x[:, 1:]).mean(1)


class Block(nn.Module):
    """A pre-norm block: attention, then a multilayer perceptron with an exact GELU."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.norm_1, self.norm_2 = nn.LayerNorm(width, vit.ViT.epsilon), nn.LayerNorm(width, vit.ViT.epsilon)
        self.attention = nn.ModuleDict({"qkv": nn.Linear(width, 3 * width), "out": nn.Linear(width, width)})
        self.mlp = nn.ModuleDict({"dense_1": nn.Linear(width, 4 * width), "dense_2": nn.Linear(4 * width, width)})

    def forward(self, x):
        b, tokens, width = x.shape
        qkv = self.attention["qkv"](self.norm_1(x)).reshape(b, tokens, 3, self.heads, width // self.heads)
        y = F.scaled_dot_product_attention(*qkv.permute(2, 0, 3, 1, 4))
        x = x + self.attention["out"](y.transpose(1, 2).reshape(b, tokens, width))
        return x + self.mlp["dense_2"](F.gelu(self.mlp["dense_1"](self.norm_2(x))))


class Head(nn.Sequential):
    """`ssl_jax.models.heads.MLPHead` as `config.model.<name>` describes it."""

    def __init__(self, head, inputs: int, momentum: float):
        super().__init__()
        widths = (*head.hidden_dims, head.output_dim)
        for i, width in enumerate(widths, start=1):
            last = i == len(widths)
            normed = head.norm != "none" and not (last and head.norm == "hidden")
            self.add_module(f"dense_{i}", nn.Linear(inputs, width, bias=head.bias and not normed))
            if normed:
                norm = nn.BatchNorm1d(width, momentum=momentum, affine=not (last and head.norm == "all_unscaled"))
                if last and head.norm == "all":  # a scale without an offset
                    del norm.bias
                    norm.register_buffer("bias", torch.zeros(width))
                self.add_module(f"norm_{i}", norm)
            if not last:
                self.add_module(f"relu_{i}", nn.ReLU(inplace=True))
            inputs = self.output_dim = width


class Step:
    """A training step without augmentation: forward passes, loss, gradient, update, teacher.

    SGD with momentum or AdamW, as `config.optim` says, at a constant learning rate; channels last, which is faster.

    Args:
      config: the whole config, of SimCLR or MoCo v3.
      params: our parameters, where this side starts.
      views: two arrays `[b, H, W, C]`.
      learning_rate: a float.
      device: "cpu" or "cuda".
    """

    def __init__(self, config, params, views, learning_rate: float, device: str):
        self.mixed = torch.autocast(device, torch.bfloat16, enabled=config.compute_dtype == "bfloat16")
        self.method = config.method
        model, (_, side, _, channels) = config.model, views[0].shape
        encoder = ResNet(model, channels) if model.name == "resnet" else ViT(model, channels, side)
        networks, inputs = {"encoder": encoder}, encoder.feature_dim
        for name in ("projector", "predictor")[: len(params) - 1]:
            networks[name] = Head(model[name], inputs, 1 - model.norm_momentum)
            inputs = networks[name].output_dim
        self.networks = nn.ModuleDict(networks)
        load(self.networks, params)
        self.networks.to(device, memory_format=torch.channels_last)
        self.views = [torch.tensor(view, device=device).permute(0, 3, 1, 2) for view in views]  # channels last, too
        self.teacher = None
        if self.method.name == "moco_v3":
            followed = nn.ModuleDict({name: self.networks[name] for name in ("encoder", "projector")})
            self.teacher, self.followed = copy.deepcopy(followed).requires_grad_(False), list(followed.parameters())
            if model.name == "vit" and config.optim.groups.patch_projection.frozen_steps:
                encoder.patch_projection.requires_grad_(False)
        self.optimizer = self._optimizer(config.optim, learning_rate)

    @property
    def parameters(self) -> int:
        """The number of parameters, without those of the teacher."""
        return sum(p.numel() for p in self.networks.parameters())

    def __call__(self, steps: int):
        """Takes steps, waits, and returns the last loss."""
        for _ in range(steps):
            loss = self._once()
        return loss.item()

    def _once(self):
        loss = self._simclr() if self.method.name == "simclr" else self._moco_v3()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        if self.teacher is not None:
            teacher = list(self.teacher.parameters())
            with torch.no_grad():
                torch._foreach_lerp_(teacher, self.followed, 1 - self.method.momentum)
        return loss.detach()

    def _run(self, networks, x):
        for network in networks.values():
            x = network(x)
        return F.normalize(x.float(), dim=1)

    def _simclr(self):
        with self.mixed:
            apart = self.method.get("separate_views", False)
            batches = self.views if apart else [torch.cat(self.views)]
            z = torch.cat([self._run(self.networks, batch) for batch in batches])
        logits = z @ z.T / self.method.temperature
        logits.fill_diagonal_(-torch.inf)
        partner = torch.arange(len(z), device=z.device).roll(len(z) // 2)
        return self.method.loss_scale * F.cross_entropy(logits, partner)

    def _moco_v3(self):
        with self.mixed:
            queries = [self._run(self.networks, view) for view in self.views]
            with torch.no_grad():
                keys = [self._run(self.teacher, view) for view in self.views]
        temperature, own = self.method.temperature, torch.arange(len(keys[0]), device=keys[0].device)
        directions = zip(queries, reversed(keys), strict=True)
        return 2 * temperature * sum(F.cross_entropy(q @ k.T / temperature, own) for q, k in directions)

    def _optimizer(self, optim, learning_rate):
        trained = [p for p in self.networks.parameters() if p.requires_grad]
        vectors = optim.groups.vectors.weight_decay
        vectors = optim.weight_decay if vectors is None else vectors
        groups = [
            {"params": [p for p in trained if p.ndim > 1], "weight_decay": optim.weight_decay},
            {"params": [p for p in trained if p.ndim <= 1], "weight_decay": vectors},
        ]
        if optim.name == "sgd":
            return torch.optim.SGD(groups, learning_rate, momentum=optim.momentum, fused=True)
        return torch.optim.AdamW(groups, learning_rate, fused=True)


def ready(device: str, threads: int) -> bool:
    """Whether there is such a device; sets the threads, and what makes float32 fast on a GPU."""
    torch.set_num_threads(threads)
    torch.backends.cudnn.benchmark = torch.backends.cuda.matmul.allow_tf32 = True
    return device == "cpu" or torch.cuda.is_available()


def load(module: nn.Module, params) -> None:
    """Copies our parameters into the module; each has a counterpart there of the same shape, and none is left over."""
    found = {}
    for path, leaf in jax.tree.leaves_with_path(params):
        *names, last = jax.tree_util.keystr(path, simple=True, separator=".").split(".")
        value = np.array(leaf)
        if last == "kernel":
            value = value.transpose(3, 2, 0, 1) if value.ndim == 4 else value.T
        found[".".join([*names, {"kernel": "weight", "scale": "weight"}.get(last, last)])] = torch.tensor(value.copy())
    if different := found.keys() ^ dict(module.named_parameters()).keys():
        raise ValueError(f"These parameters have no counterpart: {', '.join(sorted(different))}")
    module.load_state_dict(found, strict=False)  # without the buffers
