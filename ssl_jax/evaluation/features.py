"""Feature arrays: from an encoder, and from an untrained encoder with settled statistics."""

from collections.abc import Callable, Iterable

import jax
import jax.numpy as jnp
import numpy as np

KEPT = ("label", "speaker")  # batch keys that stand beside the features


def extract(encode: Callable, batches: Iterable[dict], keep: Iterable[str] = KEPT) -> dict[str, np.ndarray]:
    """The features of every valid row, in the order of the batches.

    Args:
      encode: jitted, `dict batch -> features [b, F]`; gets the batch without `valid`.
      batches: dicts of arrays [b, ...] of one size; `valid` bool [b] marks the rows that count (all where absent),
        `label` is optional.
      keep: batch keys that are returned beside the features, such as "mask" for a probe of segmentation.

    Returns:
      `features` float32 [N, F], and what the batches have of `keep`, labels as int32.

    >>> batch = {"image": np.ones((4, 2)), "label": np.arange(4), "valid": np.arange(4) < 3}
    >>> extract(lambda batch: 2 * batch["image"], [batch])["label"].tolist()
    [0, 1, 2]
    """
    parts, pending = [], None

    def collect(features, valid, kept):
        part = {"features": np.asarray(features, np.float32), **kept}
        parts.append({name: array[valid] for name, array in part.items()})

    for batch in batches:
        inputs = {name: array for name, array in batch.items() if name != "valid"}
        valid = batch.get("valid", np.ones(len(next(iter(inputs.values()))), bool))
        features = encode(inputs)
        # Features are fetched after the next batch has been dispatched: the device does not wait for the host.
        if pending is not None:
            collect(*pending)
        kept = {name: np.asarray(inputs[name]) for name in keep if name in inputs}
        if "label" in kept:
            kept["label"] = kept["label"].astype(np.int32)
        pending = features, np.asarray(valid), kept
    collect(*pending)
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def pooled(features, share=None):
    """The means of maps `[B, ..., C]` over their places, `[B, C]`, in float32 or wider; what is `[B, F]` stays.

    `share` `[B]`, for sequences `[B, T, C]` with padding behind them: the part of an example that is none, in (0, 1].

    >>> pooled(jnp.array([[[1.0], [3.0], [0.0], [0.0]]]), share=jnp.array([0.5])).tolist()
    [[2.0]]
    """
    places, wide = tuple(range(1, features.ndim - 1)), jnp.promote_types(features.dtype, jnp.float32)
    if features.ndim != 3 or share is None:
        return jnp.mean(features, axis=places, dtype=wide) if places else features
    count = _count(features, share)
    weights = (jnp.arange(features.shape[1])[None] < count[:, None]).astype(wide)
    return jnp.einsum("btc,bt->bc", features.astype(wide), weights) / count[:, None].astype(wide)


def spread(sequences, share=None, *, count: int):
    """`count` frames of sequences `[B, T, C]`, evenly spaced over what is no padding: `[B, count, C]`.

    `share` as in `pooled`; a frame comes more than once where there are fewer.

    >>> spread(jnp.arange(6.0).reshape(1, 6, 1), share=jnp.array([0.5]), count=3).ravel().tolist()
    [0.0, 1.0, 2.0]
    """
    held = jnp.full(len(sequences), sequences.shape[1]) if share is None else _count(sequences, share)
    places = jnp.floor((jnp.arange(count)[None] + 0.5) * held[:, None] / count).astype(jnp.int32)
    return jnp.take_along_axis(sequences, places[:, :, None], axis=1)


def _count(sequences, share):
    """How many frames of sequences `[B, T, C]` are no padding, one or more, float `[B]`."""
    return jnp.maximum(jnp.floor(share * sequences.shape[1] + 1e-3), 1)  # a third of 3 places is one, rounded or not


