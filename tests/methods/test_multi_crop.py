"""Multi-crop: two large views as ever, and small ones of their own size and augmentation."""

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

from ssl_jax.methods.parts import image


@pytest.fixture
def config(tiny):
    config = tiny()
    config.augment.unlock()
    return config


@pytest.fixture
def batch(tiny_batch):
    return tiny_batch(6)


def views(config, batch, make=image.multi_crop):
    keys = jax.vmap(jax.random.fold_in, (None, 0))(jax.random.key(3), batch["index"])
    return jax.device_get(jax.jit(jax.vmap(make(config)))(keys, batch))


@pytest.mark.parametrize("local", [None, {"count": 0, "size": 4}])
def test_without_small_crops_the_views_are_the_two_views(config, batch, local):
    if local:
        config.augment.local = ConfigDict(local)
    pair, made = views(config, batch, image.two_views), views(config, batch)
    assert made.keys() == {"view_0", "view_1", "index"}
    assert all(np.array_equal(made[name], pair[name]) for name in pair)


def test_small_crops_leave_the_large_ones_as_they_were(config, batch):
    pair = views(config, batch)
    config.augment.local = ConfigDict({"count": 3, "size": 4, "crop_scale": (0.05, 0.4)})
    made = views(config, batch)
    assert made.keys() == pair.keys() | {"view_2", "view_3", "view_4"}
    for name in pair:
        np.testing.assert_allclose(made[name], pair[name], atol=1e-6)
    small = [made[f"view_{i}"] for i in (2, 3, 4)]
    assert all(view.shape == (6, 4, 4, 1) for view in small)
    assert not any(np.allclose(a, b) for a, b in zip(small, small[1:], strict=False))
    # A view depends on its example's key alone.
    half = views(config, {name: rows[3:] for name, rows in batch.items()})
    np.testing.assert_allclose(half["view_3"], made["view_3"][3:], atol=1e-6)


def test_small_crops_have_the_shared_augmentation_but_for_what_they_override(config, batch):
    """Without any randomness a crop is the image, so that each override shows."""
    config.augment.crop, config.augment.flip_probability = False, 0.0
    config.augment.jitter_probability = config.augment.blur_probability = config.augment.solarise_probability = 0.0
    config.augment.greyscale_probability, config.augment.mean, config.augment.std = 0.0, (0.5,), (0.25,)
    config.augment.second = ConfigDict({"mean": (0.25,)})
    config.augment.local = ConfigDict({"count": 1, "std": (0.5,)})
    made, image = views(config, batch), batch["image"] / 255
    for name, mean, std in (("view_0", 0.5, 0.25), ("view_1", 0.25, 0.25), ("view_2", 0.5, 0.5)):
        np.testing.assert_allclose(made[name], (image - mean) / std, atol=1e-5)


def test_views_of_one_size_share_a_forward_pass(config, batch):
    assert image.resolutions(views(config, batch)) == [[0, 1]]
    config.augment.local = ConfigDict({"count": 3, "size": 4})
    assert image.resolutions(views(config, batch)) == [[0, 1], [2, 3, 4]]
