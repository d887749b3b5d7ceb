"""What training sees: some examples and their random views."""

import numpy as np

from ssl_jax.visual import images
from ssl_jax.visual.page import sheet
from ssl_jax.visual.sections import Missing

TITLE = "Augmented views"
EXAMPLES, PARTS = 6, 9  # shown; of a view that consists of several images


def show(run) -> str:
    batch, views = run.viewed
    if "audio" in batch:
        return _sound(run, batch, views)
    names = sorted(name for name, held in views.items() if _is_image(held))
    if not names or "image" not in batch:
        raise Missing("the views of this method are rows of tokens, and no pictures.")
    mean, std = (run.keys.get(f"augment.{name}") for name in ("mean", "std"))
    shown = {name: images.to_pixels(views[name][:EXAMPLES], mean, std) for name in names}
    cells = [f'<div class="title">{title}</div>' for title in ("image", *(n.replace("_", " ") for n in names))]
    for i in range(min(EXAMPLES, len(batch["image"]))):
        image = images.thumbnail(batch["image"][i], f"image {i + 1}", width=72)
        cells.append(f'<div class="begin">{image}</div>')
        cells += [_view(shown[name][i], f"{name.replace('_', ' ')} of image {i + 1}") for name in names]
    return '<p class="soft">Drawn anew at every step; here by the seed of the run.</p>' + sheet(len(names) + 1, cells)


def _view(pixels: np.ndarray, alt: str) -> str:
    if pixels.ndim == 3:
        return images.thumbnail(pixels, alt, width=72)
    parts = pixels[:PARTS] if pixels.ndim == 4 else pixels
    whole = images.joined(parts)
    return images.img(whole, alt, width=72 * (len(parts) if pixels.ndim == 4 else 2))


def _is_image(held) -> bool:
    """Images `[b, H, W, C]`, or several of each example."""
    return held.ndim >= 4 and held.shape[-1] in (1, 3) and np.issubdtype(held.dtype, np.floating)


def _sound(run, batch, views) -> str:
    cells = []
    for i in range(min(EXAMPLES, len(batch["audio"]))):
        held = images.spectrogram(np.asarray(views["view_0"][i]), run.keys["data.sample_rate"])
        cells.append(images.img(held, f"spectrogram of window {i + 1}", width=300, height=90))
    return '<p class="soft">Windows of sound, as log-mel spectrograms: time goes to the right.</p>' + sheet(2, cells)
