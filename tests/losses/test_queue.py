"""What the queue's loss has of its own; its values are in test_contrastive.py."""

import functools

import jax
import jax.numpy as jnp
import pytest

from ssl_jax.losses import queue_info_nce
from tests.losses.references import against_queue
from tests.losses.test_tiles import sizes


def test_tiles_bound_the_memory_of_a_queue():
    def largest(b, keys, width=2, **options):
        loss = functools.partial(queue_info_nce, **options)
        z, queue = (jax.ShapeDtypeStruct((rows, width), jnp.float32) for rows in (b, keys))
        return max(sizes(jax.make_jaxpr(jax.grad(loss))(z, z, queue).jaxpr))

    assert largest(256, 1024) == 256 * 1024  # a batch below 512: all at once
    assert largest(256, 1024, block_size=64) == 64 * 64
    assert largest(2048, 65536) == 256 * 512
    assert largest(255, 65536, width=1) == 255 * 512  # a small batch, but not with so long a queue


def test_a_queue_of_another_width_gets_one_sentence():
    message = r"query has shape \(4, 3\) and queue has shape \(7, 5\), but must be \[b, D\] and \[K, D\]"
    with pytest.raises(ValueError, match=message):
        against_queue(jnp.ones((4, 3)), jnp.ones((4, 3)))
