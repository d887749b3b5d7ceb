"""Images and texts in one space: the cosines of some pairs, and what is found first for some texts."""

from html import escape

import numpy as np

from ssl_jax.evaluation import towers
from ssl_jax.visual import images, maps
from ssl_jax.visual.page import percent, sheet
from ssl_jax.visual.sections import Missing

MATRIX, TEXTS, BEST = 20, 8, 5  # pairs of the matrix, texts of the sheet, images found for each
LETTERS = 60  # of a text


def show(run) -> str:
    captions = getattr(run.source, "captions", None)
    if captions is None:
        raise Missing(f"{run.source.name} has no captions; give --data=SPEC of images with captions.")
    texts, own = towers.distinct(captions)
    known, asked = run.encoder.image(run.images), run.encoder.text(texts, truncate=True)
    cosines = known @ asked.T  # [N, M]
    some = np.linspace(0, len(texts) - 1, min(MATRIX, len(texts))).astype(int)
    chosen = [(int(np.argmax(own[:, text])), int(text)) for text in some]  # an image of each text
    return _matrix(run, texts, cosines, chosen) + _retrieval(run, texts, own, cosines, chosen)


def _matrix(run, texts, cosines, chosen) -> str:
    rows, columns = [text for _, text in chosen], [image for image, _ in chosen]
    shown = cosines[np.ix_(columns, rows)].T
    low, high = shown.min(), shown.max()
    drawn = maps.heatmap(
        (shown - low) / max(high - low, 1e-9), [texts[i] for i in rows], alt="Cosines of texts and images",
        thumbnails=[images.small(run.images[i]) for i in columns],
    )  # fmt: skip
    return (
        f'<h3>Cosines</h3><p class="soft">Every text (a row) and every image (a column), from {low:.2f} (empty) to '
        f"{high:.2f} (full); pairs are on the diagonal.</p>{drawn}"
    )


def _retrieval(run, texts, own, cosines, chosen) -> str:
    order, best = np.argsort(-cosines.T, axis=1, kind="stable"), min(BEST, len(cosines))
    cells = ['<div class="title">text</div>', '<div class="title begin">its image</div>']
    cells += [f'<div class="title">{i + 1}.</div>' for i in range(best)]
    for image, text in chosen[:: max(1, len(chosen) // TEXTS)][:TEXTS]:
        cells.append(f'<div class="text">{escape(maps.cut(texts[text], LETTERS))}</div>')
        shown = images.thumbnail(run.images[image], "its image")
        cells.append(f'<div class="begin">{shown}</div>')
        for found in order[text, :best]:
            right = bool(own[found, text])
            mark = '<b class="good">✓</b>' if right else '<b class="bad">✗</b>'
            alt = "found: an image of this text" if right else "found: another image"
            cells.append(f"<div>{images.thumbnail(run.images[found], alt)}<br>{mark} {cosines[found, text]:.2f}</div>")
    recall = percent(towers.recall(cosines.T, own.T, best))
    chance = percent(towers.recall_of_chance(own.T, best))
    return (
        f'<h3>Retrieval</h3><p class="soft">The {best} images found first among {run.source.name}. For '
        f"{recall} of {len(texts):,} texts one of its own images is among them; by chance {chance}.</p>"
        + sheet(best + 2, cells)
    )

