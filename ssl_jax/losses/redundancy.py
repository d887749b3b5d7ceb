"""Losses that keep the dimensions of an embedding apart, in place of the examples: Barlow Twins and VICReg.

Their statistics are those of the global batch, on any number of devices. The returned values are LOCAL: their mean over
the axis is the global value, so differentiate them as they are and average the gradients once.
"""

import jax
import jax.numpy as jnp
from jax import lax

from ssl_jax.collectives import all_gather, axis_size, psum
from ssl_jax.losses import arguments, embeddings


def barlow_twins(z_a, z_b, *, off_diagonal_weight=0.0051, epsilon=1e-5, axis_name=None):
    """The loss of Barlow Twins: the cross-correlation of the two views' dimensions is to be the identity.

    `L = sum_i (1 - C_ii)^2 + off_diagonal_weight sum_{i != j} C_ij^2`, where `C_ij` is the correlation of dimension i
    of the first views with dimension j of the second over the global batch, a sum over `[D, D]` without further scale.

    Args:
      z_a: embeddings of the first views, float `[b, D]`, this device's rows; standardised inside.
      z_b: embeddings of the second views, float `[b, D]`; row i belongs to the same example as row i of `z_a`.
      off_diagonal_weight: lambda, the trade-off between the two terms; may be traced.
      epsilon: added to the (biased) variances, as by the batch norm of the official code.
      axis_name: mapped axis over which the global batch is spread; None for a single device.

    Returns:
      At least float32: a scalar whose mean over the axis is the loss of the global batch.

    Raises:
      ValueError: on wrong shapes, weights or epsilon, or a global batch of one row.

    Example:
      >>> z = jnp.array([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])  # C is the identity
      >>> round(float(barlow_twins(z, z)), 4), round(float(barlow_twins(z, z[:, ::-1], off_diagonal_weight=0.5)), 4)
      (0.0, 3.0)

    Zbontar et al. 2021, "Barlow Twins", eqs. 1 and 2, arXiv 2103.03230; facebookresearch/barlowtwins at 8e8d284,
    main.py.
    """
    arguments.not_negative("off_diagonal_weight", off_diagonal_weight, "the paper takes 0.0051")
    terms = barlow_twins_terms(z_a, z_b, epsilon=epsilon, axis_name=axis_name)
    return terms["on_diagonal"] + off_diagonal_weight * terms["off_diagonal"]


def barlow_twins_terms(z_a, z_b, *, epsilon=1e-5, axis_name=None) -> dict:
    """The two sums of `barlow_twins`, for weighing and logging them apart.

    `{"on_diagonal": sum_i (1 - C_ii)^2, "off_diagonal": sum_{i != j} C_ij^2}`, C as in `barlow_twins`.

    Args:
      z_a, z_b, epsilon, axis_name: as for `barlow_twins`.

    Returns:
      Scalars, at least float32, whose means over the axis are the sums of the global batch.

    Raises:
      ValueError: as `barlow_twins`.

    Example:
      >>> z = jnp.array([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
      >>> {name: round(float(term), 3) for name, term in barlow_twins_terms(z, z[:, ::-1]).items()}
      {'on_diagonal': 2.0, 'off_diagonal': 2.0}

    Zbontar et al. 2021, "Barlow Twins", eqs. 1 and 2, arXiv 2103.03230.
    """
    arguments.scalar("epsilon", epsilon, "1e-5 is usual")
    _, centred, squares, size = _centred(z_a, z_b, axis_name)
    z_a, z_b = jnp.split(centred * lax.rsqrt(squares / size + epsilon)[None], 2, axis=1)
    diagonal = psum(jnp.sum(z_a * z_b, axis=0), axis_name)
    terms = {
        "on_diagonal": jnp.sum(jnp.square(1 - diagonal / size)),
        "off_diagonal": _off_diagonal(z_a, z_b, diagonal, axis_name) / size**2,
    }
    # A variance that overflows would count as a dimension that is correlated with none.
    return {name: embeddings.nan_unless_finite(term, squares) for name, term in terms.items()}


