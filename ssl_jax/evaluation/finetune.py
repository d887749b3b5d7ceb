"""Fine-tuning: a linear classifier on the encoder, and both trained on labels, lower layers at lower rates."""

import re
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from ssl_jax.evaluation import mixing

INPUTS = {"patch_projection", "token_embedding", "segment_embedding", "mask_token", "pre_norm"}  # before block 1
UNDECAYED = {"class_token", "position_embedding"}  # those, too, and without weight decay, as biases and norms
MARKS = {"label", "speaker", "index", "row", "valid"}  # what of a batch the encoder is not given
HEAD_STD = 2e-5  # of the classifier's initial kernel


class Task(NamedTuple):
    """What there is to fine-tune.

    Attributes:
      encode: `(params, state, inputs, keys) -> features [b, F]`; with keys `[b]` in training mode.
      views: `(keys [b], batch) -> batch` with random views in place of images; None for images as `encode` sees them.
      encode_views: as `encode`, of training batches: of what `views` gives no border is cropped.
      networks: kind -> (params, state).
      batches: `(batch size, seed) -> iterator` of training batches, for ever: dicts of arrays [b, ...] with `label`.
      test: `batch size -> batches` of the test split, once; `valid` bool [b] marks the rows that count.
      place: puts a batch, and a tree that all devices share, on the devices: `place(batch)`, `place(tree, True)`.
      examples: rows of the training split.
      num_classes: the number of labels.
      settings: `config.eval.finetune`.
    """

    encode: Callable
    views: Callable | None
    encode_views: Callable
    networks: dict[str, tuple[Any, Any]]
    batches: Callable
    test: Callable
    place: Callable
    examples: int
    num_classes: int
    settings: dict


def finetune(task: Task, kind: str, seed: int) -> float:
    """Test accuracy after training one encoder and a classifier on its features, by AdamW with a warm-up and a cosine.

    The loss is the cross-entropy of `mixing.smoothed` labels, mixed by `mixing.mix`. The learning rate of a layer is
    that of the head times `layer_decay` for every block above it, see `layer_scales`. Batch norm keeps its statistics.
    Random numbers depend on the seed, the step and the row in the batch, so that the number of devices counts for
    nothing but rounding.

    Args:
      task: see `Task`; its `settings` are `epochs`, `batch_size`, `learning_rate` (at batch 256), `warmup_epochs`,
        `end_learning_rate`, `weight_decay`, `layer_decay`, `label_smoothing`, `mixup` and `cutmix`. MAE's published
        ones for ViT-B / L / H: 100 / 50 / 50 epochs of batch 1024, rate 5e-4 / 1e-3 / 1e-3, 5 epochs of warm-up, 1e-6,
        0.05, 0.65 / 0.75 / 0.75, 0.1, 0.8 and 1.0, `drop_path` 0.1 / 0.2 / 0.3, which `encode` is built with, and
        crops of 8 % of the image or more, half of them mirrored, which `views` are built with.
      kind: which of the networks.
      seed: of the order of the rows and everything random.

    Returns: top-1, a fraction.

    Raises:
      ValueError: crops or mixing of what are no images; a warm-up as long as the training.

    Source: He et al. 2022, arXiv 2111.06377, appendix A.1, table 9; facebookresearch/mae, main_finetune.py, which also
    has RandAugment, random erasing, positions that are trained, and a LayerNorm on the mean of the tokens in place of
    the one before it.
    """
    settings, (params, state) = task.settings, task.networks[kind]
    size = min(settings["batch_size"], task.examples)
    steps = max(1, int(settings["epochs"] * task.examples / size))
    params, state, batches = task.place(params, True), task.place(state, True), task.batches(size, seed)
    first = next(batches)
    check(settings, first, steps, task.examples / size)
    key = jax.random.key(seed)

    def features_of(params, batch, keys, encode=task.encode):
        found = encode(params["method"], state, {name: x for name, x in batch.items() if name in inputs}, keys)
        return found.astype(jnp.promote_types(found.dtype, jnp.float32))

    inputs = set(first) - MARKS
    width = jax.eval_shape(lambda batch: features_of({"method": params}, batch, None), first).shape[1]
    params = {"method": params, "head": task.place(classifier(key, width, task.num_classes), True)}
    optimizer = make_optimizer(params, settings, size, steps, task.examples / size)
    # Training mode would normalise by the rows at hand, of which `encode` keeps no statistics for the test.
    draws = not jax.tree.leaves(state.get("batch_stats", {}))

    @partial(jax.jit, donate_argnums=(0, 1))
    def step(params, moments, batch, number):
        own = jax.random.fold_in(key, number)
        keys = jax.vmap(jax.random.fold_in, (None, 0))(own, jnp.arange(size)) if draws else None
        targets = mixing.smoothed(batch["label"], task.num_classes, settings["label_smoothing"])
        if task.views:
            of_views = jax.random.fold_in(own, size + 1)
            batch = task.views(jax.vmap(jax.random.fold_in, (None, 0))(of_views, jnp.arange(size)), batch)
        if settings["mixup"] or settings["cutmix"]:
            shares, of_mix = {name: settings[name] for name in ("mixup", "cutmix")}, jax.random.fold_in(own, size)
            images, targets = mixing.mix(of_mix, batch["image"], targets, **shares)
            batch = batch | {"image": images}

        def loss(params):
            seen = features_of(params, batch, keys, task.encode_views)
            logits = classify(params["head"], seen)
            return optax.softmax_cross_entropy(logits, targets).mean()

        updates, moments = optimizer.update(jax.grad(loss)(params), moments, params)
        return optax.apply_updates(params, updates), moments

    moments, batch = optimizer.init(params), first
    for number in range(steps):
        batch = first if number == 0 else next(batches)
        params, moments = step(params, moments, task.place(batch), number)

    @jax.jit
    def predict(params, batch):
        return jnp.argmax(classify(params["head"], features_of(params, batch, None)), axis=1)

    return accuracy(partial(predict, params), task.test(size), task.place)


