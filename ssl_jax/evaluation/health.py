"""Signs of a run that learns nothing: cheap signals of the embeddings, and a watch that names the likely cause.

`signals` runs inside the train step, on the global batch. `update` runs on the host, on logged rows, and remembers only
a dict of integers, which a checkpoint holds.
"""

import jax
import jax.numpy as jnp
from jax import lax

ROWS = 512  # for the effective rank: eigenvalues of at most a 512 x 512 matrix; anchors at a time for the others
WARM_UP = 10  # logged rows that judge nothing: every network starts out close to collapse
PATIENCE = 5  # logged rows in a row before a warning


def signals(z_a, z_b) -> dict:
    """Scalars that tell collapse from health, of the embeddings of two views, L2-normalised inside.

    | name            | formula                                                     | healthy      | collapsed      |
    |-----------------|-------------------------------------------------------------|--------------|----------------|
    | std             | mean over dimensions of the std over rows, x sqrt(D)        | near 1       | 0              |
    | effective_rank  | exp(entropy of s / sum s), s the singular values (RankMe)   | many         | 1              |
    | alignment       | mean of `|z_a - z_b|^2`                                     | falls        | 0              |
    | uniformity      | log mean over pairs of `exp(-2 |x - y|^2)`, in z_a          | near -4      | 0              |
    | positive_cosine | mean cosine of the two views of an example                  | near 1       | 1              |
    | negative_cosine | mean cosine of views of different examples                  | near 0       | 1              |
    | in_batch_top1   | share of rows of z_a whose nearest row of z_b is their own  | rises to 1   | 1 / B          |

    Args:
      z_a, z_b: float [B, D], all rows of the global batch, B >= 2.

    Returns:
      Scalars, float32 or wider.

    >>> round(float(signals(jnp.eye(4), jnp.eye(4))["effective_rank"]), 3)
    4.0

    Garrido et al. 2023, arXiv 2210.02885 (RankMe, eq. 1); Wang and Isola 2020, arXiv 2005.10242 (eqs. 1 and 2).
    """
    z_a, z_b = (_normalise(lax.stop_gradient(z)) for z in (z_a, z_b))
    b, d = z_a.shape
    highest = lax.Precision.HIGHEST

    def against_all(row):
        anchor, own = row
        cross, within = (jnp.einsum("d,jd->j", anchor, z, precision=highest) for z in (z_b, z_a))
        is_other = jnp.arange(b) != own
        # |x - y|^2 = 2 - 2 x.y for unit vectors
        return (
            jnp.sum(cross, where=~is_other),
            jax.nn.logsumexp(4 * within - 4, where=is_other),
            jnp.sum(cross, where=is_other),
            jnp.max(cross, where=is_other, initial=-jnp.inf),
        )

    # By blocks of anchors: all pairs at once would take memory that grows with the square of the batch.
    rows = z_a, jnp.arange(b)
    positive, uniformity, negative, nearest = lax.map(against_all, rows, batch_size=min(b, ROWS))

    few = z_a[:ROWS]
    gram = "id,jd->ij" if len(few) < d else "ni,nj->ij"
    values = jnp.linalg.eigvalsh(jnp.einsum(gram, few, few, precision=highest))
    share = jnp.sqrt(jnp.maximum(values, 0))
    share = share / jnp.maximum(share.sum(), 1e-12)
    return {
        "std": jnp.mean(jnp.std(z_a, axis=0)) * jnp.sqrt(jnp.asarray(d, z_a.dtype)),
        "effective_rank": jnp.exp(-jnp.sum(share * jnp.log(jnp.maximum(share, 1e-12)))),
        "alignment": jnp.mean(jnp.sum(jnp.square(z_a - z_b), axis=-1)),
        "uniformity": jax.nn.logsumexp(uniformity) - jnp.log(b * (b - 1.0)),
        "positive_cosine": positive.mean(),
        "negative_cosine": negative.sum() / (b * (b - 1)),
        "in_batch_top1": jnp.mean(nearest < positive),
    }


def _normalise(z):
    z = z.astype(jnp.promote_types(z.dtype, jnp.float32))
    return z * lax.rsqrt(jnp.maximum(jnp.sum(z * z, axis=-1, keepdims=True), 1e-12))


def _collapsed(row):
    # 0.9: behind a norm, an output that is constant but for an outlier in every batch is the nearest to a constant one.
    return row["std"] < 0.05 and row["negative_cosine"] > 0.9


def _few_dimensions(row):
    return not _collapsed(row) and row["effective_rank"] < 3


def _identical_views(row):
    return row["alignment"] < 1e-4 and row["in_batch_top1"] > 0.999 and not _collapsed(row)


def _at_chance(row):
    return row["loss"] > 0.99 * row["chance_loss"]


def _frozen_teacher(row):
    return row["teacher_update"] == 0 and row["teacher_distance"] > 0


