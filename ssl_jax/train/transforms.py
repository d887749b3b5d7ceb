"""Gradient transformations of published optimizers that optax does not have.

Where a value is a schedule, its step is the keyword `step` of `update`, which `counted` passes on: a count of its own
would stand still while the parameters are frozen.
"""

import jax
import jax.numpy as jnp
import optax

from ssl_jax.train.schedules import Schedule


def counted(transform: optax.GradientTransformation) -> optax.GradientTransformationExtraArgs:
    """`transform`, told the number of updates before this one as `step`.

    >>> optimizer = counted(add_weight_decay(lambda step: 0.5 * step))
    >>> state = optimizer.init(jnp.ones(1))
    >>> _, state = optimizer.update(jnp.zeros(1), state, jnp.ones(1))
    >>> optimizer.update(jnp.zeros(1), state, jnp.ones(1))[0].tolist()
    [0.5]
    """
    transform = optax.with_extra_args_support(transform)

    def init(params):
        return optax.ScaleByScheduleState(count=jnp.zeros([], jnp.int32)), transform.init(params)

    def update(updates, state, params=None, **extra):
        clock, inner = state
        updates, inner = transform.update(updates, inner, params, step=clock.count, **extra)
        return updates, (clock._replace(count=optax.safe_increment(clock.count)), inner)

    return optax.GradientTransformationExtraArgs(init, update)


def add_weight_decay(weight_decay: float | Schedule) -> optax.GradientTransformationExtraArgs:
    """`g + weight_decay w`.

    Args:
      weight_decay: a coefficient, or `step -> coefficient`, for which `counted` must stand around it.
    """

    def update(updates, state, params, *, step=None, **_):
        decay = _at(weight_decay, step)
        return jax.tree.map(lambda g, w: g + (decay * w).astype(g.dtype), updates, params), state

    return optax.GradientTransformationExtraArgs(optax.init_empty_state, update)


def larc(
    trust_coefficient: float,
    weight_decay: float | Schedule = 0.0,
    *,
    at_most: float | Schedule | None = None,
    eps: float = 1e-8,
) -> optax.GradientTransformationExtraArgs:
    """Layer-wise adaptive rates: `(g + weight_decay w) r` with `r = trust |w| / (|g| + weight_decay |w| + eps)`.

    Where either norm is 0 the gradient stays as it is, without the weight decay. LARS has the norm of the sum,
    `|g + weight_decay w|`, in place of the sum of the norms.

    Args:
      trust_coefficient: trust.
      weight_decay: see `add_weight_decay`.
      at_most: the learning rate, which will multiply the result, or its schedule, where the adaptive rate is clipped
        to it: r becomes `min(r / at_most, 1)`. None is not clipped.
      eps: keeps the ratio finite.

    >>> adapt = larc(0.1)
    >>> [round(x, 3) for x in adapt.update(jnp.array([0.0, 2.0]), adapt.init(None), jnp.array([3.0, 4.0]))[0].tolist()]
    [0.0, 0.5]

    Source: You et al. 2017, arXiv 1708.03888, eq. 6; NVIDIA/apex at 0bfb830, apex/parallel/LARC.py, with clip=False in
    SwAV's main_swav.py; clipped as in vturrisi/solo-learn at 9187ea3, solo/utils/lars.py.
    """

    def update(updates, state, params, *, step=None, **_):
        decay, rate = _at(weight_decay, step), _at(at_most, step)

        def adapt(g, w):
            w_norm, g_norm = jnp.linalg.norm(w.ravel()), jnp.linalg.norm(g.ravel())
            ratio = trust_coefficient * w_norm / (g_norm + decay * w_norm + eps)
            ratio = ratio if rate is None else jnp.minimum(ratio / rate, 1.0)
            return jnp.where((w_norm > 0) & (g_norm > 0), (g + decay * w) * ratio, g).astype(g.dtype)

        return jax.tree.map(adapt, updates, params), state

    return optax.GradientTransformationExtraArgs(optax.init_empty_state, update)


def scale_by_uncorrected_adam(b1: float, b2: float, eps: float) -> optax.GradientTransformation:
    """Adam without bias correction, `m / (sqrt(v) + eps)`: the first steps are about three times as large.

    Source: google-research/bert, optimization.py, `AdamWeightDecayOptimizer`.
    """

    def init(params):
        zeros = jax.tree.map(jnp.zeros_like, params)
        return optax.ScaleByAdamState(count=jnp.zeros([], jnp.int32), mu=zeros, nu=zeros)

    def update(updates, state, params=None):
        mu = jax.tree.map(lambda m, g: b1 * m + (1 - b1) * g, state.mu, updates)
        nu = jax.tree.map(lambda v, g: b2 * v + (1 - b2) * g**2, state.nu, updates)
        updates = jax.tree.map(lambda m, v: m / (jnp.sqrt(v) + eps), mu, nu)
        return updates, optax.ScaleByAdamState(count=optax.safe_increment(state.count), mu=mu, nu=nu)

    return optax.GradientTransformation(init, update)


def clip_each(max_norm: float) -> optax.GradientTransformation:
    """Every parameter's gradient by itself: `g min(1, max_norm / (|g| + 1e-6))`.

    >>> clip_each(1.0).update({"a": jnp.full(4, 2.0), "b": jnp.full(4, 0.25)}, None)[0]["b"].tolist()
    [0.25, 0.25, 0.25, 0.25]

    Source: facebookresearch/dino at 7c446df, utils.py, `clip_gradients`.
    """

    def clip(g, _):
        return g * jnp.minimum(1.0, max_norm / (jnp.linalg.norm(g.ravel()) + 1e-6)).astype(g.dtype)

    return optax.stateless_with_tree_map(clip)


def _at(value: float | Schedule | None, step):
    return value(step) if callable(value) else value
