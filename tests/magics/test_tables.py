"""Tables: frames with real types, rows, HTML that nothing breaks out of, text."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from magics.render import table_html, table_text
from magics.tables import Column, Table

NOW = datetime(2026, 5, 1, 13, tzinfo=UTC)


@dataclass(frozen=True)
class Thing:
    name: str
    size: int | None
    made: datetime | None
    good: bool


COLUMNS: tuple[Column[Thing], ...] = (
    Column(key="name", title="Name", kind="text", value=lambda row: row.name),
    Column(key="size", title="Size", kind="bytes", value=lambda row: row.size),
    Column(key="made", title="Made", kind="time", value=lambda row: row.made),
    Column(key="good", title="Good", kind="yes", value=lambda row: row.good),
    Column(key="raw", title="Raw", kind="count", value=lambda row: row.size, shown=False),
)
ROWS = (
    Thing("a <b>&", 77_812_345, datetime(2026, 5, 1, 12, tzinfo=UTC), True),
    Thing("c", None, None, False),
)


def table(rows: tuple[Thing, ...] = ROWS) -> Table[Thing]:
    return Table(caption="2 things", columns=COLUMNS, rows=rows, empty="None. Try `%make`.")


def test_frames_have_real_types_and_every_column() -> None:
    frame = table().df
    kinds = {name: str(kind) for name, kind in frame.dtypes.items()}
    assert kinds["size"] == kinds["raw"] == "Int64"
    assert kinds["made"] == "datetime64[ns, UTC]"
    assert kinds["good"] == "boolean"
    assert frame["size"].sum() == 77_812_345
    assert frame["size"].isna().tolist() == [False, True]


def test_an_empty_table_still_has_typed_columns() -> None:
    frame = table(()).df
    assert len(frame) == 0 and str(frame.dtypes["size"]) == "Int64"


def test_rows_are_the_values_themselves() -> None:
    assert list(table()) == list(ROWS) and table()[1] is ROWS[1] and len(table()) == 2
    assert table().dict[0]["name"] == "a <b>&"


def test_html_is_escaped_and_has_headers_caption_and_exact_values() -> None:
    html = table_html(table(), now=NOW)
    assert "a &lt;b&gt;&amp;" in html and "<b>" not in html
    assert "<caption>2 things</caption>" in html
    assert html.count('scope="col"') == 4
    assert "77,812,345 bytes" in html and ">77.8 MB<" in html
    assert "1 hour ago" in html and 'datetime="2026-05-01T12:00:00+00:00"' in html


def test_colour_never_speaks_alone() -> None:
    html = table_html(table(), now=NOW)
    assert "✓</span> yes" in html and "✕</span> no" in html


def test_the_empty_state_says_what_to_do() -> None:
    assert "None. Try <code>%make</code>." in table_html(table(()), now=NOW)
    assert table_text(table(()), now=NOW) == "None. Try %make."


def test_text_is_aligned() -> None:
    lines = table_text(table(), now=NOW).splitlines()
    assert lines[0] == "2 things"
    assert lines[2].index("Size") + 4 == lines[3].index("77.8 MB") + 7
    assert lines[4].split() == ["c", "—", "no"]


def test_fifty_rows_stay_small() -> None:
    html = table_html(table(ROWS * 25), now=NOW)
    assert len(html.encode()) < 100_000