def vicreg(
    z_a, z_b, *, invariance_weight=25.0, variance_weight=25.0, covariance_weight=1.0, epsilon=1e-4, axis_name=None
):
    """The loss of VICReg: views agree, every dimension varies, and no two dimensions vary together.

    `L = invariance_weight s + variance_weight v + covariance_weight c` with, for D dimensions over the global batch,

        s = mean over examples and dimensions of (z_a - z_b)^2
        v = mean over the two views and the dimensions of max(0, 1 - sqrt(Var(z_j) + epsilon))
        c = sum over the two views of sum_{i != j} Cov_ij^2 / D

    as in the official code. The paper adds v of the two views, which doubles `variance_weight`; and its eq. 5 adds over
    the dimensions in s, where its algorithm 1 averages as here.

    Args:
      z_a: embeddings of the first views, float `[b, D]`, this device's rows; used as they are.
      z_b: embeddings of the second views, float `[b, D]`; row i belongs to the same example as row i of `z_a`.
      invariance_weight: lambda; may be traced, like the next two.
      variance_weight: mu.
      covariance_weight: nu.
      epsilon: added to the (unbiased) variances.
      axis_name: mapped axis over which the global batch is spread; None for a single device.

    Returns:
      At least float32: a scalar whose mean over the axis is the loss of the global batch.

    Raises:
      ValueError: on wrong shapes, weights or epsilon, or a global batch of one row.

    Example:
      >>> z = jnp.array([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])  # dimensions vary, and not together
      >>> float(vicreg(z, z)), round(float(vicreg(0 * z, 0 * z)), 3)  # collapse: 25 (1 - sqrt(epsilon))
      (0.0, 24.75)

    Bardes, Ponce and LeCun 2022, "VICReg", eqs. 1 to 6, arXiv 2105.04906; facebookresearch/vicreg at 4e12602,
    main_vicreg.py.
    """
    weights = {"invariance": invariance_weight, "variance": variance_weight, "covariance": covariance_weight}
    for name, weight in weights.items():
        arguments.not_negative(f"{name}_weight", weight, "the paper's are 25, 25 and 1")
    terms = vicreg_terms(z_a, z_b, epsilon=epsilon, axis_name=axis_name)
    return sum(weight * terms[name] for name, weight in weights.items())


def vicreg_terms(z_a, z_b, *, epsilon=1e-4, axis_name=None) -> dict:
    """The three terms of `vicreg`, for weighing and logging them apart.

    `{"invariance": s, "variance": v, "covariance": c}`, as in `vicreg`.

    Args:
      z_a, z_b, epsilon, axis_name: as for `vicreg`.

    Returns:
      Scalars, at least float32, whose means over the axis are the terms of the global batch.

    Raises:
      ValueError: as `vicreg`.

    Example:
      >>> z = jnp.array([[1.0, 1.0], [-1.0, -1.0]])  # both dimensions vary by 2, together
      >>> {name: round(float(term), 3) for name, term in vicreg_terms(z, z).items()}
      {'invariance': 0.0, 'variance': 0.0, 'covariance': 8.0}

    Bardes, Ponce and LeCun 2022, "VICReg", eqs. 1 to 6, arXiv 2105.04906.
    """
    arguments.scalar("epsilon", epsilon, "1e-4 is usual")
    (z_a, z_b), centred, squares, size = _centred(z_a, z_b, axis_name)
    views = zip(jnp.split(centred, 2, axis=1), jnp.split(squares, 2), strict=True)
    off_diagonal = sum(_off_diagonal(z, z, diagonal, axis_name) for z, diagonal in views)
    return {
        "invariance": jnp.mean(jnp.square(embeddings.widen(z_a) - embeddings.widen(z_b))),
        "variance": jnp.mean(jax.nn.relu(1 - jnp.sqrt(squares / (size - 1) + epsilon))),
        "covariance": off_diagonal / ((size - 1) ** 2 * z_a.shape[1]),
    }


def _centred(z_a, z_b, axis_name):
    """Both views; side by side, `[b, 2D]`, less their global means; sums of their squares, `[2D]`; the global batch."""
    z_a, z_b = arguments.arrays(arguments.ROWS, z_a=(z_a, "b D"), z_b=(z_b, "b D"))
    size = len(z_a) * axis_size(axis_name)
    if size < 2:
        raise ValueError("The global batch is 1 row, which has no variance: pass at least 2 rows.")
    z = jnp.concatenate([embeddings.widen(z_a), embeddings.widen(z_b)], axis=1)
    # In two passes: the mean may be much larger than the deviation from it.
    z = z - (psum(jnp.sum(z, axis=0), axis_name) / size)[None]
    return (z_a, z_b), z, psum(jnp.sum(z * z, axis=0), axis_name), size


def _off_diagonal(x, y, diagonal, axis_name):
    """The sum of the squares of the entries of `X^T Y` off its diagonal; X and Y are the rows of the global batch.

    With the diagonal it would be `sum_ij (X X^T)_ij (Y Y^T)_ij`. In a batch of fewer rows than dimensions, as is usual
    here, that needs less arithmetic, memory and communication: the rows of all devices in place of a `[D, D]` matrix.
    """
    devices, precision = axis_size(axis_name), lax.Precision.HIGHEST
    if devices * len(x) >= x.shape[1]:
        product = psum(jnp.einsum("ni,nj->ij", x, y, precision=precision), axis_name)
        return jnp.sum(jnp.square(product) * (1 - jnp.eye(len(product), dtype=product.dtype)))

    def similarity(z):
        return jnp.einsum("id,jd->ij", z, all_gather(z, axis_name), precision=precision)

    of_x = similarity(x)
    mine = jnp.sum(of_x * (of_x if y is x else similarity(y)))  # this device's rows
    return devices * mine - jnp.sum(jnp.square(diagonal))
