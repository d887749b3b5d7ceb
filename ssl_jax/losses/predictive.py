"""The loss of contrastive predictive coding: frames of a sequence, told from their past among other frames."""

import jax
import jax.numpy as jnp
from jax import lax

from ssl_jax.collectives import all_gather, axis_index, axis_size, pmean
from ssl_jax.losses import arguments
from ssl_jax.losses.embeddings import nan_unless_finite, widen

NEGATIVES = ("both", "sequence", "batch")
IMPOSSIBLE = -1e30  # the logit of a frame that is no negative; finite, so that rows without negatives have gradient 0


def cpc(
    predictions, targets, valid=None, *, first=1, negatives="both", group_size=None, kinds=None, drawn=None, scale=1.0,
    axis_name=None,
):  # fmt: skip
    """InfoNCE of K future frames of every sequence: each prediction finds its frame among other frames.

    `l_itk = -log(exp(s_itk) / (exp(s_itk) + sum_(j, u) exp(scale p_itk . z_ju)))`, `s_itk = scale p_itk . z_i(t+k)`,
    with `p_itk` the prediction for k frames after t, and (j, u) over all negatives, never (i, t + k) itself. The loss
    is the mean over i and t, then over k. Padding is neither predicted, nor predicted from, nor a negative.

    Args:
      predictions: float `[b, K, S, D]`, this device's rows; `predictions[i, k, t]` predicts `targets[i, t + first +
        k]`.
      targets: float `[b, T, D]`, the frames, `T = S + K + first - 1`.
      valid: bool `[b, T]`, False for padding; None: none.
      first: how many frames ahead the first prediction is.
      negatives: frames of "both" the same and other sequences, of the same "sequence" alone, or of the rest of the
        "batch" alone.
      group_size: so many consecutive sequences of the GLOBAL batch are each other's negatives, as on devices that do
        not communicate; None: all of them. It divides the rows of a device, or is a multiple of them.
      kinds: int `[b]`; where given, such as the speakers, negatives are of sequences of the same kind alone.
      drawn: int `[b, S, N]`; where given, the only candidates for negatives, the same for all k, by their places
        `sequence * T + frame` in the group. Those that the other arguments rule out, and positives, do not count.
      scale: of the products; 1 as published, 1 / D where they are means.
      axis_name: mapped axis over which the global batch is spread; None for a single device.

    Returns:
      At least float32 scalar whose mean over the axis is the loss of the global batch.

    Raises:
      ValueError: shapes that do not fit, unknown negatives, a wrong group size.

    Example:
      >>> z = 9 * jnp.eye(4)[None]  # one sequence of four frames; the next is predicted without doubt
      >>> round(float(cpc(z[:, None, 1:], z)), 4)
      0.0

    van den Oord et al. 2018, "Representation Learning with Contrastive Predictive Coding", eq. 4, arXiv 1807.03748.
    """
    terms = cpc_terms(
        predictions, targets, valid, first=first, negatives=negatives, group_size=group_size, kinds=kinds, drawn=drawn,
        scale=scale, axis_name=axis_name,
    )  # fmt: skip
    return jnp.mean(terms["loss"])


def cpc_terms(predictions, targets, valid=None, *, axis_name=None, **options) -> dict[str, jax.Array]:
    """What `cpc` is the mean of, and how often it is right, by the step k: each `[K]`, local values as losses are.

    Args: as of `cpc`.

    Returns:
      `loss`; `accuracy`, how often the right frame has the largest product; `chance_loss` and `chance_accuracy`, those
      of a guess among as many frames.
    """
    found = cpc_positions(predictions, targets, valid, axis_name=axis_name, **options)
    weights = found.pop("weight").astype(found["loss"].dtype)
    counted = jnp.maximum(pmean(jnp.sum(weights, axis=(1, 2)), axis_name), 1e-12)
    return {name: jnp.sum(weights * values, axis=(1, 2)) / counted for name, values in found.items()}


