"""Curves over the steps of a run, as SVG without scripts."""

import math
from collections.abc import Iterable, Mapping
from html import escape

import numpy as np

from ssl_jax.visual.page import number, percent
from ssl_jax.visual.style import COLOURS

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 360, 190, 48, 12, 8, 24
POINTS = 240  # of a curve; longer ones are means over equal parts
DASHES = ("", "6 3", "2 2", "8 3 2 3")  # series differ in colour and in these


def chart(title: str, series: Mapping[str, tuple], *, warnings: Iterable[int] = (), shares: bool = False) -> str:
    """A figure of curves.

    Args:
      title: of the figure.
      series: name -> (steps, values), of equal lengths, finite.
      warnings: steps that get a mark.
      shares: whether values are printed in percent.
    """
    said = percent if shares else number
    thin = {name: thinned(*curve) for name, curve in series.items()}
    steps = np.concatenate([np.asarray(steps, float) for steps, _ in series.values()])
    values = np.concatenate([values for _, values in thin.values()])
    low, high = _padded(values.min(), values.max())
    first, last = steps.min(), max(steps.max(), steps.min() + 1)

    def x(step):
        return LEFT + (step - first) / (last - first) * (WIDTH - LEFT - RIGHT)

    def y(value):
        return TOP + (high - value) / (high - low) * (HEIGHT - TOP - BOTTOM)

    parts = []
    for tick in ticks(low, high):
        parts.append(f'<path class="grid" d="M{LEFT} {y(tick):.1f}H{WIDTH - RIGHT}"/>')
        parts.append(f'<text x="{LEFT - 5}" y="{y(tick) + 4:.1f}" text-anchor="end">{_short(tick, shares)}</text>')
    for tick in ticks(first, last, whole=True):
        parts.append(f'<text x="{x(tick):.1f}" y="{HEIGHT - 7}" text-anchor="middle">{_steps(tick)}</text>')
    for step in warnings:
        if first <= step <= last:
            parts.append(f'<path class="warned" d="M{x(step):.1f} {TOP}V{HEIGHT - BOTTOM}"/>')
    for i, (at, curve) in enumerate(thin.values()):
        places = " ".join(f"{x(step):.1f} {y(value):.1f}" for step, value in zip(at, curve, strict=True))
        parts.append(f'<path class="curve l{i % COLOURS}"{_dash(i)} d="M{places}"/>')
        parts.append(f'<circle class="k{i % COLOURS}" cx="{x(at[-1]):.1f}" cy="{y(curve[-1]):.1f}" r="2.6"/>')
    alt = f"{title} over the steps: " + "; ".join(
        f"{name} from {said(values[0])} to {said(values[-1])}" for name, (_, values) in series.items()
    )
    last_values = ", ".join(said(values[-1]) for _, values in series.values()) if len(series) < 4 else ""
    return (
        f"<figure><figcaption><b>{escape(title)}</b> {last_values}</figcaption>"
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH * 2}" role="img" aria-label="{escape(alt)}">'
        f"{''.join(parts)}</svg>{_legend(series)}</figure>"
    )


def thinned(steps, values) -> tuple[np.ndarray, np.ndarray]:
    """At most POINTS points of a curve: the means of equal parts, and the last point as it is.

    >>> steps, values = thinned(np.arange(1000), np.arange(1000.0))
    >>> len(steps) <= POINTS + 1, values[[0, -1]].tolist()
    (True, [2.0, 999.0])
    """
    steps, values = np.asarray(steps, float), np.asarray(values, float)
    if len(steps) <= POINTS:
        return steps, values
    size = math.ceil(len(steps) / POINTS)
    starts = np.arange(0, len(steps), size)
    counts = np.diff([*starts, len(steps)])
    means = (np.add.reduceat(line, starts) / counts for line in (steps, values))
    return tuple(np.append(mean, line[-1]) for mean, line in zip(means, (steps, values), strict=True))


def ticks(low: float, high: float, *, count: int = 4, whole: bool = False) -> list[float]:
    """About `count` round numbers in [low, high]; whole ones where asked for.

    >>> ticks(0.13, 0.97)
    [0.2, 0.4, 0.6, 0.8]
    >>> ticks(1, 3, whole=True)
    [1, 2, 3]
    """
    rough = (high - low) / count
    power = 10 ** math.floor(math.log10(rough))
    step = next(power * m for m in (1, 2, 5, 10) if power * m >= rough * 0.9)
    step = max(1, round(step)) if whole else step
    first = math.ceil(low / step - 1e-9)
    found = [k * step for k in range(first, math.floor(high / step + 1e-9) + 1)]
    return found if whole else [round(value, 12) for value in found]


def _padded(low: float, high: float) -> tuple[float, float]:
    margin = 0.05 * (high - low) or 0.05 * abs(high) or 1.0
    return low - margin, high + margin


def _short(value: float, shares: bool) -> str:
    if shares:
        return f"{100 * value:.3g} %"
    return _steps(value) if abs(value) >= 1000 else f"{value:.3g}"


def _steps(value: float) -> str:
    """
    >>> _steps(250), _steps(12_000), _steps(1_500_000)
    ('250', '12k', '1.5M')
    """
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:.3g}"


def _dash(i: int) -> str:
    dash = DASHES[i % len(DASHES)]
    return f' stroke-dasharray="{dash}"' if dash else ""


def _legend(series) -> str:
    if len(series) < 2:
        return ""
    items = "".join(
        f'<li><svg width="22" height="8" aria-hidden="true"><path class="curve l{i % COLOURS}"{_dash(i)} d="M0 4H22"/>'
        f"</svg>{escape(name)}</li>"
        for i, name in enumerate(series)
    )
    return f'<ul class="legend">{items}</ul>'
