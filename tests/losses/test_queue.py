"""What the queue's loss has of its own; its values are in test_contrastive.py."""

import functools

import jax
import jax.numpy as jnp
import pytest

from ssl_jax.losses import queue_info_nce
from tests.losses.test_contrastive import against_queue, arrays


def test_blocks_bound_the_memory_of_a_queue():
    def largest(b, n, keys, **options):
        loss = functools.partial(queue_info_nce, axis_name="data", **options)
        z, queue = (jax.ShapeDtypeStruct((rows, 2), jnp.float32) for rows in (b, keys))
        traced = jax.make_jaxpr(jax.grad(loss), axis_env=[("data", n)])(z, z, queue)
        return max(aval.size for _, aval in arrays(traced.jaxpr))

    assert largest(512, 1, 1024) == 512 * 1024
    assert largest(512, 1, 1024, block_size=32) == 32 * 1024
    for n in (1, 8):  # 2^27 logits of the global batch in one block, and 1,024 queries at a time beyond
        assert largest(2048 // n, n, 65536) == 2048 // n * 65536
    assert largest(2049, 1, 65536) == 1024 * 65536


def test_a_queue_of_another_width_gets_one_sentence():
    message = r"queue has shape \(7, 5\) and query has shape \(4, 3\), but queue must be \[K, D\] with the D of the"
    with pytest.raises(ValueError, match=message):
        against_queue(jnp.ones((4, 3)), jnp.ones((4, 3)))
