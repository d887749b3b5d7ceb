"""Losses: pure functions of arrays, each returning a local value whose mean over the devices is the global loss."""

from ssl_jax.losses.adversarial import adversarial_discriminator, adversarial_generator
from ssl_jax.losses.alignment import byol, simsiam
from ssl_jax.losses.assignment import sinkhorn, swav
from ssl_jax.losses.classification import cross_entropy, soft_cross_entropy
from ssl_jax.losses.contrastive import clip, info_nce, nt_xent, queue_info_nce
from ssl_jax.losses.decoupled import dcl, dclw
from ssl_jax.losses.distillation import dino, update_centre
from ssl_jax.losses.pairwise import sigmoid
from ssl_jax.losses.reconstruction import masked_reconstruction, weighted_reconstruction
from ssl_jax.losses.redundancy import barlow_twins, barlow_twins_terms, vicreg, vicreg_terms
from ssl_jax.losses.sampled import hierarchical_softmax, negative_sampling
from ssl_jax.losses.supervised import sup_con
from ssl_jax.losses.variational import gaussian_kl, gaussian_nll
from ssl_jax.losses.vocabulary import vocabulary_cross_entropy

__all__ = [
    "adversarial_discriminator",
    "adversarial_generator",
    "barlow_twins",
    "barlow_twins_terms",
    "byol",
    "clip",
    "cross_entropy",
    "dcl",
    "dclw",
    "dino",
    "gaussian_kl",
    "gaussian_nll",
    "hierarchical_softmax",
    "info_nce",
    "masked_reconstruction",
    "negative_sampling",
    "nt_xent",
    "queue_info_nce",
    "sigmoid",
    "simsiam",
    "sinkhorn",
    "soft_cross_entropy",
    "sup_con",
    "swav",
    "update_centre",
    "vicreg",
    "vicreg_terms",
    "vocabulary_cross_entropy",
    "weighted_reconstruction",
]
