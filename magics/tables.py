"""Table: rows with typed columns. A value to iterate, to turn into a frame, and to look at."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar, overload

if TYPE_CHECKING:
    import pandas as pd

Row = TypeVar("Row")
Kind = Literal["text", "code", "id", "bytes", "count", "seconds", "time", "status", "yes"]

_DTYPES = {
    "bytes": "Int64",
    "count": "Int64",
    "seconds": "Float64",
    "time": "datetime64[ns, UTC]",
    "yes": "boolean",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Column(Generic[Row]):
    """One column. ``key`` names it in frames, ``title`` on screen; ``kind`` decides its looks.

    Kinds: text; code (a command); id (a digest, shown short); bytes and count (integers); seconds;
    time (a UTC datetime or None); status (a word with a colour and a sign); yes (a truth value).
    ``shown`` False keeps a column for frames only. ``tip`` gives a longer text for a cell.
    """

    key: str
    title: str
    kind: Kind
    value: Callable[[Row], Any]
    shown: bool = True
    tip: Callable[[Row], str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Table(Generic[Row]):
    """Rows of frozen values under columns. ``empty`` says what to do when there are none."""

    caption: str
    columns: tuple[Column[Row], ...]
    rows: tuple[Row, ...]
    empty: str = ""

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, index: int) -> Row: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Row, ...]: ...
    def __getitem__(self, index: int | slice) -> Row | tuple[Row, ...]:
        return self.rows[index]

    def html(self) -> str:
        from magics.render import table_html

        return table_html(self, now=datetime.now(UTC))

    def text(self) -> str:
        from magics.render import table_text

        return table_text(self, now=datetime.now(UTC))

    @property
    def dict(self) -> list[dict[str, Any]]:
        """Every row as a plain dictionary."""
        return [{column.key: column.value(row) for column in self.columns} for row in self.rows]

    @property
    def df(self) -> pd.DataFrame:
        """A pandas frame: bytes and counts as Int64, times as UTC timestamps, text as text."""
        import pandas as pd

        return pd.DataFrame(
            {
                column.key: pd.Series(
                    [_plain(column.value(row)) for row in self.rows],
                    dtype=_DTYPES.get(column.kind, "string"),
                )
                for column in self.columns
            }
        )


def _plain(value: Any) -> Any:
    """What pandas takes: text for our own kinds of text, timestamps in UTC."""
    if value is None or isinstance(value, (bool, int, float, datetime)):
        return value
    return str(value)
