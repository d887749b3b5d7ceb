"""Losses and gradients that are not finite: how the first is found, and what a skipped step changes."""

import jax
import jax.numpy as jnp
import optax

CLOCKS = (optax.ScaleByScheduleState, optax.ConditionallyMaskState)


def first_nonfinite(loss, gradients):
    """Global gradient norm, and the position of the first non-finite value among (loss, *gradient leaves), or -1.

    A leaf counts as non-finite when its squared norm is, so that one pass over the gradients serves both.
    """
    leaves = [leaf.astype(jnp.promote_types(leaf.dtype, jnp.float32)) for leaf in jax.tree.leaves(gradients)]
    squares = jnp.stack([jnp.sum(jnp.square(leaf)) for leaf in leaves])
    bad = ~jnp.isfinite(jnp.concatenate([loss[None].astype(squares.dtype), squares]))
    return jnp.sqrt(squares.sum()), jnp.where(bad.any(), jnp.argmax(bad), -1).astype(jnp.int32)


def leaf_names(params) -> list[str]:
    """What `nonfinite` counts through: "loss", then the path of every parameter leaf."""
    paths = [path for path, _ in jax.tree.leaves_with_path(params)]
    return ["loss", *(jax.tree_util.keystr(path, simple=True, separator="/") for path in paths)]


def advance_counts(old, new):
    """The optimizer state `old` with the step counts of schedules and freezes from `new`; those of moments stay."""
    is_clock = lambda node: isinstance(node, CLOCKS)  # noqa: E731

    def gone_on(old, new):
        if isinstance(new, optax.ConditionallyMaskState):  # holds the state of what it freezes
            return new._replace(inner_state=advance_counts(old.inner_state, new.inner_state))
        return new if is_clock(new) else old

    return jax.tree.map(gone_on, old, new, is_leaf=is_clock)
