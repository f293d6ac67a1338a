"""The answer of ``%rm`` and ``%rmi``: what is gone, one line each."""

from __future__ import annotations

from magics.tables import Column, Table

COLUMNS: tuple[Column[str], ...] = (
    Column(key="removed", title="Removed", kind="text", value=lambda line: line),
)


def table(lines: tuple[str, ...], thing: str) -> Table[str]:
    """Lines such as ``Untagged: app:latest`` as a table."""
    count = len(lines)
    return Table(
        caption=f"{count} {thing}{'' if count == 1 else 's'} removed",
        columns=COLUMNS,
        rows=lines,
        empty="Nothing was removed.",
    )
