"""Sets the parts of a report as one HTML page with everything in it: for a phone, a desk or paper, light or dark.

The page is well-formed XML as well. It has no script and asks no other file or machine for anything.
"""

import base64
import re
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from rl_core.report.document import (
    Block,
    Bracketed,
    Bullets,
    Code,
    Heading,
    KeyFigure,
    KeyFigures,
    Link,
    Paragraph,
    Picture,
    Preformatted,
    Strong,
    Table,
)

NUMBER_AND_PERCENT = re.compile(r"(?<=\d) (?=%)")  # the space between them, which no line may end with
CONTENTS_LEVEL = 2  # of the headings that the page's contents name
STYLE = (Path(__file__).parent / "page.css").read_text(encoding="utf-8")
PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8" />
<meta name="viewport" content="width=device-width, initial-scale=1" />
<meta name="color-scheme" content="light dark" />
<title>{title}</title>
<style>
{style}</style>
</head>
<body>
{contents}<main>
{body}
</main>
</body>
</html>
"""

Pictures = Mapping[str, tuple[bytes, bytes]]  # PNG for light and for dark pages, by name


def to_html(blocks: Sequence[Block], *, title: str, pictures: Pictures) -> str:
    """The report as one page, with its pictures inside."""
    body = "\n".join(_block(block, pictures) for block in blocks)
    return PAGE.format(title=escape(title), style=STYLE, contents=_contents(blocks), body=body)


def _block(block: Block, pictures: Pictures) -> str:
    match block:
        case Heading():
            anchor = f' id="{_anchor(block)}"' if block.level == CONTENTS_LEVEL else ""
            return f"<h{block.level}{anchor}>{escape(block.text)}</h{block.level}>"
        case Paragraph():
            return f"<p>{_inline(block.parts)}</p>"
        case Bullets():
            items = "".join(f"<li>{_inline(item)}</li>\n" for item in block.items)
            return f"<ul>\n{items}</ul>"
        case Picture():
            return _picture(block, *pictures[block.name])
        case Preformatted():
            return f'<pre tabindex="0">{escape(block.text)}</pre>'
        case Table():
            return _table(block)
        case KeyFigures():
            return f'<dl class="figures">\n{"".join(map(_key_figure, block.figures))}</dl>'


def _contents(blocks: Sequence[Block]) -> str:
    """A line of links to the sections."""
    sections = [block for block in blocks if isinstance(block, Heading) and block.level == CONTENTS_LEVEL]
    links = "".join(f'<a href="#{_anchor(section)}">{escape(section.text)}</a>\n' for section in sections)
    return f'<nav aria-label="Sections">\n{links}</nav>\n' if links else ""


def _anchor(heading: Heading) -> str:
    return re.sub(r"[^a-z0-9]+", "-", heading.text.lower()).strip("-")


def _key_figure(figure: KeyFigure) -> str:
    note = f"<small>{escape(figure.note)}</small>" if figure.note else ""
    return f"<div><dt>{escape(figure.label)}</dt><dd>{escape(figure.value)}{note}</dd></div>\n"


def _picture(picture: Picture, light: bytes, dark: bytes) -> str:
    title, caption = escape(picture.title), _inline([picture.caption])
    return (
        "<figure><picture>"
        f'<source media="screen and (prefers-color-scheme: dark)" srcset="{_data_uri(dark)}" />'
        f'<img src="{_data_uri(light)}" alt="{title}" />'
        f"</picture><figcaption>{caption}</figcaption></figure>"
    )


def _data_uri(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode('ascii')}"


def _table(table: Table) -> str:
    head = "".join(_cell("th", header, at, table) for at, header in enumerate(table.headers))
    rows = "".join(
        f"<tr>{''.join(_cell('td', cell, at, table) for at, cell in enumerate(row))}</tr>\n" for row in table.rows
    )
    table_body = f"<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}</tbody>"
    return f'<div class="table" tabindex="0"><table>\n{table_body}</table></div>'


def _cell(tag: str, text: str, column: int, table: Table) -> str:
    kind = "" if column in table.text_columns else ' class="number"'
    return f"<{tag}{kind}>{_inline([text])}</{tag}>"


def _inline(parts: Sequence[str]) -> str:
    return "".join(_part(part) for part in parts)


def _part(part: str) -> str:
    if isinstance(part, Code):
        return f"<code>{escape(part)}</code>"
    part = type(part)(NUMBER_AND_PERCENT.sub("\u00a0", part))
    if isinstance(part, Bracketed):
        value, _, rest = part.partition(" ")
        return f'{escape(value)} <span class="interval">{escape(rest)}</span>'
    if isinstance(part, Link):
        return f'<a href="{escape(part)}">{escape(part)}</a>'
    return f"<strong>{escape(part)}</strong>" if isinstance(part, Strong) else escape(part)
