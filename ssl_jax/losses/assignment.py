"""Losses by assignment to prototypes: targets that share the global batch equally between the prototypes, and SwAV."""

import jax
import jax.numpy as jnp
from jax import lax

from ssl_jax.collectives import all_gather
from ssl_jax.losses import arguments
from ssl_jax.losses.embeddings import mean, nan_unless_finite, widen

SCORES = "pass one example a row and one prototype a column, the same ones for every crop"


def sinkhorn(scores, *, epsilon=0.05, iterations=3, weights=None, axis_name=None):
    """Soft assignments of examples to prototypes, of which each gets an equal share of the global batch.

    `Q = Diag(u) exp(scores / epsilon) Diag(v)`, the nearest that a number of Sinkhorn-Knopp iterations comes to columns
    of the same sum; the rows sum to 1. An iteration divides first every column by its sum over the global batch, then
    every row by its own. It is done with logarithms, so that nothing overflows or vanishes whatever `epsilon` is.

    Args:
      scores: float `[b, K]`, this device's examples against K prototypes, larger where closer; taken as constants.
      epsilon: positive; the smaller, the harder the assignments. May be traced.
      iterations: static, how often columns and rows are divided by their sums. With 0 there is no equal share: every
        row is a softmax of its own, and all examples may come to share one prototype.
      weights: non-negative `[b]`, how often an example counts in the sum of a column; None for once. Rows of weight 0
        are assigned, but take no share.
      axis_name: mapped axis over which the global batch is spread; None for a single device.

    Returns:
      Assignments `[b, K]`, at least float32, through which no gradient flows.

    Raises:
      ValueError: on a wrong shape or weights, an epsilon that is not positive, or a negative number of iterations.

    Example:
      >>> scores = jnp.array([[0.9, 0.5], [0.8, 0.1]])  # both are closer to the first; the second example by more
      >>> sinkhorn(scores).argmax(axis=1).tolist()
      [1, 0]

    Caron et al. 2020, "Unsupervised Learning of Visual Features by Contrasting Cluster Assignments", eqs. 3 to 5 and
    appendix A, arXiv 2006.09882; `distributed_sinkhorn` in facebookresearch/swav at 06b1b7c, main_swav.py.
    """
    (scores,) = arguments.arrays(SCORES, scores=(scores, "b K"))
    arguments.scalar("epsilon", epsilon, "0.05 is usual")
    weights = arguments.reduced(len(scores), weights, "mean", axis_name)
    arguments.whole("iterations", iterations, "3 is usual, and 0 means a softmax", least=0)
    shares = None if weights is None else lax.stop_gradient(weights)[:, None]
    scores = widen(lax.stop_gradient(scores))
    log_q = scores / epsilon
    for _ in range(iterations):
        columns = jax.nn.logsumexp(log_q, axis=0, b=shares, keepdims=True)
        columns = jax.nn.logsumexp(all_gather(columns, axis_name), axis=0, keepdims=True)
        log_q = jax.nn.log_softmax(log_q - columns, axis=1)
    # Looked at here, not before the iterations: a selection there would change how XLA rounds them.
    return nan_unless_finite(jax.nn.softmax(log_q, axis=1), scores)  # softmax changes nothing after an iteration


def swav(scores, assignments, *, temperature=0.1, axis_name=None, weights=None, reduction="mean"):
    """The swapped prediction of SwAV: every crop predicts the assignments of the others.

    `l = mean over crops i that have assignments of mean over crops v != i of -sum_k q_ik log p_vk`,
    `p_v = softmax(scores_v / temperature)`; the loss is the mean of `l` over the B examples.

    Args:
      scores: float `[V, b, K]`, or V arrays `[b, K]`: cosines of V >= 2 crops of this device's examples with K
        prototypes; row i of every crop belongs to the same example.
      assignments: `[A, b, K]`, or A arrays `[b, K]`, those of the first A crops, as from `sinkhorn` of their scores;
        taken as constants. A is 2 in SwAV, the crops of full size.
      temperature: positive scalar dividing the scores; may be traced.
      axis_name: mapped axis over which the global batch is spread; None for a single device.
      weights: non-negative `[b]`, taken as constants: an example's weight multiplies its term in the mean.
      reduction: "mean", or "none" for the per-example values.

    Returns:
      At least float32: a scalar whose mean over the axis is the loss of the global batch, or `[b]` for "none", whose
      values are not multiplied by the weights of their own examples.

    Raises:
      ValueError: on wrong shapes or numbers of crops, assignments that are no distributions, a temperature that is not
        positive, wrong weights or reduction.

    Example:
      >>> scores = jnp.eye(4)[None].repeat(2, axis=0)  # two crops agree, on a prototype for each example
      >>> targets = [sinkhorn(crop) for crop in scores]
      >>> round(float(swav(scores, targets, temperature=1.0)), 4)  # log(e + 3) - 1
      0.7437

    Caron et al. 2020, "Unsupervised Learning of Visual Features by Contrasting Cluster Assignments", eqs. 1, 2 and 6,
    arXiv 2006.09882; facebookresearch/swav at 06b1b7c, main_swav.py.
    """
    scores, assignments = _crops("scores", scores), _crops("assignments", assignments)
    if not 1 <= len(assignments) <= len(scores) or len(scores) < 2:
        raise ValueError(
            f"{len(scores)} crops have scores and {len(assignments)} assignments, but at least 2 need scores and 1 to "
            "all of them assignments: pass scores [V, b, K], and the assignments of the first crops."
        )
    crops = {"scores": scores, "assignments": assignments}
    crops = {f"{name}[{i}]": (crop, "b K") for name, of in crops.items() for i, crop in enumerate(of)}
    found = arguments.arrays(SCORES, **crops)
    scores, assignments = found[: len(scores)], found[len(scores) :]
    for i, crop in enumerate(assignments):
        arguments.distributions(f"assignments[{i}]", crop)
    arguments.scalar("temperature", temperature, "0.1 is usual")
    weights = arguments.reduced(len(scores[0]), weights, reduction, axis_name)
    log_p = [jax.nn.log_softmax(widen(crop) / temperature, axis=1) for crop in scores]
    swapped = [
        -jnp.sum(lax.stop_gradient(q) * log_p[v], axis=1)
        for i, q in enumerate(assignments) for v in range(len(scores)) if v != i
    ]  # fmt: skip
    return mean(sum(swapped) / len(swapped), weights, reduction, axis_name)



def _crops(name, x):
    """Crops `[b, K]` as a list: one already, or an array."""
    return list(x) if isinstance(x, list | tuple) else list(jnp.atleast_1d(arguments.real(name, x)))
