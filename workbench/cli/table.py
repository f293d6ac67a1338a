"""Aligned columns, as docker prints them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import click

_GAP = 3


def show(header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table; every column is as wide as its widest cell."""
    lines = [tuple(header), *(tuple(row) for row in rows)]
    widths = [max(len(line[index]) for line in lines) for index in range(len(header))]
    for line in lines:
        cells = [cell.ljust(width + _GAP) for cell, width in zip(line, widths, strict=True)]
        click.echo("".join(cells).rstrip())


def shorten(text: str, width: int) -> str:
    """At most ``width`` characters, the last an ellipsis where something was cut."""
    flat = " ".join(text.split())
    return flat if len(flat) <= width else flat[: width - 1] + "…"
