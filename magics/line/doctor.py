"""``%doctor``: what this machine gives, what it lacks, and what would mend that."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from typing import TYPE_CHECKING

from magics.css import page
from magics.grammar import Parser
from magics.perform import Call, Command
from magics.render import table_body, table_text
from magics.tables import Column, Table

if TYPE_CHECKING:
    import pandas as pd

    from workbench import Capability, Diagnosis

COLUMNS: tuple[Column[Capability], ...] = (
    Column(key="capability", title="Capability", kind="text", value=lambda row: row.name),
    Column(key="available", title="Here", kind="yes", value=lambda row: row.available),
    Column(key="detail", title="Why", kind="text", value=lambda row: row.detail),
    Column(key="mend", title="What would mend it", kind="text", value=lambda row: row.mend),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A diagnosis with its pictures."""

    diagnosis: Diagnosis

    @property
    def table(self) -> Table[Capability]:
        rows = self.diagnosis.capabilities
        given = sum(row.available for row in rows)
        shown = any(row.mend for row in rows)
        return Table(
            caption=f"{given} of {len(rows)} capabilities",
            columns=COLUMNS if shown else COLUMNS[:-1],
            rows=rows,
        )

    @property
    def df(self) -> pd.DataFrame:
        return self.table.df

    def html(self) -> str:
        now = datetime.now(UTC)
        return page(
            f'<p class="wb-head">Containers run here as: {escape(self.diagnosis.rung)}</p>'
            f'<p class="wb-note" style="margin:0 0 8px">Everything is kept in '
            f"<code>{escape(self.diagnosis.root)}</code></p>{table_body(self.table, now=now)}"
        )

    def text(self) -> str:
        now = datetime.now(UTC)
        return (
            f"Containers run here as: {self.diagnosis.rung}\n"
            f"Everything is kept in {self.diagnosis.root}\n\n{table_text(self.table, now=now)}"
        )


def _parser() -> Parser:
    return Parser("doctor", "Say what this machine gives, what it lacks, and what would mend it.")


def _run(call: Call) -> Report:
    return Report(diagnosis=call.engine.system.doctor())


COMMAND = Command(parser=_parser, run=_run)
