"""``%ps``: the containers."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from magics.grammar import Parser
from magics.perform import Call, Command
from magics.tables import Column, Table

if TYPE_CHECKING:
    from workbench import ContainerInfo


def _status(info: ContainerInfo) -> str:
    return f"exited ({info.exit_code})" if info.status == "exited" else info.status


def _ports(info: ContainerInfo) -> str:
    return ", ".join(
        f"{port.host_port} → {port.container_port}/{port.protocol}" for port in info.ports
    )


COLUMNS: tuple[Column[ContainerInfo], ...] = (
    Column(key="name", title="Name", kind="text", value=lambda info: info.name),
    Column(key="status", title="Status", kind="status", value=_status),
    Column(key="image", title="Image", kind="text", value=lambda info: info.image),
    Column(
        key="command", title="Command", kind="code", value=lambda info: shlex.join(info.command)
    ),
    Column(key="created", title="Created", kind="time", value=lambda info: info.created),
    Column(key="ports", title="Ports", kind="text", value=_ports),
    Column(key="id", title="ID", kind="id", value=lambda info: info.id),
    Column(
        key="exit_code", title="Exit code", kind="count", shown=False,
        value=lambda info: info.exit_code,
    ),
    Column(key="pid", title="PID", kind="count", shown=False, value=lambda info: info.pid or None),
    Column(
        key="started", title="Started", kind="time", shown=False, value=lambda info: info.started
    ),
    Column(
        key="finished", title="Finished", kind="time", shown=False,
        value=lambda info: info.finished,
    ),
    Column(
        key="health", title="Health", kind="text", shown=False, value=lambda info: info.health
    ),
)  # fmt: skip


def table(rows: tuple[ContainerInfo, ...], *, every: bool) -> Table[ContainerInfo]:
    """Containers as a table."""
    word = "" if every else "running "
    count = len(rows)
    return Table(
        caption=f"{count} {word}container{'' if count == 1 else 's'}",
        columns=COLUMNS,
        rows=rows,
        empty="No containers yet. `%run_container IMAGE` starts one."
        if every
        else "No container is running. `%ps -a` lists those that have ended too.",
    )


def _parser() -> Parser:
    parser = Parser("ps", "List the containers that run.")
    parser.add("-a", "--all", action="store_true", help="those that have ended too")
    return parser


def _run(call: Call) -> Table[ContainerInfo]:
    every = call.arguments.all
    return table(tuple(call.engine.containers.list(all=every)), every=every)


COMMAND = Command(parser=_parser, run=_run)