def _constant_targets(row):
    return row["teacher_divergence"] < 0.005


# name: (condition on a logged row, keys that it reads, what to say)
CAUSES = {
    "collapse": (
        _collapsed,
        ("std", "negative_cosine"),
        "all embeddings are (nearly) the same vector: complete collapse. Look for a missing negative, stop-gradient or "
        "predictor, a learning rate that is too high, or a temperature that is too large",
    ),
    "dimensions": (
        _few_dimensions,
        ("std", "negative_cosine", "effective_rank"),
        "the embeddings use fewer than 3 dimensions: dimensional collapse. Look for a shortcut that solves the task "
        "(colour statistics, borders), too weak augmentation, or too strong a weight decay",
    ),
    "identical views": (
        _identical_views,
        ("alignment", "in_batch_top1", "std", "negative_cosine"),
        "the two views of every example agree to the last digit: the views are identical or the label leaks. Check "
        "config.augment, and that the two views get different keys",
    ),
    "chance": (
        _at_chance,
        ("loss", "chance_loss"),
        "the loss is still within 1 % of a guess among the candidates: nothing is learned. Raise the learning rate, "
        "lower the temperature, weaken the augmentation, or check that both views come from one example",
    ),
    "frozen teacher": (
        _frozen_teacher,
        ("teacher_update", "teacher_distance"),
        "the momentum encoder does not move, although the encoder has left it: it is frozen. Check that "
        "config.method.momentum is below 1, and that after_update returns the new teacher",
    ),
    "one output": (
        lambda row: _constant_targets(row) and row["teacher_entropy"] < 0.05,
        ("teacher_divergence", "teacher_entropy"),
        "the teacher gives one and the same output to every crop, and the student agrees: collapse for want of "
        "centring. Check that config.method.centre is True, and that the objective returns the new centre",
    ),
    "uniform outputs": (
        lambda row: _constant_targets(row) and row["teacher_entropy"] > 0.95,
        ("teacher_divergence", "teacher_entropy"),
        "the teacher gives all outputs alike to every crop, and the student agrees: collapse for want of sharpening. "
        "Lower config.method.teacher_temperature well below the student's",
    ),
    "stuck queue": (
        lambda row: row["queue_age"] > 1.5,
        ("queue_age",),
        "the oldest key has been in the queue for longer than a turn takes: the queue does not move on, and its keys "
        "are those of an encoder long gone. Check that the objective returns the new queue and its pointer",
    ),
    "constant keys": (
        lambda row: row["queue_diversity"] < 0.01,
        ("queue_diversity",),
        "all keys in the queue are (nearly) the same vector: the negatives are useless. Look for a collapsed encoder, "
        "a momentum that is too low, or a learning rate that is too high",
    ),
    "few prototypes": (
        lambda row: row["prototypes_used"] < 2,
        ("prototypes_used",),
        "(nearly) all images are closest to one and the same prototype: the clusters have collapsed. Look for "
        "assignments without equal shares (config.method.iterations is 0), or a learning rate that is too high",
    ),
    "small embeddings": (
        lambda row: row["variance"] > 0.95,
        ("invariance", "variance"),
        "the embeddings hardly vary, by less than 0.05 in place of 1: complete collapse to a point. Raise "
        "config.method.variance_weight to about config.method.invariance_weight, or lower the learning rate",
    ),
    "repeated dimensions": (
        lambda row: row["redundancy"] > 0.2,
        ("redundancy",),
        "the dimensions of the embeddings repeat one another: dimensional collapse. Raise "
        "config.method.off_diagonal_weight, and see whether the augmentation leaves a shortcut",
    ),
    "no gradient": (
        lambda row: row["gradient_norm"] == 0,
        ("gradient_norm",),
        "the gradient is exactly zero: a stop-gradient cuts the whole loss off, or every unit is dead",
    ),
}


def update(history: dict, row: dict) -> tuple[dict, list[str]]:
    """Judges one logged row.

    A condition that has held for `PATIENCE` rows in a row, after `WARM_UP` rows, is said once, and again only if it
    has ended in between.

    Args:
      history: what earlier calls returned, `{}` at first; plain JSON, so that a resumed run goes on as if unbroken.
      row: metrics by name; a condition whose metrics are absent is not judged.

    Returns:
      The new history, and the warnings to give now.
    """
    seen = history.get("seen", 0) + 1
    history, warnings = {**history, "seen": seen}, []
    for name, (condition, keys, text) in CAUSES.items():
        if not all(key in row for key in keys):
            continue
        count = history.get(name, 0) + 1 if seen > WARM_UP and condition(row) else 0
        history[name] = count
        if count == PATIENCE:
            shown = ", ".join(f"{key} {row[key]:.3g}" for key in keys)
            warnings.append(f"{text} ({shown})")
    return history, warnings
