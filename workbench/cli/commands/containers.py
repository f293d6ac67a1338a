"""``run``, ``ps``, ``logs``, ``start``, ``stop``, ``kill``, ``wait``, ``rm``."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from workbench.cli import progress, units
from workbench.cli.opening import engine
from workbench.cli.table import shorten, show
from workbench.engine import Engine, flags
from workbench.engine.options import PortMapping
from workbench.engine.values import ContainerInfo
from workbench.errors import WorkbenchError

_TYPES: dict[str, Any] = {"text": str, "number": int, "fraction": float, "list": str}


def container_flags(command: Callable[..., Any]) -> Callable[..., Any]:
    """Every flag of ``flags.FLAGS`` as an option of a click command."""
    for flag in reversed(flags.FLAGS):
        settings: dict[str, Any] = {"help": flag.help}
        if flag.kind == "switch":
            settings["is_flag"] = True
        else:
            settings["type"] = _TYPES[flag.kind]
            settings["multiple"] = flag.kind == "list"
            settings["metavar"] = flag.metavar or None
        command = click.option(*flag.names, flag.key, **settings)(command)
    return command


@click.command(context_settings={"allow_interspersed_args": False})
@click.option("-d", "--detach", is_flag=True, help=flags.DETACH.help)
@click.option("--cidfile", metavar="FILE", help="Write the container's id to a file")
@container_flags
@click.argument("image")
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
def run(
    image: str, command: tuple[str, ...], cidfile: str | None, detach: bool, **values: Any
) -> None:
    """Create a container of IMAGE and run COMMAND in it."""
    with engine() as opened:
        options = flags.run_options(
            {**values, "detach": detach},
            image,
            command,
            environment=opened.config.environment,
            base=Path.cwd(),
        )
        stdin = sys.stdin.buffer if options.interactive and not detach else None
        info = opened.containers.run(options, report=progress.output, stdin=stdin)
    if cidfile:
        Path(cidfile).write_text(info.id)
    if detach:
        click.echo(info.id)
    elif info.exit_code:
        sys.exit(info.exit_code)


@click.command()
@click.option("-a", "--all", "all_", is_flag=True, help="Show those that do not run, too")
@click.option("-q", "--quiet", is_flag=True, help="Only show ids")
@click.option("--no-trunc", is_flag=True, help="Don't shorten")
def ps(all_: bool, quiet: bool, no_trunc: bool) -> None:
    """List containers."""
    with engine() as opened:
        found = opened.containers.list(all=all_)
    if quiet:
        for info in found:
            click.echo(info.id if no_trunc else info.short_id)
        return
    show(
        ("CONTAINER ID", "IMAGE", "COMMAND", "CREATED", "STATUS", "PORTS", "NAMES"),
        [_row(info, no_trunc) for info in found],
    )


def _row(info: ContainerInfo, no_trunc: bool) -> tuple[str, ...]:
    command = " ".join(info.command)
    return (
        info.id if no_trunc else info.short_id,
        info.image,
        f'"{command if no_trunc else shorten(command, 20)}"',
        units.ago(info.created),
        status(info),
        ports(info.ports),
        info.name,
    )


def status(info: ContainerInfo, now: datetime | None = None) -> str:
    """``Up 5 minutes (healthy)``, ``Exited (0) 2 hours ago``: the words of ``docker ps``."""
    at = now or datetime.now(UTC)
    if info.status in ("running", "paused"):
        since = units.span(at - (info.started or at))
        extra = " (Paused)" if info.status == "paused" else ""
        health = f" ({_HEALTH.get(info.health, info.health)})" if info.health else ""
        return f"Up {since}{extra or health}"
    if info.status == "restarting":
        return f"Restarting ({info.exit_code or 0}) {units.ago(info.finished or at, at)}"
    if info.status == "exited":
        return f"Exited ({info.exit_code}) {units.ago(info.finished or at, at)}"
    return {"created": "Created", "removing": "Removal In Progress"}.get(info.status, "Dead")


_HEALTH = {"starting": "health: starting"}


def ports(mappings: Iterable[PortMapping]) -> str:
    """``0.0.0.0:8080->80/tcp``, comma separated."""
    words = []
    for port in mappings:
        inner = f"{port.container_port}/{port.protocol}"
        outer = f"{port.host_ip or '0.0.0.0'}:{port.host_port}->" if port.host_port else ""
        words.append(outer + inner)
    return ", ".join(words)


@click.command()
@click.argument("container")
@click.option("-f", "--follow", is_flag=True, help="Go on with what it writes")
@click.option("-n", "--tail", default="all", metavar="N", help="Lines from the end")
@click.option("-t", "--timestamps", is_flag=True, help="Show when each line was written")
def logs(container: str, follow: bool, tail: str, timestamps: bool) -> None:
    """Show what a container wrote."""
    with engine() as opened:
        count = int(tail) if tail.isdecimal() else None
        for line in opened.containers.logs(container, follow=follow, tail=count):
            stream = sys.stdout.buffer if line.stream == "stdout" else sys.stderr.buffer
            if timestamps:
                stream.write(line.time.isoformat().replace("+00:00", "Z ").encode())
            stream.write(line.data)
            stream.flush()


def _each(names: Iterable[str], act: Callable[[Engine, str], object]) -> None:
    """Do it to every name, print those that went well; one failure does not stop the rest."""
    failed = False
    with engine() as opened:
        for name in names:
            try:
                act(opened, name)
            except WorkbenchError as error:
                if error.http_status != 304:
                    failed = True
                    click.echo(f"Error response from engine: {error}", err=True)
                    continue
            click.echo(name)
    if failed:
        sys.exit(1)


_NAMES = click.argument("names", metavar="CONTAINER...", nargs=-1, required=True)


@click.command()
@_NAMES
def start(names: tuple[str, ...]) -> None:
    """Start stopped containers."""
    _each(names, lambda opened, name: opened.containers.start(name))


@click.command()
@_NAMES
@click.option("-t", "--time", "--timeout", "timeout", type=float, help="Seconds until SIGKILL")
def stop(names: tuple[str, ...], timeout: float | None) -> None:
    """Stop running containers."""
    _each(names, lambda opened, name: opened.containers.stop(name, timeout))


@click.command()
@_NAMES
@click.option("-s", "--signal", default="KILL", help="Signal to send")
def kill(names: tuple[str, ...], signal: str) -> None:
    """Kill running containers."""
    _each(names, lambda opened, name: opened.containers.kill(name, signal))


@click.command()
@_NAMES
@click.option("-f", "--force", is_flag=True, help="Kill it first")
@click.option("-v", "--volumes", is_flag=True, help="Remove its anonymous volumes")
def rm(names: tuple[str, ...], force: bool, volumes: bool) -> None:
    """Remove containers."""
    _each(
        names,
        lambda opened, name: opened.containers.remove(name, force=force, volumes=volumes),
    )


@click.command()
@_NAMES
def wait(names: tuple[str, ...]) -> None:
    """Wait for containers to end and print their exit codes."""
    with engine() as opened:
        for name in names:
            click.echo(opened.containers.wait(name))
