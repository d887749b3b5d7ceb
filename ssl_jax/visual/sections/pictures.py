"""What the method itself has to show: its own pictures, a map of its words, images and texts that find each other."""

import inspect
from html import escape

import numpy as np

from ssl_jax.methods.api import Heatmap, Table
from ssl_jax.visual import images, maps
from ssl_jax.visual.page import missing, table
from ssl_jax.visual.sections import Missing, pairs, words

TITLE = "Pictures"
WIDEST, TALLEST = 640, 1000  # CSS pixels to which a picture grows


def show(run) -> str:
    method, parts = run.method, []
    if method.pictures is not None:
        parts.append(_own(run))
    for has, module in ((method.words, words), (method.tokenize, pairs)):
        if has is not None:
            try:
                parts.append(module.show(run))
            except ValueError as error:
                parts.append(missing(error))
    if not parts:
        raise Missing(f"{run.keys['method.name']} has no pictures of its own: what it learns is in the features.")
    return "".join(parts)


def _own(run) -> str:
    found = run.pictures
    said = inspect.getdoc(run.method.pictures) or ""
    caption = " ".join(said.split())
    shown = "".join(f"<h3>{escape(_title(name))}</h3>{_picture(name, held)}" for name, held in found.items())
    return f'<p class="soft">{escape(caption)}</p>{shown}' if found else missing(caption)


def _picture(name: str, held) -> str:
    if isinstance(held, Table):
        return table(held.titles, held.rows)
    if isinstance(held, Heatmap):
        return maps.heatmap(held.values, held.rows, held.columns, alt=_title(name))
    pixels = np.asarray(held)
    scale = max(1, min(6, WIDEST // pixels.shape[1], TALLEST // pixels.shape[0]))
    return images.img(pixels, _title(name), width=scale * pixels.shape[1])


def _title(name: str) -> str:
    words = name.replace("_", " ")
    return words[:1].upper() + words[1:]