def cpc_positions(
    predictions, targets, valid=None, *, first=1, negatives="both", group_size=None, kinds=None, drawn=None, scale=1.0,
    axis_name=None,
) -> dict[str, jax.Array]:  # fmt: skip
    """The terms of every prediction, `[K, b, S]` each, and `weight` bool, False where padding has a part in it.

    Args: as of `cpc`. The memory is that of one step k, whose products are computed again for the gradient.
    """
    predictions, targets, valid, kinds, drawn = _checked(predictions, targets, valid, kinds, drawn, first)
    arguments.one_of("negatives", negatives, NEGATIVES)
    arguments.scalar("scale", scale, "1 as published")
    b, steps, contexts, _ = predictions.shape
    frames = targets.shape[1]
    cut, own = _groups(b, group_size, axis_name)
    pool, pool_valid, pool_kinds = (cut(x) for x in (widen(targets), valid, kinds))  # [g, n, ...]
    groups, size = pool.shape[:2]

    def rows(x):  # of this device, by their groups: [g, m, ...]
        return x.reshape(groups, b // groups, *x.shape[1:])

    pool = pool.reshape(groups, size * frames, -1)
    if drawn is None:
        place = jnp.arange(size * frames)[None, None, None]  # [1, 1, 1, n T]
    else:
        place = rows(drawn)  # [g, m, S, N]
        pool = jax.vmap(lambda pool, place: pool[place])(pool, place)
    sequence, frame, same = place // frames, place % frames, place // frames == own[..., None, None]
    allowed = jax.vmap(lambda held, place: held.reshape(-1)[place])(
        pool_valid, jnp.broadcast_to(place, (groups, *place.shape[1:]))
    )
    allowed &= {"both": True, "sequence": same, "batch": ~same}[negatives]
    of_kind = jax.vmap(lambda held, place: held[place])(
        pool_kinds, jnp.broadcast_to(sequence, (groups, *sequence.shape[1:]))
    )
    allowed &= of_kind == rows(kinds)[..., None, None]

    @jax.checkpoint
    def step(inputs):
        prediction, k = inputs
        prediction = widen(prediction) * scale
        target = lax.dynamic_slice_in_dim(widen(targets), k, contexts, axis=1)
        positive = rows(nan_unless_finite(jnp.sum(prediction * target, axis=-1), prediction, target))
        equation = "gmsd,gxd->gmsx" if drawn is None else "gmsd,gmsxd->gmsx"
        logits = jnp.einsum(equation, rows(prediction), pool, precision=lax.Precision.HIGHEST)
        is_positive = same & (frame == (jnp.arange(contexts) + k)[None, None, :, None])
        negative = allowed & ~is_positive
        logits = jnp.where(negative, logits, IMPOSSIBLE)
        count = jnp.sum(negative, axis=-1) + 1
        found = {
            "loss": jax.nn.softplus(jax.nn.logsumexp(logits, axis=-1) - positive),
            "accuracy": (positive > jnp.max(logits, axis=-1)).astype(logits.dtype),
            "chance_loss": jnp.log(count.astype(logits.dtype)),
            "chance_accuracy": 1 / count.astype(logits.dtype),
        }
        found = {name: values.reshape(b, contexts) for name, values in found.items()}
        return found | {"weight": valid[:, :contexts] & lax.dynamic_slice_in_dim(valid, k, contexts, axis=1)}

    return lax.map(step, (jnp.moveaxis(predictions, 1, 0), first + jnp.arange(steps)))


def _groups(b: int, group_size, axis_name):
    """`cut`, which makes this device's rows its whole groups, `[g, n, ...]`; and the rows' places there `[g, m]`."""
    if group_size is not None:
        arguments.whole("group_size", group_size)
    size = group_size or b * axis_size(axis_name)
    if b % size == 0:
        return lambda x: x.reshape(b // size, size, *x.shape[1:]), jnp.arange(b).reshape(b // size, size) % size
    if size % b or (b * axis_size(axis_name)) % size:
        raise ValueError(
            f"group_size is {group_size} and a device has {b} sequences of {b * axis_size(axis_name)}; expected a "
            "divisor of its sequences, or a multiple of them that divides the batch"
        )
    first = axis_index(axis_name) * b // size * size

    def cut(x):
        return lax.dynamic_slice_in_dim(all_gather(x, axis_name), first, size)[None]

    return cut, (axis_index(axis_name) * b + jnp.arange(b) - first)[None]


def _checked(predictions, targets, valid, kinds, drawn, first):
    """The arrays, of those left out what they stand for."""
    arguments.whole("first", first, "1 predicts the next frame")
    targets = arguments.real("targets", targets)
    valid = jnp.ones(targets.shape[:2], bool) if valid is None else valid
    kinds = jnp.zeros(targets.shape[:1], jnp.int32) if kinds is None else arguments.integers("kinds", kinds)
    shapes = {
        "predictions": (predictions, "b K S D"), "targets": (targets, "b T D"), "valid": (valid, "b T"),
        "kinds": (kinds, "b"),
    }  # fmt: skip
    if drawn is not None:
        shapes["drawn"] = arguments.integers("drawn", drawn), "b S N"
    found = arguments.arrays("give every sequence its predictions and frames", **shapes)
    _, steps, contexts, _ = found[0].shape
    if found[1].shape[1] != contexts + steps + first - 1:
        raise ValueError(
            f"predictions has shape {found[0].shape} and targets has shape {targets.shape}, but they must be "
            f"[b, K, S, D] and [b, S + K + {first - 1}, D]: predict from all frames but the last K."
        )
    return *found[:4], found[4] if drawn is not None else None
