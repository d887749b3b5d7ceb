"""Up-convolutions on any backend, channel-wise layers, the shapes of decoders, equality with PyTorch's layers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from ssl_jax.models.encoder_decoder import ChannelwiseDense, CodeDecoder, Encoder, MapDecoder, upconvolve


def draw(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape))


def test_phases_are_the_convolution_with_zeros_between_places(x64):
    x, kernel = draw(2, 5, 3, 4), draw(4, 4, 4, 6, seed=1)

    def plain(x, kernel):
        layout = ("NHWC", "HWIO", "NHWC")
        return lax.conv_general_dilated(x, kernel, (1, 1), [(2, 2)] * 2, lhs_dilation=(2, 2), dimension_numbers=layout)

    assert upconvolve(x, kernel).shape == (2, 10, 6, 6)
    np.testing.assert_allclose(upconvolve(x, kernel), plain(x, kernel), atol=1e-12)
    found, expected = (
        jax.grad(lambda x, k, f=f: jnp.sum(jnp.sin(f(x, k))), (0, 1))(x, kernel) for f in (upconvolve, plain)
    )
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-12)


@pytest.mark.parity
@pytest.mark.parametrize("size, side", [(4, 10), (5, 9)])
def test_up_convolutions_are_those_of_pytorch(size, side):
    torch = pytest.importorskip("torch")
    x, kernel = draw(2, 5, 5, 4), draw(size, size, 4, 6, seed=1)
    flipped = np.ascontiguousarray(np.asarray(kernel)[::-1, ::-1].transpose(2, 3, 0, 1))
    padding = (size - 1) // 2 if size == 4 else 2
    images = torch.from_numpy(np.asarray(x).transpose(0, 3, 1, 2).copy())
    expected = torch.nn.functional.conv_transpose2d(images, torch.from_numpy(flipped), stride=2, padding=padding)
    found = upconvolve(x, kernel)
    assert found.shape == (2, side, side, 6)
    np.testing.assert_allclose(found.transpose(0, 3, 1, 2), expected.numpy(), atol=1e-4)


def test_a_channel_wise_layer_joins_places_and_not_channels(x64):
    x = draw(2, 3, 2, 4)
    model = ChannelwiseDense(dtype=jnp.float64)
    variables = model.init(jax.random.key(0), x)
    kernel, flat = np.asarray(variables["params"]["kernel"]), np.asarray(x).reshape(2, 6, 4)
    expected = np.stack([flat[:, :, c] @ kernel[c] for c in range(4)], axis=-1).reshape(2, 3, 2, 4)
    np.testing.assert_allclose(model.apply(variables, x), expected, rtol=1e-12)


def test_decoders_give_the_papers_sizes():
    """DCGAN's 4, 8, 16, 32, 64; AlexNet's 13 of a last convolution, pooled to 6, then 11 to 161, resized to 227."""

    def maps(model, x):
        _, found = jax.eval_shape(
            lambda: model.init_with_output(jax.random.key(0), x, capture_intermediates=True, mutable=True)
        )
        layers = {name: one["__call__"][0].shape for name, one in found["intermediates"].items() if "up" in name}
        return [layers[name][1:] for name in sorted(layers)]

    centre = maps(CodeDecoder((512, 256, 128, 64), side=64, outputs=3), jnp.ones((1, 4000)))
    assert centre == [(8, 8, 256), (16, 16, 128), (32, 32, 64), (64, 64, 3)]
    features = maps(MapDecoder((128, 64, 64, 32), side=227, outputs=3), jnp.ones((1, 13, 13, 256)))
    assert features == [(11, 11, 128), (21, 21, 64), (41, 41, 64), (81, 81, 32), (161, 161, 3)]


def test_wrong_images_and_layers_get_one_sentence():
    model = Encoder((4, 8), 5)
    with pytest.raises(ValueError, match="multiples of 4"):
        model.init(jax.random.key(0), jnp.ones((1, 6, 8, 3)))
    with pytest.raises(ValueError, match="conv_1"):
        model.init(jax.random.key(0), jnp.ones((1, 8, 8, 3)), layer="conv_3")
