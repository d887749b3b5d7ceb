"""The sections of a report, in order: a file each, with a `TITLE` and `show(run) -> HTML`.

`run` is what `ssl_jax/report.py` makes: whatever a section asks of it is made then, and a ValueError that says what is
missing becomes one line of the page.
"""

import importlib

from ssl_jax.visual.page import missing

NAMES = ("summary", "config", "curves", "health", "evaluation", "embedding", "neighbours", "views", "pictures")


class Missing(ValueError):
    """A section whose needs the run does not meet; the message is a sentence for the reader."""


def show(run) -> list[tuple[str, str]]:
    """`(title, HTML)` of every section; one whose needs are not met says so in a line."""
    shown = []
    for name in NAMES:
        section = importlib.import_module(f"ssl_jax.visual.sections.{name}")
        try:
            shown.append((section.TITLE, section.show(run)))
        except ValueError as error:
            shown.append((section.TITLE, missing(error)))
    return shown
