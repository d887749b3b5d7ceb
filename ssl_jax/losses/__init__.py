"""Losses: pure functions of arrays, each returning a local value whose mean over the devices is the global loss."""

from ssl_jax.losses.contrastive import info_nce, nt_xent, queue_info_nce

__all__ = ["info_nce", "nt_xent", "queue_info_nce"]
