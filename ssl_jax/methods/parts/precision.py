"""The dtypes of a run: that of its computation, and that of what is never narrower than float32."""

import jax
import jax.numpy as jnp


def compute_dtype(config):
    """The dtype that `config.compute_dtype` names; float64 is refused where jax would silently make it float32."""
    choices = ("float32", "bfloat16", "float64")
    if config.compute_dtype not in choices:
        raise ValueError(f"config.compute_dtype is {config.compute_dtype!r}; expected one of {', '.join(choices)}")
    if config.compute_dtype == "float64" and not jax.config.jax_enable_x64:
        raise ValueError("config.compute_dtype is 'float64' but double precision is off; set JAX_ENABLE_X64=1")
    return jnp.dtype(config.compute_dtype)


def wide_dtype(config):
    """The dtype of what is never narrower than float32: images before the network, queues; float64 in such a run."""
    return jnp.promote_types(compute_dtype(config), jnp.float32)
