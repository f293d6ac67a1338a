"""Value -> HTML and value -> text. Pure: no I/O, no IPython, the clock is an argument."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from html import escape
from typing import Any

from magics import units
from magics.css import page
from magics.tables import Column, Table

# A word of state: its sign and its colour. Signs differ, so colour never speaks alone.
_STATES = {
    "running": ("●", "green"),
    "yes": ("✓", "green"),
    "done": ("✓", "green"),
    "cached": ("▨", "muted"),
    "created": ("○", "muted"),
    "exited (0)": ("○", "muted"),
    "paused": ("‖", "amber"),
    "restarting": ("↻", "amber"),
    "removing": ("↻", "amber"),
    "no": ("✕", "red"),
    "dead": ("✕", "red"),
    "failed": ("✕", "red"),
    "waiting": ("·", "muted"),
    "stopped": ("■", "amber"),
}
_CLASSES = {
    "bytes": "wb-n",
    "count": "wb-n",
    "seconds": "wb-n",
    "code": "wb-c",
    "id": "wb-i",
    "text": "wb-x",
}


def state(word: str) -> str:
    """A word of state with its sign, as HTML."""
    sign, colour = _state(word)
    return f'<span class="wb-{colour}"><span aria-hidden="true">{sign}</span> {escape(word)}</span>'


def _state(word: str) -> tuple[str, str]:
    if word in _STATES:
        return _STATES[word]
    return ("✕", "red") if word.startswith("exited") else ("○", "muted")


def table_html(table: Table[Any], *, now: datetime) -> str:
    """A table with caption and column headers, or the words for an empty one."""
    return page(table_body(table, now=now))


def table_body(table: Table[Any], *, now: datetime) -> str:
    """The table alone, for use inside a larger picture."""
    if not table.rows:
        return f'<p class="wb-empty">{empty_words(table)}</p>'
    columns = [column for column in table.columns if column.shown]
    head = "".join(
        f'<th scope="col" class="{_CLASSES.get(column.kind, "") if column.kind in _RIGHT else ""}">'
        f"{escape(column.title)}</th>"
        for column in columns
    )
    body = "".join(_row_html(columns, row, now) for row in table.rows)
    caption = escape(table.caption)
    return (
        f'<div class="wb-scroll" role="region" tabindex="0" aria-label="{caption}">'
        f'<table class="wb-t"><caption>{caption}</caption><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


_RIGHT = {"bytes", "count", "seconds"}


def empty_words(table: Table[Any]) -> str:
    """The empty state; back-ticks mark code."""
    pieces = escape(table.empty or table.caption).split("`")
    return "".join(
        f"<code>{piece}</code>" if index % 2 else piece for index, piece in enumerate(pieces)
    )


def _row_html(columns: Sequence[Column[Any]], row: Any, now: datetime) -> str:
    return f"<tr>{''.join(_cell_html(column, row, now) for column in columns)}</tr>"


def _cell_html(column: Column[Any], row: Any, now: datetime) -> str:
    value = column.value(row)
    tip = column.tip(row) if column.tip else _tip(column.kind, value)
    attributes = f' class="{_CLASSES[column.kind]}"' if column.kind in _CLASSES else ""
    if tip:
        attributes += f' title="{escape(tip)}"'
    if column.kind in ("status", "yes"):
        words = {True: "yes", False: "no"}.get(value, value)
        return f"<td{attributes}>{state(str(words))}</td>"
    if column.kind == "time" and value is not None:
        inner = f'<time datetime="{value.isoformat()}">{units.age(value, now)}</time>'
        return f"<td{attributes}>{inner}</td>"
    return f"<td{attributes}>{escape(shown_text(column.kind, value, now))}</td>"


def _tip(kind: str, value: Any) -> str:
    if value is None:
        return ""
    if kind == "bytes":
        return f"{value:,} bytes"
    if kind == "time":
        return units.iso(value)
    return str(value) if kind == "id" else ""


def shown_text(kind: str, value: Any, now: datetime) -> str:
    """One cell as text: bytes with units, ids short, ages of times, ``—`` where no number is."""
    if value is None or value == "":
        return "—" if kind in _RIGHT else ""
    if kind == "bytes":
        return units.size(value)
    if kind == "seconds":
        return units.duration(value)
    if kind == "time":
        return units.age(value, now)
    if kind == "yes":
        return "yes" if value else "no"
    if kind == "id":
        return str(value).removeprefix("sha256:")[:12]
    return str(value)


def table_text(table: Table[Any], *, now: datetime) -> str:
    """A table for a terminal: aligned columns under a caption."""
    if not table.rows:
        return (table.empty or table.caption).replace("`", "")
    columns = [column for column in table.columns if column.shown]
    lines = [[column.title for column in columns]]
    for row in table.rows:
        cells = (shown_text(column.kind, column.value(row), now) for column in columns)
        lines.append([_one_line(cell) for cell in cells])
    right = [column.kind in _RIGHT for column in columns]
    return f"{table.caption}\n\n{aligned(lines, right)}"


def aligned(lines: Sequence[Sequence[str]], right: Sequence[bool]) -> str:
    """Columns of text as wide as their widest cell; ``right`` says which are flush right."""
    widths = [max(len(line[index]) for line in lines) for index in range(len(right))]
    return "\n".join(
        "   ".join(
            cell.rjust(width) if flush else cell.ljust(width)
            for cell, width, flush in zip(line, widths, right, strict=True)
        ).rstrip()
        for line in lines
    )


def _one_line(text: str, width: int = 64) -> str:
    line = " ".join(text.split())
    return line if len(line) <= width else line[: width - 1] + "…"
