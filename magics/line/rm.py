"""``%rm``: remove containers."""

from __future__ import annotations

from magics.grammar import Parser
from magics.line.removed import table
from magics.perform import Call, Command
from magics.tables import Table


def _parser() -> Parser:
    parser = Parser("rm", "Remove containers that have ended.")
    parser.add("-f", "--force", action="store_true", help="those that run too: kill them first")
    parser.add("-v", "--volumes", action="store_true", help="their nameless volumes too")
    parser.add("containers", nargs="+", metavar="CONTAINER", thing="container", help="name or id")
    return parser


def _run(call: Call) -> Table[str]:
    given = call.arguments
    for name in given.containers:
        call.engine.containers.remove(name, force=given.force, volumes=given.volumes)
    return table(tuple(given.containers), "container")


COMMAND = Command(parser=_parser, run=_run)
