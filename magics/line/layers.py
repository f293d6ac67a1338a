"""``%layers`` and ``%history``: which instruction made which bytes of an image."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from magics import units
from magics.charts.layers import Step, draw
from magics.charts.svg import Picture
from magics.css import page
from magics.grammar import Parser
from magics.instruction import short
from magics.perform import Call, Command
from magics.render import table_body, table_text
from magics.tables import Column, Table

if TYPE_CHECKING:
    import pandas as pd

    from workbench import LayerInfo


def _shared(row: LayerInfo) -> str:
    if row.digest is None or not row.shared_with:
        return ""
    return f"{row.shared_with} other image{'' if row.shared_with == 1 else 's'}"


COLUMNS: tuple[Column[LayerInfo], ...] = (
    Column(key="index", title="#", kind="count", value=lambda row: row.index + 1),
    Column(
        key="instruction", title="Instruction", kind="code",
        value=lambda row: short(row.created_by) or row.comment,
        tip=lambda row: row.created_by,
    ),
    Column(
        key="size", title="Size", kind="bytes",
        value=lambda row: row.size if row.digest else None,
    ),
    Column(
        key="compressed", title="Compressed", kind="bytes",
        value=lambda row: row.compressed if row.digest else None,
    ),
    Column(key="shared", title="Shared with", kind="text", value=_shared),
    Column(key="created", title="Created", kind="time", value=lambda row: row.created),
    Column(key="digest", title="Layer", kind="id", value=lambda row: row.digest),
    Column(
        key="created_by", title="Created by", kind="text", shown=False,
        value=lambda row: row.created_by,
    ),
    Column(
        key="shared_with", title="Shared", kind="count", shown=False,
        value=lambda row: row.shared_with if row.digest else None,
    ),
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Layers:
    """The history of an image, oldest first: a table, a frame and a drawing."""

    name: str
    rows: tuple[LayerInfo, ...]

    def __iter__(self) -> Iterator[LayerInfo]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def size(self) -> int:
        """Bytes of all layers together."""
        return sum(row.size for row in self.rows)

    @property
    def table(self) -> Table[LayerInfo]:
        real = sum(row.digest is not None for row in self.rows)
        rest = len(self.rows) - real
        words = f", {rest} more line{'' if rest == 1 else 's'} of history" if rest else ""
        return Table(
            caption=f"{self.name}: {real} layer{'' if real == 1 else 's'}, "
            f"{units.size(self.size)}{words}",
            columns=COLUMNS,
            rows=self.rows,
            empty=f"`{self.name}` has no layers.",
        )

    @property
    def df(self) -> pd.DataFrame:
        return self.table.df

    @property
    def chart(self) -> Picture:
        """The layers as steps, for ``.save("layers.svg")`` too."""
        steps = [
            Step(label=short(row.created_by) or row.comment, size=row.size, shared=row.shared_with)
            for row in self.rows
            if row.digest is not None
        ]
        return draw(self.name, steps)

    def html(self) -> str:
        body = table_body(self.table, now=datetime.now(UTC))
        return page(f'{body}<div style="margin-top:20px">{self.chart.body}</div>')

    def text(self) -> str:
        table = table_text(self.table, now=datetime.now(UTC))
        return f"{table}\n\n{self.chart.text()}"


def _parser() -> Parser:
    parser = Parser("layers", "Show the layers of an image: a table and a chart, oldest first.")
    parser.add("image", metavar="IMAGE", thing="image", help="name or id")
    return parser


def _run(call: Call) -> Layers:
    name = call.arguments.image
    return Layers(name=name, rows=tuple(call.engine.images.layers(name)))


COMMAND = Command(parser=_parser, run=_run)
