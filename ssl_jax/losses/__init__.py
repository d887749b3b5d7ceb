"""Losses: pure functions of arrays, each returning a local value whose mean over the devices is the global loss."""

from ssl_jax.losses.contrastive import info_nce, nt_xent

__all__ = ["info_nce", "nt_xent"]
