"""SimMIM: which squares are masked, what the encoder sees, the paper's loss, baselines, pictures, wrong settings."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssl_jax import methods
from ssl_jax.methods.parts import patches
from tests.methods.by_hand import PROGRESS, loss_and_outputs, prepare


@pytest.fixture
def parts(tiny, tiny_batch):
    """Patches of 2 pixels, squares of 4: 3 of 4 squares are masked, 12 of 16 patches."""
    config = tiny("simmim")
    config.method.mask_patch_size = 4
    return prepare(config, tiny_batch(6))


def test_whole_squares_are_masked_at_random(parts):
    method, views, params, state = parts
    masked = np.asarray(loss_and_outputs(method, views, params, state)[1][0]["masked"])
    squares = masked.reshape(6, 2, 2, 2, 2)  # rows of squares, rows in a square, columns of squares, ...
    np.testing.assert_array_equal(squares, np.broadcast_to(squares[:, :, :1, :, :1], squares.shape))
    assert (squares[:, :, 0, :, 0].sum((1, 2)) == 3).all()
    assert len({tuple(row) for row in masked}) > 1


def test_the_number_of_squares_is_rounded_up_as_in_the_official_code(tiny):
    config = tiny("simmim")
    config.update_from_flattened_dict({"augment.size": 28, "method.mask_patch_size": 4})
    assert methods.build(config).describe(1)["squares"] == "49 of 4 x 4 pixels, of which 30 are masked"


def test_no_pixel_of_a_masked_patch_reaches_the_network_and_the_loss_sees_those_alone(parts):
    method, views, params, state = parts

    def embed(images):
        return method.embed(params, state, views | {"view_0": images}, jax.random.key(2), PROGRESS, None)[0]

    outputs = embed(views["view_0"])
    masked = np.asarray(outputs["masked"])
    for name in ("prediction", "features"):
        gradient = jax.grad(lambda images, name=name: jnp.sum(embed(images)[name] ** 2))(views["view_0"])
        np.testing.assert_array_equal(np.abs(patches.patchify(gradient, 2)).max(-1) > 0, ~masked)

    def loss(prediction):
        return method.objective(params, outputs | {"prediction": prediction}, state, PROGRESS, None)[0]

    gradient = np.abs(jax.grad(loss)(outputs["prediction"])).max(-1)
    np.testing.assert_array_equal(gradient > 0, masked)


def test_the_loss_is_the_papers(parts):
    method, views, params, state = parts
    loss, (outputs, _) = loss_and_outputs(method, views, params, state)
    images, total, count = np.asarray(views["view_0"], np.float64), 0.0, 0
    predicted = patches.unpatchify(np.asarray(outputs["prediction"], np.float64), 2, 8, 8)
    for image, made, masked in zip(images, predicted, np.asarray(outputs["masked"]), strict=True):
        for row in range(8):
            for column in range(8):
                if masked[row // 2 * 4 + column // 2]:
                    total, count = total + abs(image[row, column, 0] - made[row, column, 0]), count + 1
    assert count == 6 * 48 and loss == pytest.approx(total / count, rel=1e-5)


def test_baselines_are_what_trivial_predictions_reach(parts):
    method, views, params, state = parts
    _, (outputs, _) = loss_and_outputs(method, views, params, state)
    found, images = method.baselines(views, outputs), np.asarray(views["view_0"], np.float64)[..., 0]
    hidden = np.kron(np.asarray(outputs["masked"]).reshape(6, 4, 4), np.ones((2, 2))).astype(bool)
    means = np.array([image[~holes].mean() for image, holes in zip(images, hidden, strict=True)])[:, None, None]
    assert found["loss of zero"] == pytest.approx(np.abs(images[hidden]).mean(), rel=1e-5)
    assert found["loss of visible mean"] == pytest.approx(np.abs(images - means)[hidden].mean(), rel=1e-5)
    assert set(found) == {"loss of zero", "loss of visible mean", "loss of harmonic filling"}


def test_the_class_token_and_positions_do_not_decay_and_the_mask_token_does(parts):
    method, _, params, _ = parts
    encoder = method.groups(params)["encoder"]
    assert encoder["class_token"] == "vectors" and encoder["mask_token"] == "default"
    positions = {"encoder": {"position_embedding": jnp.ones((1, 4, 2))}, "head": {"kernel": jnp.ones((2, 2))}}
    assert method.groups(positions)["encoder"]["position_embedding"] == "vectors"


def test_pictures_show_what_is_masked_what_is_predicted_and_the_truth(parts):
    method, views, params, state = parts
    (picture,) = method.pictures(params, state, views, jax.random.key(2)).values()
    assert picture.dtype == np.uint8 and picture.shape == (6 * 10, 3 * 10, 3)
    shown = picture[:8, :, 0].astype(int)
    grey = shown[:, :8] == 128  # 0 after normalisation
    assert (grey.sum() >= 48) and (shown[:, 10:18][~grey] == shown[:, 20:28][~grey]).all()


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"method.mask_ratio": 1.0}, r"mask_ratio is 1.0 of 16 squares .* a ratio in \(0, 1\)"),
        ({"method.mask_ratio": 0.0}, "mask_ratio is 0.0"),
        ({"method.mask_ratio": 0.99}, "leaves some"),
        ({"method.mask_patch_size": 3}, "mask_patch_size is 3; expected a multiple of config.model.patch_size=2"),
        ({"augment.size": 10, "method.mask_patch_size": 4}, "divides config.augment.size=10"),
        ({"model.name": "resnet"}, "model.name of simmim is 'resnet'"),
    ],
)
def test_wrong_settings_are_refused(tiny, changes, message):
    config = tiny("simmim")
    config.update_from_flattened_dict(changes)
    with pytest.raises(ValueError, match=message):
        methods.build(config)
