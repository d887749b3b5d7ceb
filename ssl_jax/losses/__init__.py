"""Losses: pure functions of arrays, each returning a local value whose mean over the devices is the global loss."""

from ssl_jax.losses.alignment import byol, simsiam
from ssl_jax.losses.assignment import sinkhorn, swav
from ssl_jax.losses.classification import cross_entropy
from ssl_jax.losses.contrastive import clip, info_nce, nt_xent, queue_info_nce
from ssl_jax.losses.decoupled import dcl, dclw
from ssl_jax.losses.distillation import dino, update_centre
from ssl_jax.losses.pairwise import sigmoid
from ssl_jax.losses.predictive import cpc, cpc_terms
from ssl_jax.losses.reconstruction import masked_reconstruction
from ssl_jax.losses.redundancy import barlow_twins, barlow_twins_terms, vicreg, vicreg_terms
from ssl_jax.losses.supervised import sup_con

__all__ = [
    "barlow_twins",
    "barlow_twins_terms",
    "byol",
    "clip",
    "cpc",
    "cpc_terms",
    "cross_entropy",
    "dcl",
    "dclw",
    "dino",
    "info_nce",
    "masked_reconstruction",
    "nt_xent",
    "queue_info_nce",
    "sigmoid",
    "simsiam",
    "sinkhorn",
    "sup_con",
    "swav",
    "update_centre",
    "vicreg",
    "vicreg_terms",
]
