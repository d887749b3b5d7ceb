"""Augmentations: pure functions `(key, image) -> image`."""

from ssl_jax.augment.rotation import rotate
from ssl_jax.augment.views import evaluation_view, view

__all__ = ["evaluation_view", "rotate", "view"]
