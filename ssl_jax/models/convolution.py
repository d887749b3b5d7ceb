"""Convolutions of square kernels, in a form that is fast on CPUs, too."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax


class Conv(nn.Module):
    """A square convolution without bias, padded by `(size - 1) / 2` on every side; kernel [size, size, C, features]."""

    features: int
    size: int
    stride: int
    kernel_init: nn.initializers.Initializer
    dtype: Any

    @nn.compact
    def __call__(self, x):
        shape = (self.size, self.size, x.shape[-1], self.features)
        kernel = self.param("kernel", self.kernel_init, shape, jnp.promote_types(self.dtype, jnp.float32))
        x, kernel = x.astype(self.dtype), kernel.astype(self.dtype)
        height, width = (-(-length // self.stride) for length in x.shape[1:3])
        if self.size > 1 and height * width > 4:
            return convolve(x, kernel, self.stride)
        # The same numbers as a matrix product of patches: on CPU faster where the kernel is 1x1, and many times faster
        # on maps of up to 2x2, which XLA's convolutions there are not made for.
        margin = ((self.size - 1) // 2,) * 2
        x = jnp.pad(x, ((0, 0), margin, margin, (0, 0)))
        patches = [
            x[:, i : i + self.stride * height : self.stride, j : j + self.stride * width : self.stride]
            for i in range(self.size) for j in range(self.size)
        ]  # fmt: skip
        return jnp.einsum("bhwi,io->bhwo", jnp.concatenate(patches, axis=-1), kernel.reshape(-1, self.features))


def convolve(x, kernel, stride: int):
    """A convolution padded by `(size - 1) / 2` on every side.

    On a CPU its gradient is one of reverse mode alone: `jax.grad` and `jax.vjp`, not `jax.jvp`.

    Args:
      x: float `[B, H, W, C]`.
      kernel: `[size, size, C, K]`, of the same dtype and an odd size.
      stride: of the output, along both axes.

    Returns:
      `[B, ceil(H / stride), ceil(W / stride), K]`.

    >>> convolve(jnp.ones((1, 3, 3, 1)), jnp.ones((3, 3, 1, 1)), 1)[0, :, :, 0].tolist()
    [[4.0, 6.0, 4.0], [6.0, 9.0, 6.0], [4.0, 6.0, 4.0]]
    """
    # XLA brings convolutions on a CPU to the layout that is fast there by itself, but not those inside a loop, such as
    # that over microbatches, where the gradients are more than ten times as slow without this.
    return (_with_gradients_in_layout if jax.default_backend() == "cpu" else _padded)(x, kernel, stride)


def _padded(x, kernel, stride):
    margin = ((len(kernel) - 1) // 2,) * 2
    return _in_layout(x, kernel, (margin, margin), window_strides=(stride, stride))


def _in_layout(x, kernel, padding, window_strides=(1, 1), **dilation):
    """A convolution in the one layout that XLA has fast code for on a CPU."""
    layout = ("NHWC", "HWIO", "NHWC")
    return lax.conv_general_dilated(x, kernel, window_strides, padding, dimension_numbers=layout, **dilation)


_with_gradients_in_layout = jax.custom_vjp(_padded, nondiff_argnums=(2,))


def _forward(x, kernel, stride):
    return _padded(x, kernel, stride), (x, kernel)


def _backward(stride, kept, gradient):
    x, kernel = kept
    size, margin, strides = len(kernel), (len(kernel) - 1) // 2, (stride, stride)
    lengths = x.shape[1:3]
    spread = [(length - 1) * stride + 1 for length in gradient.shape[1:3]]  # of the gradient, strides apart
    d_x = _in_layout(
        gradient, lax.rev(kernel, (0, 1)).swapaxes(2, 3),
        [(size - 1 - margin, length - wide + margin) for length, wide in zip(lengths, spread, strict=True)],
        lhs_dilation=strides,
    )  # fmt: skip
    # The batch is what is summed over, and stands where channels do.
    d_kernel = _in_layout(
        x.transpose(3, 1, 2, 0), gradient.transpose(1, 2, 0, 3),
        [(margin, wide + size - 1 - length - margin) for length, wide in zip(lengths, spread, strict=True)],
        rhs_dilation=strides,
    )  # fmt: skip
    return d_x, d_kernel.transpose(1, 2, 0, 3)


_with_gradients_in_layout.defvjp(_forward, _backward)
