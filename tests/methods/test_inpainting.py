"""Context encoders: what is seen and what counts, two adversaries in one step, baselines, pictures, wrong settings."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssl_jax import methods
from ssl_jax.methods.parts import quality
from tests.methods.by_hand import PROGRESS, loss_and_outputs, prepare


@pytest.fixture
def parts(tiny, tiny_batch):
    return prepare(tiny("inpainting"), tiny_batch(4))


def test_nothing_of_what_is_hidden_is_seen(parts):
    method, views, params, state = parts

    def embed(images):
        return method.embed(params, state, views | {"view_0": images}, jax.random.key(2), PROGRESS, None)[0]

    gradient = jax.grad(lambda images: jnp.sum(embed(images)["prediction"][0] ** 2))(views["view_0"])
    seen = np.abs(gradient).max(-1) > 0
    assert not seen[np.asarray(views["hidden"])].any() and seen[0, 0, 0]
    assert views["hidden"][0].sum() == 4 and views["hidden"][0, 3:5, 3:5].all()


def test_the_hole_counts_once_and_the_ring_ten_times(parts):
    method, views, params, state = parts
    loss, (outputs, new) = loss_and_outputs(method, views, params, state)
    errors = np.square(np.asarray(outputs["prediction"] - outputs["target"], np.float64)).mean(-1)
    importance = np.full((4, 4), 10.0)
    importance[1:3, 1:3] = 1
    np.testing.assert_array_equal(outputs["target"], views["view_0"][:, 2:6, 2:6])
    metrics = method.objective(params, outputs, new, PROGRESS, None)[2]
    assert metrics["reconstruction"] == pytest.approx(np.mean(errors * importance[None]), rel=1e-5)
    expected = 0.8 * metrics["reconstruction"] + 0.2 * metrics["generator"] + metrics["discriminator"]
    assert loss == pytest.approx(float(expected), rel=1e-6)


def test_each_adversary_has_the_gradient_of_its_own_loss(parts):
    method, views, params, state = parts

    def terms(params):
        outputs, new = method.embed(params, state, views, jax.random.key(2), PROGRESS, None)
        loss, _, metrics = method.objective(params, outputs, new, PROGRESS, None)
        return loss, metrics

    whole, of_discriminator, of_generator = (
        jax.grad(lambda params, pick=pick: pick(*terms(params)))(params)
        for pick in (
            lambda loss, _: loss,
            lambda _, metrics: metrics["discriminator"],
            lambda _, metrics: 0.8 * metrics["reconstruction"] + 0.2 * metrics["generator"],
        )
    )
    for name, expected in (
        ("discriminator", of_discriminator), ("encoder", of_generator), ("decoder", of_generator),
    ):  # fmt: skip
        for a, b in zip(jax.tree.leaves(whole[name]), jax.tree.leaves(expected[name]), strict=True):
            np.testing.assert_allclose(a, b, atol=1e-6)
            assert np.abs(b).max() > 0
    of_others = jax.tree.leaves(
        (of_discriminator["encoder"], of_discriminator["decoder"], of_generator["discriminator"])
    )
    assert all(np.abs(leaf).max() == 0 for leaf in of_others)


def test_the_discriminator_has_a_group_and_is_left_out_without_adversary(parts, tiny, tiny_batch):
    groups = parts[0].groups(parts[2])
    assert set(jax.tree.leaves(groups["discriminator"])) == {"discriminator"}
    assert set(jax.tree.leaves(groups["decoder"])) == {"default", "vectors"}
    config = tiny("inpainting")
    config.method.adversarial = 0.0
    _, _, params, state = prepare(config, tiny_batch(4))
    assert set(params) == set(state["batch_stats"]) == {"encoder", "decoder"}


@pytest.mark.parametrize("mask", ["blocks", "regions"])
def test_other_masks_are_drawn_for_each_example(mask, tiny, tiny_batch):
    config = tiny("inpainting")
    config.method.update(mask=mask, adversarial=0.0, share=(0.2, 0.3), resolution=0.3)
    config.model.decoder.side = 8
    method, views, params, state = prepare(config, tiny_batch(8))
    hidden = np.asarray(views["hidden"])
    assert len({example.tobytes() for example in hidden}) > 4 and 0.05 < hidden.mean() <= 0.3
    loss, (outputs, _) = loss_and_outputs(method, views, params, state)
    assert outputs["prediction"].shape == views["view_0"].shape and np.isfinite(loss)


def test_baselines_and_quality(parts):
    method, views, params, state = parts
    _, (outputs, _) = loss_and_outputs(method, views, params, state)
    found = method.baselines(views, outputs)
    images, hidden = np.asarray(views["view_0"], np.float64) / 2 + 0.5, np.asarray(views["hidden"])
    by_hand = []
    for image, mask in zip(images, hidden, strict=True):
        error = image[~mask].mean() - image[mask]
        by_hand.append(-10 * np.log10(np.mean(error**2)))
    assert found["psnr of mean colour"] == pytest.approx(np.mean(by_hand), rel=1e-4)
    assert found["high_frequency_ratio of harmonic filling"] < 0.2
    same = quality.of_filling(outputs["target"], outputs["target"], outputs["hidden"], (0.5,))
    assert same["psnr"] == 100 and same["high_frequency_ratio"] == 1


def test_pictures_paste_the_prediction_into_the_hole(parts, tiny_batch):
    method, views, params, state = parts
    sheet = method.pictures(params, state, views, jax.random.key(0))["inpainting"]
    assert sheet.dtype == np.uint8 and sheet.shape == (40, 50, 3)
    context, mask, filled, pasted, true = (sheet[:8, 10 * i : 10 * i + 8] for i in range(5))
    visible = ~np.asarray(views["hidden"][0])
    np.testing.assert_array_equal(mask, np.where(visible[..., None], 0, 255) * np.ones(3, int))
    for picture in (context, filled, pasted):
        np.testing.assert_array_equal(picture[visible], true[visible])
        assert (picture[~visible] != true[~visible]).any()


BLOCKS, REGIONS = ({"method.mask": mask, "model.decoder.side": 8} for mask in ("blocks", "regions"))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"method.mask": "corner"}, "expected 'centre', 'blocks' or 'regions'"),
        ({"method.hole": 8}, "a hole inside of the predicted square"),
        ({"method.hole": 0}, "a hole inside of the predicted square"),
        ({"method.hole": 8, "model.decoder.side": 8}, "hole is 8, .*decoder.side 8 .* and smaller than the image"),
        ({"model.decoder.side": 5}, "decoder.side 5 and config.augment.size 8; .* by an even number of pixels"),
        ({"method.mask": "regions"}, "expected the whole side"),
        ({"method.mask": "regions", "model.decoder.side": 7}, "side is 7 .* expected the whole side"),
        ({"model.decoder.channels": (8, 8, 8)}, "a multiple of 8"),
        ({"model.decoder.channels": (0,)}, "numbers from 1 on"),
        ({"model.bottleneck": 0}, "config.model.bottleneck 0; expected numbers from 1 on"),
        ({"model.channels": (8, 0)}, r"config.model.channels is \(8, 0\)"),
        ({"method.adversarial": 1.0}, "a share in"),
        ({"method.overlap": -1}, "method.overlap is -1; expected 0 or more pixels"),
        ({"method.overlap_weight": -1.0}, "method.overlap_weight is -1.0; expected a weight from 0 on"),
        ({"method.elsewhere": -0.5}, "method.elsewhere is -0.5; expected a weight from 0 on"),
        (BLOCKS | {"method.blocks": 0}, "method.blocks is 0; expected 1 or more squares"),
        (BLOCKS | {"method.blocks": -3}, "method.blocks is -3"),
        (BLOCKS | {"method.share": (0.01, 0.05)}, "in 4 blocks of an image of 8 x 8 pixels, less than a pixel each"),
        (REGIONS | {"method.share": (0.01, 0.3)}, "8 x 8 pixels, at the least less than a pixel"),
        (REGIONS | {"method.resolution": 0.0}, "method.resolution is 0.0; expected a number of cells a pixel above 0"),
        ({"augment.mean": None}, "that of every channel"),
    ],
)
def test_wrong_settings_get_one_sentence(changes, sentence, tiny):
    config = tiny("inpainting")
    with config.ignore_type():
        config.update_from_flattened_dict(changes)
    with pytest.raises(ValueError, match=sentence):
        methods.build(config)


@pytest.mark.parametrize("mask", ["blocks", "regions"])
def test_what_another_mask_reads_does_not_matter(mask, tiny):
    config = tiny("inpainting")
    config.method.update(mask=mask, hole=8)
    config.model.decoder.side = 8
    config.method.update({"blocks": {"resolution": 0.0}, "regions": {"blocks": 0}}[mask])
    methods.build(config)
