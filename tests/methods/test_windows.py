"""Windows around tiles of places, against cutting each out of the padded sequence."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssl_jax.methods.parts import windows


@pytest.mark.parametrize("tile, window", [(8, 3), (8, 8), (8, 11), (4, 30), (24, 5)])
def test_tiles_with_their_neighbours_are_cut_out_of_the_padded_sequence(tile, window):
    x = np.random.default_rng(0).normal(size=(2, 24, 3))
    padded = np.pad(x, [(0, 0), (window, window), (0, 0)])
    wanted = np.stack([padded[:, at : at + tile + 2 * window] for at in range(0, 24, tile)], axis=1)
    np.testing.assert_array_equal(windows.around(jnp.asarray(x), tile, window), wanted.astype(np.float32))
    entries = np.random.default_rng(1).normal(size=wanted.shape).astype(np.float32)
    sums = np.zeros_like(padded)
    for number, at in enumerate(range(0, 24, tile)):
        sums[:, at : at + tile + 2 * window] += entries[:, number]
    found = jax.jit(windows.summed, static_argnums=(1, 2))(entries, tile, window)
    np.testing.assert_allclose(found, sums[:, window : window + 24], rtol=1e-5, atol=1e-6)