def grid_pooled(maps, share=None, *, values: int = 9000):
    """Maps `[B, h, w, C]` averaged over a grid of s x s cells and flattened: `[B, s s C]`, s = round(sqrt(values / C)).

    At most as many cells as there are places. What is no map is `pooled` with its `share`. With AlexNet's channels the
    grids have 10, 6, 5, 5 and 6 cells a side: the 9,600, 9,216, 9,600, 9,600 and 9,216 values of the papers' probes.

    >>> grid_pooled(jnp.ones((1, 13, 13, 256))).shape
    (1, 9216)

    Source: Zhang et al. 2016, arXiv 1603.08511, section 3.2 and appendix; Zhang et al. 2017, arXiv 1611.09842.
    """
    if maps.ndim != 4:
        return pooled(maps, share)
    side = max(1, round((values / maps.shape[-1]) ** 0.5))
    wide = jnp.promote_types(maps.dtype, jnp.float32)
    rows, columns = (jnp.asarray(averaging(places, min(places, side)), wide) for places in maps.shape[1:3])
    cells = jnp.einsum("bhwc,ih,jw->bijc", maps.astype(wide), rows, columns, precision="highest")
    return cells.reshape(len(maps), -1)


def averaging(places: int, cells: int) -> np.ndarray:
    """A matrix `[cells, places]` whose row i averages the places from `floor(i p / c)` to `ceil((i + 1) p / c)`.

    >>> averaging(4, 2).tolist()
    [[0.5, 0.5, 0.0, 0.0], [0.0, 0.0, 0.5, 0.5]]
    """
    matrix = np.zeros((cells, places))
    for i in range(cells):
        first, end = i * places // cells, -(-(i + 1) * places // cells)
        matrix[i, first:end] = 1 / (end - first)
    return matrix


def statistics(features) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of every column, float32 [F]; constant columns have standard deviation 1.

    >>> mean, std = statistics(np.array([[1.0, 5.0], [3.0, 5.0]]))
    >>> mean.tolist(), std.tolist()
    ([2.0, 5.0], [1.0, 1.0])
    """
    mean = features.mean(axis=0, dtype=np.float64)
    std = features.std(axis=0, dtype=np.float64)
    constant = std <= 1e-6 * np.maximum(np.abs(mean), 1e-6)
    return mean.astype(np.float32), np.where(constant, 1.0, std).astype(np.float32)


def shuffled_ranks(labels, rng: np.random.Generator) -> np.ndarray:
    """Every row's place in a random order of its class, int64 [N]: `ranks < m` draws m rows of each class.

    >>> labels = np.array([0, 1, 0, 1, 0])
    >>> ranks = shuffled_ranks(labels, np.random.default_rng(0))
    >>> sorted(ranks[labels == 0].tolist()), sorted(ranks[labels == 1].tolist())
    ([0, 1, 2], [0, 1])
    """
    labels = np.asarray(labels)
    order = rng.permutation(len(labels))
    order = order[np.argsort(labels[order], kind="stable")]
    first = np.searchsorted(labels[order], labels[order])
    ranks = np.empty(len(labels), np.int64)
    ranks[order] = np.arange(len(labels)) - first
    return ranks


def calibrate(embed: Callable, params, state, batches: Iterable[dict], key, progress=None):
    """The state of UNtrained networks after train-mode passes, so that their running statistics describe the data.

    A random encoder with initial statistics (mean 0, variance 1) is a strawman: its normalisation does nothing. With
    momentum 0.9, 50 batches leave 0.5 % of the initial values.

    Args:
      embed: `Method.embed`, `(params, state, batch, key, progress, axis_name) -> outputs, state`.
      batches: about 50 training batches after `views`, all of one shape.
      progress: handed to `embed`.

    Returns:
      the state after the last batch; the parameters are never changed.
    """

    @jax.jit
    def settle(params, state, batch, key):
        return embed(params, state, batch, key, progress, None)[1]

    for step, batch in enumerate(batches):
        state = settle(params, state, batch, jax.random.fold_in(key, step))
    return state
