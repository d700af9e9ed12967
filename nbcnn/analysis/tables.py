"""Reports as text."""

from collections.abc import Sequence
from typing import Any


def table(
    headings: Sequence[str], rows: Sequence[Sequence[Any]], footer: Sequence[str] = ()
) -> str:
    """Columns under their headings: numbers to the right, else to the left; None is left out."""
    cells = [[_shown(value) for value in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(headings, *cells)]
    right = [all(_is_number(row[i]) for row in rows) and bool(rows) for i in range(len(headings))]

    def line(values: Sequence[str]) -> str:
        placed = (
            value.rjust(width) if flag else value.ljust(width)
            for value, width, flag in zip(values, widths, right)
        )
        return "  ".join(placed).rstrip()

    rule = "-" * (sum(widths) + 2 * (len(widths) - 1))
    body = [line(headings), rule, *map(line, cells)]
    return "\n".join([*body, rule, *footer] if footer else body)


def _is_number(value: Any) -> bool:
    return value is None or (isinstance(value, (int, float)) and not isinstance(value, bool))


def _shown(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.3g}" if abs(value) < 100 else f"{value:,.0f}"
    if isinstance(value, tuple):
        return " x ".join(map(_shown, value)) if value else "-"
    return str(value)
