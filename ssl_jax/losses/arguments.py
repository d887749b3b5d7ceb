"""The one place where losses look at their arguments: what cannot be meant is refused by its name, in one sentence.

Numbers are looked at where they are known; traced ones, as within `jax.jit`, pass by their shape and dtype.
"""

import numbers
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from ssl_jax.collectives import axis_size
from ssl_jax.losses.embeddings import from_float16

REAL = (np.floating, np.integer, np.bool_)
ROWS = "pass one embedding a row, the two rows of a pair at the same place"
TEMPERATURE = "SimCLR takes 0.1, CIFAR-10 recipes 0.5"
LOGIT_SCALE = "CLIP begins at 14.3 and ends at 100"


def arrays(hint: str, **expected) -> list[jax.Array]:
    """Arrays of real numbers whose shapes belong together; those of float16 as float32, see `from_float16`.

    Args:
      hint: what to pass, the end of the sentence.
      expected: name=(array, shape). A shape such as "b D" names the sizes of the axes: a name is one size above 0
        wherever it occurs; "..." stands for any axes, the same ones wherever it occurs.

    Returns:
      The arrays, in their order.

    Raises:
      ValueError: what is no array of real numbers, and shapes that do not belong together.

    >>> [x.shape for x in arrays("pass pairs", x=([[1.0, 2.0]], "b D"), y=(jnp.ones((1, 2)), "b D"))]
    [(1, 2), (1, 2)]
    """
    found, sizes = [real(name, x) for name, (x, _) in expected.items()], {}
    shapes = [shape for _, shape in expected.values()]
    if not all(_fits(x.shape, shape.split(), sizes) for x, shape in zip(found, shapes, strict=True)):
        given = _listed(f"{name} has shape {x.shape}" for name, x in zip(expected, found, strict=True))
        wanted = _listed(f"[{', '.join(shape.split())}]" for shape in shapes)
        raise ValueError(f"{given}, but must be {wanted}, where a letter is one size above 0: {hint}.")
    return [from_float16(x) for x in found]


def _fits(shape, names, sizes: dict) -> bool:
    """Whether names can be those of the sizes of a shape; `sizes` is what names are known to be, and is added to."""
    if "..." in names:
        start = names.index("...")
        end = len(shape) - (len(names) - start - 1)
        if end < start:
            return False
        shape = (*shape[:start], shape[start:end], *shape[end:])
    return len(shape) == len(names) and all(
        np.all(np.asarray(size) > 0) and sizes.setdefault(name, size) == size
        for name, size in zip(names, shape, strict=True)
    )


def real(name: str, x) -> jax.Array:
    """An array of real numbers of any shape; lists become one."""
    try:
        array = jnp.asarray(x)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"{name} is {_shown(x)}, but must be an array of real numbers: pass one.") from None
    if not any(jnp.issubdtype(array.dtype, kind) for kind in REAL):
        raise ValueError(f"{name} is of {array.dtype}, but must hold real numbers: convert it, such as by jnp.real.")
    return array


def integers(name: str, x, below: int | None = None) -> jax.Array:
    """An array of integers, which are known to be 0 ... below - 1 if that is given, and which keep their values."""
    try:
        given = x if isinstance(x, jax.Array) else np.asarray(x)
    except (TypeError, ValueError):  # ragged, or a list of traced ones
        given = real(name, x)
    if not jnp.issubdtype(given.dtype, np.integer):
        raise ValueError(f"{name} is of {given.dtype}, but must hold integers: pass the number of a class for each.")
    dtype = jax.dtypes.canonicalize_dtype(given.dtype)
    if given.dtype != dtype and np.any(lost := given.astype(dtype) != given):
        raise ValueError(
            f"{name} has {given[lost].flat[0]}, too much for {dtype}: number from 0 on, or set jax_enable_x64."
        )
    values = None if below is None else _known(given)
    if values is not None and np.any(beyond := (values < 0) | (values >= below)):
        raise ValueError(f"{name} has {values[beyond][0]:.0f}, but must be in 0 ... {below - 1}: number from 0 on.")
    return jnp.asarray(given)