def classifier(key, width: int, num_classes: int) -> dict:
    """A linear layer: kernel N(0, 2e-5^2), bias 0, as in the official code of MAE."""
    kernel = HEAD_STD * jax.random.normal(key, (width, num_classes))
    return {"kernel": kernel, "bias": jnp.zeros(num_classes)}


def classify(head, features):
    """Logits `[b, C]`, in float32 or wider."""
    return jnp.matmul(features, head["kernel"], precision=lax.Precision.HIGHEST) + head["bias"][None]


def accuracy(predict: Callable, batches: Iterable[dict], place: Callable) -> float:
    """The share of the valid rows whose label `predict(batch) -> int [b]` tells."""
    right, rows = 0, 0
    for batch in batches:
        valid = batch.pop("valid")
        right += int(np.sum((np.asarray(predict(place(batch))) == batch["label"])[valid]))
        rows += int(valid.sum())
    return right / rows


def make_optimizer(params, settings, size: int, steps: int, steps_per_epoch: float) -> optax.GradientTransformation:
    """AdamW with a rate for every layer, of `{"method": params, "head": classifier}`."""
    decay = settings["layer_decay"]
    scales = {"method": layer_scales(params["method"], decay), "head": jax.tree.map(lambda _: 1.0, params["head"])}
    schedule = optax.warmup_cosine_decay_schedule(
        0.0, settings["learning_rate"] * size / 256, int(settings["warmup_epochs"] * steps_per_epoch), steps,
        settings["end_learning_rate"],
    )  # fmt: skip

    def scaled(updates, state, params=None):
        return jax.tree.map(lambda update, scale: update * scale, updates, scales), state

    return optax.chain(
        optax.scale_by_adam(), optax.add_decayed_weights(settings["weight_decay"], decays),
        optax.GradientTransformation(optax.init_empty_state, scaled), optax.scale_by_learning_rate(schedule),
    )  # fmt: skip


def decays(params):
    """Which parameters have weight decay: those of two dimensions or more but for `UNDECAYED`."""
    return jax.tree_util.tree_map_with_path(lambda path, leaf: leaf.ndim > 1 and not UNDECAYED & names(path), params)


def layer_scales(params, decay: float):
    """`decay^(n + 1 - k)` for the parameters of block k of n; k = 0 for what stands before them, n + 1 behind them.

    Blocks are those of the encoder, of a residual network in the order of its stages; an encoder without any has 1
    everywhere.

    >>> layer_scales({"encoder": {"patch_projection": 0, "block_1": 0, "norm": 0}}, 0.5)
    {'encoder': {'block_1': 0.5, 'norm': 1.0, 'patch_projection': 0.25}}

    Source: Clark et al. 2020, arXiv 2003.10555; facebookresearch/mae, util/lr_decay.py.
    """
    encoder = params.get("encoder", params)
    blocks = sorted({block_of(path) for path, _ in jax.tree_util.tree_leaves_with_path(encoder)} - {()})
    # The one outer norm of a BERT stands before its blocks.
    inputs = INPUTS | UNDECAYED | ({"norm"} if "token_embedding" in encoder else set())

    def scale(path, _):
        found, above = block_of(path), len(blocks) + 1
        if found in blocks:
            return decay ** (len(blocks) - blocks.index(found))
        is_first = blocks and any(name in inputs or name.startswith("stem") for name in names(path))
        return decay ** (above if is_first else 0)

    return jax.tree_util.tree_map_with_path(scale, params)


def names(path) -> set[str]:
    """The keys of a path in a tree."""
    return {str(entry.key) for entry in path}


def block_of(path) -> tuple[int, ...]:
    """The numbers of stage and block in a path, () where there are none.

    >>> [block_of(path) for path, _ in jax.tree_util.tree_leaves_with_path({"norm": 0, "stage_1_block_2": 0})]
    [(), (1, 2)]
    """
    named = (str(entry.key) for entry in path)
    found = (re.findall(r"\d+", name) for name in named if re.match(r"(?:stage|block)_\d", name))
    return tuple(int(number) for numbers in found for number in numbers)


def check(settings, batch, steps: int, steps_per_epoch: float) -> None:
    """Refuses settings that do not fit the data."""
    held = ", ".join(sorted(set(batch) - MARKS))
    of_images = [name for name in ("mixup", "cutmix", "crop_min", "flip_probability") if settings[name]]
    if of_images and "image" not in batch:
        raise ValueError(
            f"config.eval.finetune.{' and .'.join(of_images)} are for images, and the data has {held}; set them to 0"
        )
    if int(settings["warmup_epochs"] * steps_per_epoch) >= steps:
        raise ValueError(
            f"config.eval.finetune.warmup_epochs is {settings['warmup_epochs']} of {settings['epochs']} epochs; "
            "expected fewer than there are"
        )
