"""``%rmi``: remove images."""

from __future__ import annotations

from magics.grammar import Parser
from magics.line.removed import table
from magics.perform import Call, Command
from magics.tables import Table


def _parser() -> Parser:
    parser = Parser("rmi", "Remove images, or only names of them.")
    parser.add("-f", "--force", action="store_true", help="even if a container uses it")
    parser.add("images", nargs="+", metavar="IMAGE", thing="image", help="name or id")
    return parser


def _run(call: Call) -> Table[str]:
    service = call.engine.images
    given = call.arguments
    lines = [line for name in given.images for line in service.remove(name, force=given.force)]
    return table(tuple(lines), "name and layer" if len(lines) == 1 else "names and layer")


COMMAND = Command(parser=_parser, run=_run)
