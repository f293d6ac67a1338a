"""``%images``: the images of the store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from magics.grammar import Parser
from magics.perform import Call, Command
from magics.tables import Column, Table

if TYPE_CHECKING:
    from workbench import ImageInfo


def _names(info: ImageInfo) -> str:
    return ", ".join(reference.familiar for reference in info.references) or "<none>"


COLUMNS: tuple[Column[ImageInfo], ...] = (
    Column(key="name", title="Image", kind="text", value=_names),
    Column(key="id", title="ID", kind="id", value=lambda info: info.id),
    Column(key="created", title="Created", kind="time", value=lambda info: info.created),
    Column(key="size", title="Size", kind="bytes", value=lambda info: info.size),
    Column(key="compressed", title="Compressed", kind="bytes", value=lambda info: info.compressed),
    Column(key="layers", title="Layers", kind="count", value=lambda info: len(info.image.layers)),
    Column(key="containers", title="Containers", kind="count", value=lambda info: info.containers),
)


def table(rows: tuple[ImageInfo, ...]) -> Table[ImageInfo]:
    """Images as a table."""
    count = len(rows)
    return Table(
        caption=f"{count} image{'' if count == 1 else 's'}",
        columns=COLUMNS,
        rows=rows,
        empty="No images yet. `%base toolbox` makes a small one out of this machine's programs.",
    )


def _parser() -> Parser:
    parser = Parser("images", "List the images of the store.")
    parser.add("-a", "--all", action="store_true", help="those without a name too")
    parser.add("name", nargs="?", default="", thing="image", help="only images of this name")
    return parser


def _run(call: Call) -> Table[ImageInfo]:
    rows = call.engine.images.list(all=call.arguments.all)
    wanted = call.arguments.name
    return table(tuple(row for row in rows if _matches(row, wanted)))


def _matches(info: ImageInfo, wanted: str) -> bool:
    return not wanted or any(
        wanted in (reference.familiar_name, reference.familiar, str(reference))
        for reference in info.references
    )


COMMAND = Command(parser=_parser, run=_run)
