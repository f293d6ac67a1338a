"""``%stop``: ask containers to end, and kill those that do not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from magics.grammar import Parser
from magics.line.ps import table
from magics.perform import Call, Command
from magics.tables import Table

if TYPE_CHECKING:
    from workbench import ContainerInfo


def _parser() -> Parser:
    parser = Parser("stop", "Ask containers to end; kill those that do not in time.")
    parser.add("-t", "--time", type=int, default=None, metavar="S", help="seconds to wait")
    parser.add("containers", nargs="+", metavar="CONTAINER", thing="container", help="name or id")
    return parser


def _run(call: Call) -> Table[ContainerInfo]:
    service = call.engine.containers
    for name in call.arguments.containers:
        service.stop(name, timeout=call.arguments.time)
    left = {info.id: info for info in service.list(all=True)}
    named = set(call.arguments.containers)
    rows = tuple(
        info
        for info in left.values()
        if info.name in named or any(info.id.startswith(name) for name in named)
    )
    return table(rows, every=True)


COMMAND = Command(parser=_parser, run=_run)
