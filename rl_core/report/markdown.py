"""Sets the parts of a report as Markdown that reads well as it is and on GitHub, in Prefect or a notebook."""

import re
from collections.abc import Callable, Sequence

from rl_core.report.document import (
    Block,
    Bullets,
    Code,
    Heading,
    KeyFigures,
    Link,
    Paragraph,
    Picture,
    Preformatted,
    Strong,
    Table,
)

SPECIAL = re.compile(r"([\\`*\[\]<>|#~&$]|\b_|_\b)")


def to_markdown(blocks: Sequence[Block]) -> str:
    """The report as one Markdown text; pictures are expected beside it."""
    return "\n\n".join(_block(block) for block in blocks) + "\n"


def _block(block: Block) -> str:
    match block:
        case Heading():
            return f"{'#' * block.level} {_text(block.text)}"
        case Paragraph():
            return _inline(block.parts)
        case Bullets():
            return "\n".join(f"- {_inline(item)}" for item in block.items)
        case Picture():
            return f"![{_text(block.title)}]({block.name}.png)\n\n{_text(block.caption)}"
        case Preformatted():
            fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", block.text)), default=0))
            return f"{fence}\n{block.text}\n{fence}"
        case Table():
            return _table(block)
        case KeyFigures():
            rows = [[figure.label, figure.value, figure.note] for figure in block.figures]
            return _table(Table(["", "", ""], rows, frozenset({0, 2})))


def _table(table: Table) -> str:
    """A table whose columns line up in the source as well."""
    rows = [[_cell(cell) for cell in row] for row in (table.headers, *table.rows)]
    columns = range(len(table.headers))
    widths = [max(3, *(len(row[column]) for row in rows)) for column in columns]
    rule = ["-" * width if at in table.text_columns else "-" * (width - 1) + ":" for at, width in enumerate(widths)]
    adjust: list[Callable[[str, int], str]] = [str.ljust if at in table.text_columns else str.rjust for at in columns]
    lines = [[adjust[at](row[at], widths[at]) for at in columns] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in (lines[0], rule, *lines[1:]))


def _cell(text: str) -> str:
    """On one line; in a table a bar ends the cell even within code, unless it is escaped."""
    set_text = _inline([text]).replace("\n", " ")
    return set_text.replace("|", "\\|") if isinstance(text, Code) else set_text


def _inline(parts: Sequence[str]) -> str:
    return "".join(_part(part) for part in parts)


def _part(part: str) -> str:
    if isinstance(part, Code):
        ticks = "`" * (1 + max((len(run) for run in re.findall("`+", part)), default=0))
        pad = " " if part.startswith("`") or part.endswith("`") else ""
        return f"{ticks}{pad}{part}{pad}{ticks}"
    if isinstance(part, Link):
        return f"<{part}>"
    return f"**{_text(part)}**" if isinstance(part, Strong) else _text(part)


def _text(text: str) -> str:
    return SPECIAL.sub(r"\\\1", text)
