"""HTML of a report: one file without scripts, which asks the network for nothing."""

from collections.abc import Iterable
from html import escape

from ssl_jax.visual.style import STYLE

# Nothing is loaded: pictures are part of the file.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
ICON = (
    "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 8 8'%3E%3Ccircle cx='4' cy='4' r='3' "
    "fill='%230072b2'/%3E%3C/svg%3E"
)


def page(title: str, subtitle: str, sections: Iterable[tuple[str, str]], foot: str) -> str:
    """A whole page: `sections` are titles and their HTML; the other arguments are plain text."""
    sections = list(sections)
    links = "".join(f'<li><a href="#{name_of(head)}">{escape(head)}</a></li>' for head, _ in sections)
    parts = "\n".join(
        f'<section id="{name_of(head)}"><h2>{escape(head)}</h2>\n{body}\n</section>' for head, body in sections
    )
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<link rel="icon" href="{ICON}">
<title>{escape(title)}</title>
<style>{STYLE}</style>
</head>
<body>
<header><h1>{escape(title)}</h1><p class="soft">{escape(subtitle)}</p></header>
<nav aria-label="Sections"><ul>{links}</ul></nav>
<main>
{parts}
</main>
<footer><p>{escape(foot)}</p></footer>
</body>
</html>
"""


def name_of(title: str) -> str:
    """The anchor of a section.

    >>> name_of("Nearest neighbours")
    'nearest-neighbours'
    """
    return title.lower().replace(" ", "-")


def missing(why) -> str:
    """The line in place of a section whose needs are not met."""
    return f'<p class="missing">Left out: {escape(str(why))}</p>'


def table(titles: Iterable[str], rows: Iterable[Iterable[str]], *, numbers: Iterable[int] = (), caption="") -> str:
    """A table of plain text; the first cell of a row is its head, the columns `numbers` stand to the right."""
    numbers = set(numbers)

    def cell(i, text, scope):
        side, kind = ' class="number"' if i in numbers else "", "th" if scope else "td"
        return f"<{kind}{scope}{side}>{escape(str(text))}</{kind}>"

    def line(texts, scopes):
        return "<tr>" + "".join(cell(i, text, scopes(i)) for i, text in enumerate(texts)) + "</tr>\n"

    head = line(titles, lambda i: ' scope="col"')
    body = "".join(line(row, lambda i: "" if i else ' scope="row"') for row in rows)
    said = f"<caption>{escape(caption)}</caption>" if caption else ""
    return f'<div class="scroll"><table>{said}<thead>{head}</thead><tbody>\n{body}</tbody></table></div>'


def sheet(columns: int, cells: Iterable[str]) -> str:
    """Cells of HTML in rows of so many columns; a sheet that is too wide scrolls."""
    return (
        f'<div class="scroll"><div class="sheet" style="grid-template-columns:repeat({columns},auto)">'
        + "\n".join(f"<div>{cell}</div>" if not cell.startswith("<div") else cell for cell in cells)
        + "</div></div>"
    )


def number(value: float) -> str:
    """A value as it is printed: four significant digits, without an exponent where that is short.

    >>> number(0.123456), number(1234567.0), number(2.0), number(0.0000123)
    ('0.1235', '1,234,567', '2', '1.23e-05')
    """
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}" if 0 < abs(value) < 1e-3 else f"{value:.4g}"


def percent(share: float) -> str:
    """A share in percent.

    >>> percent(0.9745)
    '97.5 %'
    """
    return f"{100 * share:.1f} %"