def scalar(name: str, value, hint: str, expected="positive", holds: Callable = lambda x: x > 0):
    """Refuses what is not one finite real number for which `holds`."""
    try:
        dtype = value.dtype if hasattr(value, "dtype") else np.asarray(value).dtype
    except (TypeError, ValueError):  # ragged, or a list of traced ones
        dtype = None
    fits = dtype is not None and any(jnp.issubdtype(dtype, kind) for kind in REAL[:2]) and np.shape(value) == ()
    known = _known(value) if fits else None
    if not fits or (known is not None and np.isinf(known)):
        expected = "one finite real number"
    elif known is None or holds(known):
        return
    raise ValueError(f"{name} is {_shown(value)}, but must be {expected}: {hint}.")


def not_negative(name: str, value, hint: str):
    """Refuses what is not one finite number from 0 on."""
    scalar(name, value, hint, "0 or more", lambda x: x >= 0)


def weights(name: str, x) -> jax.Array:
    """An array of weights, which are known to be finite and not negative."""
    array, values = real(name, x), _known(x)
    if values is not None and np.any(wrong := ~(np.isfinite(values) & (values >= 0))):
        raise ValueError(f"{name} has {values[wrong].flat[0]}, but must be finite and not negative: 0 leaves out.")
    return array


def distributions(name: str, x):
    """Refuses rows `[..., K]` that are known to be negative somewhere, or not to sum to 1."""
    values = _known(x)
    if values is None:
        return
    wrong = np.any(values < 0, axis=-1) | (np.abs(values.sum(axis=-1) - 1) > 0.01)  # bfloat16 has sums of 0.996
    if np.any(wrong):
        raise ValueError(
            f"{name} has a row of sum {values.sum(axis=-1)[wrong][0]:.4g}, but rows must be distributions, not "
            "negative and of sum 1: pass what a softmax or `sinkhorn` gives."
        )


def whole(name: str, value, hint="pass None to have it chosen", least=1):
    """Refuses what is not an integer from `least`, 0 or 1, on."""
    integer = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if not (integer and value >= least):
        expected = "a positive integer" if least else "an integer from 0 on"
        raise ValueError(f"{name} is {_shown(value)}, but must be {expected}: {hint}.")


def one_of(name: str, value, names):
    """Refuses what is none of the names."""
    if not (isinstance(value, str) and value in names):
        raise ValueError(f"{name} is {_shown(value)}, but must be {_listed(map(repr, names), 'or')}: pass one of them.")


def reduced(rows: int, weights_of_rows, reduction, axis_name: str | None):
    """Refuses what a mean over examples cannot be made with; returns the weights, `[rows]` or None."""
    one_of("reduction", reduction, ("mean", "none"))
    axis_size(axis_name)  # refuses an axis that is not there
    if weights_of_rows is None:
        return None
    found = weights("weights", weights_of_rows)
    if found.shape != (rows,):
        raise ValueError(
            f"weights has shape {found.shape}, but {rows} examples need ({rows},): pass one weight an example."
        )
    return found


def contrastive(embeddings: dict, block_size, weights_of_rows, reduction, axis_name: str | None):
    """The embeddings `[b, D]` by name, and the weights, of a loss in tiles."""
    found = arrays(ROWS, **{name: (z, "b D") for name, z in embeddings.items()})
    if block_size is not None:
        whole("block_size", block_size)
    return found, reduced(len(found[0]), weights_of_rows, reduction, axis_name)


def _known(x):
    """Numbers as float64, or None where they are traced, or on other machines."""
    if isinstance(x, jax.core.Tracer) or not getattr(x, "is_fully_addressable", True):
        return None
    return np.asarray(x, np.float64)


def _listed(words, between="and") -> str:
    *most, last = words
    return f"{', '.join(most)} {between} {last}" if most else last


def _shown(value) -> str:
    """A value in a sentence."""
    text = " ".join((repr(value) if isinstance(value, str) else str(value)).split())
    return text if len(text) <= 60 else f"{text[:60]} ..."
