"""Context prediction (Doersch et al. 2015, arXiv 1505.05192): where does this patch lie, seen from that one?

Patches are cut from a grid in an image. The encoder sees each by itself, and a head two of them at once, of which it
tells in which of eight directions the second lies from the first (figures 2 and 3). Gaps, jitter, noise in place of
colours or a projection of them, and random scaling down keep it from telling by what has nothing to do with objects
(section 3.1). Official code: cdoersch/deepcontext, train.py.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np

from ssl_jax import losses
from ssl_jax.augment import puzzle
from ssl_jax.methods.api import Method
from ssl_jax.methods.parts import grids, networks, settings
from ssl_jax.methods.parts.patches import sheet, shuffled

PAIRS = ("all", "each", "centre")
LARGEST_PICTURE = 8  # puzzles of the report


def build(config) -> Method:
    """Context prediction from `config.model` (an encoder and its `head`), `config.augment` and `config.method`.

    `config.method`: `grid`, `patch`, `gap`, `jitter`, `pixelate_probability`, `least_pixels`, `colours` and `normalise`
    as `parts.grids.cutter` says; `pairs`: "all" (every ordered pair of neighbours, as in the code), "each" (a random
    one of each direction) or "centre" (the centre of 3 x 3 and its neighbours); `layer`: the inner layer whose mean
    over places is what `encode` gives, "" for the encoder's output.

    Raises:
      ValueError: an unknown kind of pairs or layer, a grid without a centre, a head that has not 8 outputs; see also
        `cutter`.
    """
    make, method, directions = networks.make_networks(config, "head"), config.method, len(puzzle.DIRECTIONS)
    cut, prepare = grids.cutter(config)
    layers = make()["encoder"].layers
    settings.check("config.method", method, layer=(method.layer in ("", *layers), f"'' or one of {', '.join(layers)}"))
    if method.pairs not in PAIRS or (method.pairs == "centre" and method.grid != 3):
        raise ValueError(
            f"config.method.pairs is {method.pairs!r} with config.method.grid = {method.grid}; expected one of "
            f"{', '.join(PAIRS)}, 'centre' with a grid of 3"
        )
    if config.model.head.output_dim != directions:
        raise ValueError(f"config.model.head.output_dim is {config.model.head.output_dim}; expected 8, the directions")
    table = puzzle.neighbours(method.grid)
    if method.pairs == "centre":
        table = table[table[:, 0] == method.grid**2 // 2]
    counts = np.bincount(table[:, 2])  # the table is in the order of the directions
    starts = np.cumsum(counts) - counts

    def views(key, example):
        cut_key, pair_key = jax.random.split(key)
        pairs = jnp.asarray(table)
        if method.pairs == "each":
            pairs = pairs[starts + jax.random.randint(pair_key, (directions,), 0, counts)]
        found = cut(cut_key, example)
        return {"view_0": found, "pairs": pairs[:, :2], "target": pairs[:, 2], "index": example["index"]}

    def fuse(features, batch):
        two = [jnp.take_along_axis(features, batch["pairs"][..., i, None], axis=1) for i in (0, 1)]
        return jnp.concatenate(two, axis=-1)

    init, embed = grids.late_fusion(config, make, fuse)

    def objective(params, outputs, state, progress, axis_name):
        logits, target = outputs["logits"], outputs["target"]
        loss = losses.cross_entropy(logits, target, axis_name=axis_name)
        told = (jnp.argmax(logits, axis=-1) == target).astype(loss.dtype)
        metrics = {"context_top1": jnp.mean(told), "chance_loss": jnp.asarray(math.log(directions), loss.dtype)}
        for direction, name in enumerate(puzzle.NAMES):  # every example has as many pairs of a direction
            chosen = (target == direction).astype(loss.dtype)
            metrics[f"context_top1_{name}"] = jnp.sum(told * chosen) / jnp.sum(chosen)
        return loss, state, metrics

    def baselines(batch, outputs):
        """The accuracy of always naming the direction that most pairs have."""
        return {"context_top1 of a guess": jnp.max(jnp.mean(jax.nn.one_hot(batch["target"], directions), axis=(0, 1)))}

    def pictures(params, state, batch, key):
        """A row an example: its patches shuffled, as the predictions for all pairs put them together, and as they are.

        Of grids of up to 3 x 3 patches, for which all arrangements are tried.
        """
        if method.grid > puzzle.LARGEST_GRID:
            return {}
        true = batch["view_0"][:LARGEST_PICTURE]
        b, n = true.shape[:2]
        order = shuffled(jax.random.split(key, b), n)
        given = jnp.take_along_axis(true, order[..., None, None, None], axis=1)
        scores = pair_scores(embed, params, state, given, batch["index"][:b])
        solved = np.stack([puzzle.assemble(one, method.grid) for one in np.asarray(scores)])
        found = np.take_along_axis(np.asarray(given), solved[..., None, None, None], axis=1)
        show = grids.shown(config)
        return {"puzzle": sheet(*(show(jnp.asarray(x)) for x in (given, found, true)))}

    return Method(
        init=init,
        views=views,
        embed=embed,
        objective=objective,
        encode=grids.encoder(config, make, prepare),
        baselines=baselines,
        describe=lambda batch_size: {
            "patches": f"{method.grid} x {method.grid} an image, {8 if method.pairs != 'all' else len(table)} pairs"
        },
        pictures=pictures,
        separable=True,
    )


def pair_scores(embed, params, state, found, index):
    """Log probabilities of the directions for all pairs of patches `[b, n, p, p, C]`, `[b, n, n, 8]`."""
    b, n = found.shape[:2]
    pairs = jnp.stack(jnp.meshgrid(jnp.arange(n), jnp.arange(n), indexing="ij"), axis=-1).reshape(1, n * n, 2)
    batch = {"view_0": found, "pairs": jnp.broadcast_to(pairs, (b, n * n, 2)), "index": index}
    batch["target"] = jnp.zeros((b, n * n), jnp.int32)
    outputs, _ = embed(params, state, batch, jax.random.key(0), None, None, train=False)
    return jax.nn.log_softmax(outputs["logits"]).reshape(b, n, n, -1)
