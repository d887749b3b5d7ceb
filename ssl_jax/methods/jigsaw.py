"""Jigsaw (Noroozi and Favaro 2016, arXiv 1603.09246): by which permutation have the patches of an image been shuffled?

The nine patches of a grid are shuffled by one of a set of permutations that differ in as many places as can be. The
encoder sees each patch by itself ("context-free network"), and a head all of them, of which it tells the permutation
(section 3). Official code: MehdiNoroozi/JigsawPuzzleSolver.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np

from ssl_jax import losses
from ssl_jax.augment import puzzle
from ssl_jax.methods.api import Method
from ssl_jax.methods.parts import grids, networks, settings
from ssl_jax.methods.parts.patches import sheet

LARGEST_PICTURE = 8  # puzzles of the report


def build(config) -> Method:
    """Jigsaw from `config.model` (an encoder and its `head`), `config.augment` and `config.method`.

    `config.method`: `grid`, `patch`, `gap`, `jitter`, `pixelate_probability`, `least_pixels`, `colours` and `normalise`
    as `parts.grids.cutter` says; `permutations`, the size of their set; `layer`: the inner layer whose mean over places
    is what `encode` gives, "" for the encoder's output.

    Raises:
      ValueError: more permutations than there are, a larger grid than 3 x 3, a head of another number of outputs, or
        an unknown layer; see also `cutter`.
    """
    make, method, count = networks.make_networks(config, "head"), config.method, config.method.permutations
    cut, prepare = grids.cutter(config)
    layers = make()["encoder"].layers
    settings.check("config.method", method, layer=(method.layer in ("", *layers), f"'' or one of {', '.join(layers)}"))
    if method.grid > puzzle.LARGEST_GRID:
        raise ValueError(f"config.method.grid is {method.grid}; expected 2 or 3, whose permutations can be listed")
    if config.model.head.output_dim != count:
        raise ValueError(
            f"config.model.head.output_dim is {config.model.head.output_dim} and config.method.permutations {count}; "
            "expected as many outputs as permutations"
        )
    orders = puzzle.permutations(method.grid**2, count)

    def views(key, example):
        cut_key, order_key = jax.random.split(key)
        target = jax.random.randint(order_key, (1,), 0, count)
        shuffled = cut(cut_key, example)[jnp.asarray(orders)[target[0]]]
        return {"view_0": shuffled, "target": target, "index": example["index"]}

    def fuse(features, batch):
        return features.reshape(len(features), 1, -1)

    init, embed = grids.late_fusion(config, make, fuse)

    def objective(params, outputs, state, progress, axis_name):
        logits, target = outputs["logits"], outputs["target"]
        loss = losses.cross_entropy(logits, target, axis_name=axis_name)
        told = jnp.argmax(logits, axis=-1) == target
        return loss, state, {
            "jigsaw_top1": jnp.mean(told.astype(loss.dtype)), "chance_loss": jnp.asarray(math.log(count), loss.dtype),
        }  # fmt: skip

    def baselines(batch, outputs):
        """The accuracy of a guess."""
        return {"jigsaw_top1 of a guess": jnp.asarray(1 / count)}

    def pictures(params, state, batch, key):
        """A row an example: the patches as they are given, by the permutation that is told, and as they are."""
        batch = {name: rows[:LARGEST_PICTURE] for name, rows in batch.items()}
        outputs, _ = embed(params, state, batch, key, None, None, train=False)
        told = np.asarray(jnp.argmax(outputs["logits"], axis=-1)), np.asarray(batch["target"])
        given, show = np.asarray(batch["view_0"]), grids.shown(config)
        undone = [given[np.arange(len(given))[:, None], np.argsort(orders[ids[:, 0]], axis=1)] for ids in told]
        return {"puzzle": sheet(*(show(jnp.asarray(x)) for x in (given, *undone)))}

    return Method(
        init=init,
        views=views,
        embed=embed,
        objective=objective,
        encode=grids.encoder(config, make, prepare),
        baselines=baselines,
        describe=lambda batch_size: {"patches": f"{method.grid} x {method.grid} an image, {count} permutations"},
        pictures=pictures,
        separable=True,
    )
