"""An encoder out of a run: any number of examples, dicts of arrays, few compilations, keys kept beside the features."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssl_jax.context import calibration_rows, held_out_rows
from ssl_jax.data import sources
from ssl_jax.encoder import Encoder
from ssl_jax.methods.parts import networks
from ssl_jax.train import parallel

IMAGES = np.random.default_rng(0).integers(0, 256, (700, 2, 2, 1), dtype=np.uint8)


@pytest.fixture
def traced():
    return []


@pytest.fixture
def encoder(traced):
    def encode(params, state, inputs):
        traced.append({name: rows.shape for name, rows in inputs.items()})
        features = jnp.float32(inputs["image"].reshape(len(inputs["image"]), -1))
        return features + jnp.float32(inputs.get("shift", jnp.zeros(len(features))))[:, None]

    where = parallel.make("shard_map", None, jax.device_count())
    return Encoder(jax.jit(encode, out_shardings=where.replicated), where, {}, {})


@pytest.mark.parametrize("count", [1, 5, 256, 300, 700])
def test_any_number_of_examples(encoder, count):
    np.testing.assert_array_equal(encoder(IMAGES[:count]), IMAGES[:count].reshape(count, -1).astype(np.float32))


def test_sizes_that_vary_compile_a_few_times(encoder, traced):
    for count in (*range(129, 260, 10), 700):
        encoder(IMAGES[:count])
    assert len(traced) == 1
    encoder(IMAGES[:3])
    encoder(IMAGES[:4])
    assert len(traced) == 2


def test_dicts_of_arrays(encoder):
    shift = np.arange(300, dtype=np.int32)
    expected = encoder(IMAGES[:300]) + shift[:, None]
    np.testing.assert_array_equal(encoder({"image": IMAGES[:300], "shift": shift}), expected)
    with pytest.raises(ValueError, match="one equal number of examples"):
        encoder({"image": IMAGES[:300], "shift": shift[:5]})
    with pytest.raises(ValueError, match="expected uint8"):
        encoder({"image": IMAGES[:3].astype(np.float32)})


def test_speakers_and_masks_are_kept_beside_the_features(encoder, traced):
    arrays = {"image": IMAGES[:300], "label": np.arange(300), "speaker": np.arange(300) % 7, "mask": IMAGES[:300, :, 0]}
    source = sources.from_arrays(arrays)
    found = encoder.rows(source)
    assert set(found) == {"features", "label", "speaker"} and "speaker" not in traced[0]
    np.testing.assert_array_equal(found["speaker"], arrays["speaker"])
    found = encoder.rows(source, keep=("label", "mask"))
    np.testing.assert_array_equal(found["mask"], arrays["mask"])


@pytest.mark.parametrize(
    ("examples", "batch_size", "groups", "rows"),
    [
        (1437, 256, 1, 256), (1437, 16, 1, 256), (200, 16, 1, 192), (1437, 48, 1, 255), (1437, 4096, 8, 256),
        (100, 64, 8, 96),
    ],
)
def test_batches_that_settle_statistics_fall_into_groups(tiny, examples, batch_size, groups, rows):
    config = tiny()
    config.train.batch_size, config.model.norm_groups = batch_size, groups
    assert calibration_rows(examples, config) == rows
    assert rows % networks.norm_groups(config)(rows, None) == 0


@pytest.mark.parametrize(
    ("examples", "groups", "rows"), [(40, 2, 16), (16, 2, 16), (13, 2, 8), (5, 2, 5), (13, 1, 13)]
)
def test_few_held_out_clips_fill_groups_of_negatives(tiny, examples, groups, rows):
    config = tiny("cpc_audio")
    config.train.batch_size, config.method.groups = 16, groups
    assert held_out_rows(examples, config) == rows
