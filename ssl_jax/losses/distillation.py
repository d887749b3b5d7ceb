"""Self-distillation without labels: the student's crops predict the teacher's, whose outputs are centred and sharpened.

Every device passes its own b examples of the global batch. Logits are `[crops, b, K]`; the teacher's crops are the
first ones of the student.
"""

import jax
import jax.numpy as jnp
from jax import lax

from ssl_jax.collectives import pmean
from ssl_jax.losses import arguments
from ssl_jax.losses.embeddings import mean, nan_unless_finite, widen

CROPS = "stack the crops of the b examples along the first axis"


def dino(
    student_logits,
    teacher_logits,
    centre,
    *,
    student_temperature=0.1,
    teacher_temperature=0.04,
    axis_name=None,
    weights=None,
    reduction="mean",
):
    """The loss of DINO: every crop of the student predicts the teacher's output for every other large crop.

    `l = -mean_{g, v != g} sum_k P_g[k] log softmax(s_v / student_temperature)[k]`, with the targets
    `P_g = softmax((t_g - centre) / teacher_temperature)`, over the G of the teacher's and the V of the student's crops.
    No gradient reaches teacher and centre. Move the centre afterwards, by `update_centre`.

    Args:
      student_logits: float `[V, b, K]`, s, of all crops; V >= 2.
      teacher_logits: float `[G, b, K]`, t, of the large crops; crop g is the student's crop g, G <= V.
      centre: float `[K]`, as it was before this batch.
      student_temperature: positive scalar; may be traced.
      teacher_temperature: positive scalar, below the student's: that is the sharpening; may be traced.
      axis_name: mapped axis over which the global batch is spread; None for a single device.
      weights: non-negative `[b]`, taken as constants, or None for ones.
      reduction: "mean", or "none" for the per-example values.

    Returns:
      At least float32: a scalar whose mean over the axis is the loss of the global batch, or `[b]` for "none".

    Raises:
      ValueError: on wrong shapes, a temperature that is not positive, wrong weights or reduction.

    Example:
      >>> crops = jnp.zeros((3, 2, 4))  # all four outputs alike
      >>> round(float(dino(crops, crops[:2], jnp.zeros(4))), 4) == round(float(jnp.log(4)), 4)
      True

    Caron et al. 2021, "Emerging Properties in Self-Supervised Vision Transformers", eq. 3 and algorithm 1,
    arXiv 2104.14294; facebookresearch/dino at 7c446df, `main_dino.py`, `DINOLoss`.
    """
    student_logits, teacher_logits, centre = arguments.arrays(
        CROPS, student_logits=(student_logits, "V b K"), teacher_logits=(teacher_logits, "G b K"), centre=(centre, "K")
    )
    for name, value in (("student_temperature", student_temperature), ("teacher_temperature", teacher_temperature)):
        arguments.scalar(name, value, "the paper's are 0.1 and 0.04")
    weights = arguments.reduced(student_logits.shape[1], weights, reduction, axis_name)
    students, teachers = len(student_logits), len(teacher_logits)
    if teachers > students or students < 2:
        raise ValueError(
            f"{students} crops of the student and {teachers} of the teacher were given, but the student needs at "
            "least 2, and those of the teacher among them: pass the large crops first to both."
        )
    targets = teacher_targets(teacher_logits, centre, teacher_temperature)
    logits = widen(student_logits) / student_temperature
    # Targets sum to 1, so that a pair's cross-entropy is logsumexp(s_v) - P_g . s_v; of all G V pairs only sums over
    # crops are needed, and those of equal crops are taken off.
    norms = jax.nn.logsumexp(logits, axis=-1)
    everything = teachers * norms.sum(axis=0) - jnp.sum(targets.sum(axis=0) * logits.sum(axis=0), axis=-1)
    equal = jnp.sum(norms[:teachers] - jnp.sum(targets * logits[:teachers], axis=-1), axis=0)
    losses = (everything - equal) / (teachers * (students - 1))
    # Targets of softmax would hide -inf.
    losses = nan_unless_finite(losses, *(teacher_logits - jnp.broadcast_to(centre, teacher_logits.shape)))
    return mean(losses, weights, reduction, axis_name)


def teacher_targets(teacher_logits, centre, temperature):
    """The targets of DINO, `softmax((t - centre) / temperature)` over the last axis, without gradient.

    >>> teacher_targets(jnp.array([[1.0, 1.0]]), jnp.array([0.5, 0.5]), 0.04).tolist()
    [[0.5, 0.5]]
    """
    logits = widen(teacher_logits)
    centre = jnp.broadcast_to(centre, logits.shape)
    return lax.stop_gradient(jax.nn.softmax((logits - centre) / temperature, axis=-1))


def update_centre(centre, teacher_logits, *, momentum=0.9, axis_name=None):
    """The centre after a batch: `momentum centre + (1 - momentum) mean of the teacher's logits`, of the global batch.

    Args:
      centre: float `[K]`.
      teacher_logits: float `[G, b, K]`, this device's examples.
      momentum: in [0, 1].
      axis_name: mapped axis over which the global batch is spread; None for a single device.

    Returns:
      `[K]`, the dtype of `centre`, without gradient.

    Raises:
      ValueError: on wrong shapes, a centre of integers, or another momentum.

    Example:
      >>> update_centre(jnp.zeros(2), jnp.ones((2, 3, 2)), momentum=0.75).tolist()
      [0.25, 0.25]

    Caron et al. 2021, eq. 4, arXiv 2104.14294.
    """
    dtype = arguments.real("centre", centre).dtype
    if not jnp.issubdtype(dtype, jnp.floating):
        raise ValueError(f"centre is of {dtype}, which holds no mean: pass floating-point numbers, such as zeros.")
    centre, teacher_logits = arguments.arrays(CROPS, centre=(centre, "K"), teacher_logits=(teacher_logits, "G b K"))
    arguments.scalar("momentum", momentum, "0.9 is usual", "in 0 ... 1", lambda x: 0 <= x <= 1)
    batch = pmean(jnp.mean(widen(teacher_logits), axis=(0, 1)), axis_name)
    return lax.stop_gradient(momentum * centre + (1 - momentum) * batch).astype(dtype)
