"""What every encoder of images refuses."""

import jax.numpy as jnp


def check_images(encoder: str, images, smallest: int = 1) -> None:
    """Refuses what is no batch of float images, or of images below a size.

    Raises:
        ValueError: a wrong rank, dtype or size.
    """
    if images.ndim != 4 or not jnp.issubdtype(images.dtype, jnp.floating) or min(images.shape[1:3]) < smallest:
        of_size = f" of at least {smallest} pixels on a side" if smallest > 1 else ""
        raise ValueError(
            f"{encoder} was given {images.dtype} {list(images.shape)} and expects float images [b, H, W, C]{of_size}; "
            "add the missing axis, convert uint8 images to floats in [0, 1], or resize them."
        )


def check_layer(encoder: str, layer: str | None, layers: tuple[str, ...]) -> None:
    """Refuses a layer that there is not; None is the encoder's output.

    Raises:
        ValueError: names those that there are.
    """
    if layer is not None and layer not in layers:
        raise ValueError(
            f"{encoder} was given layer {layer!r} and expects one of {list(layers)}; choose one, or None for features."
        )
