"""What each verb of ``python -m workbench.runtime`` does."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import re
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Final

from workbench.errors import Conflict, ContainerNotFound, InvalidInput, Unsupported
from workbench.linux import capabilities
from workbench.linux.cgroup import Cgroup
from workbench.oci.codec import encode, loads
from workbench.oci.runtime_spec import (
    Capabilities,
    CPULimits,
    MemoryLimits,
    PidsLimits,
    Process,
    Resources,
    User,
)
from workbench.runtime import state
from workbench.runtime.bundle import CONFIG, Bundle
from workbench.runtime.create import create, start
from workbench.runtime.example import example, features
from workbench.runtime.execute import execute
from workbench.runtime.relay import relay
from workbench.runtime.sockets import send_console

_NAME: Final = re.compile(r"[A-Za-z0-9_+.-]{1,1024}")


def _directory(options: argparse.Namespace) -> Path:
    """Where the state of the container lies. Raises InvalidInput for a name that is none."""
    if not _NAME.fullmatch(options.id) or options.id in (".", ".."):
        raise InvalidInput(f"invalid container ID format: {options.id!r}")
    root: Path = options.root
    return root / str(options.id)


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _create(options: argparse.Namespace) -> int:
    _make(options)
    return 0


def _make(options: argparse.Namespace) -> tuple[int, int | None]:
    """Pid, and the master of the pty where nobody else gets it."""
    directory = _directory(options)
    new = not directory.exists()
    options.root.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        made = create(
            Bundle(options.bundle.absolute()), options.id, directory=directory, detached=True,
            console_socket=options.console_socket, no_pivot=options.no_pivot,
            preserved_fds=range(3, 3 + options.preserve_fds),
        )  # fmt: skip
    except BaseException:
        if new and directory.exists():
            _remove(directory)
        raise
    if options.pid_file:
        options.pid_file.write_text(str(made.pid))
    return made.pid, made.console_fd


def _remove(directory: Path) -> None:
    for entry in directory.iterdir():
        entry.unlink()
    directory.rmdir()


def _run(options: argparse.Namespace) -> int:
    pid, console = _make(options)
    directory = _directory(options)
    try:
        start(directory)
        if options.detach:
            return 0
        code = relay(pid, console)
    except BaseException:
        _discard(directory)
        raise
    if not options.keep:
        _discard(directory)
    return code


def _discard(directory: Path) -> None:
    state.delete(directory, force=True)
    if directory.exists():
        _remove(directory)


def _start(options: argparse.Namespace) -> int:
    start(_directory(options))
    return 0


def _state(options: argparse.Namespace) -> int:
    document = state.state(_directory(options)).document()
    _write(json.dumps(document, indent=2) + "\n")
    return 0


def _kill(options: argparse.Namespace) -> int:
    state.kill(_directory(options), signal_number(options.signal), everything=options.all)
    return 0


def signal_number(text: str) -> int:
    """The number of ``9``, ``KILL`` or ``sigkill``. Raises InvalidInput."""
    if text.isdigit() and int(text) in range(1, 65):
        return int(text)
    name = text.upper()
    name = name if name.startswith("SIG") else f"SIG{name}"
    if name in signal.Signals.__members__:
        return signal.Signals[name]
    raise InvalidInput(f"unknown signal {text!r}")


def _delete(options: argparse.Namespace) -> int:
    directory = _directory(options)
    if not state.exists(directory) and not options.force:
        raise ContainerNotFound(f"container {options.id} does not exist")
    state.delete(directory, force=options.force)
    if directory.exists():
        _remove(directory)
    return 0


def _pause(options: argparse.Namespace) -> int:
    state.pause(_directory(options))
    return 0


def _resume(options: argparse.Namespace) -> int:
    state.resume(_directory(options))
    return 0


def _group(options: argparse.Namespace) -> Cgroup:
    group = state.cgroup_of(state.read(_directory(options)))
    if group is None:
        raise Unsupported(f"container {options.id} has no cgroup")
    return group


def _events(options: argparse.Namespace) -> int:
    directory = _directory(options)
    while True:
        if state.state(directory).status == "stopped":
            raise Conflict("container not running")
        stats = {"type": "stats", "id": options.id, "data": encode(_group(options).stats())}
        _write(json.dumps(stats) + "\n")
        if options.stats:
            return 0
        time.sleep(options.interval)


def _list(options: argparse.Namespace) -> int:
    found = [state.state(entry.parent) for entry in sorted(options.root.glob("*/state.json"))]
    if options.quiet:
        _write("".join(f"{item.id}\n" for item in found))
    elif options.format == "json":
        _write(json.dumps([item.document() for item in found]) + "\n")
    else:
        rows = [("ID", "PID", "STATUS", "BUNDLE", "CREATED")]
        rows += [(i.id, str(i.pid), i.status, i.bundle, i.created) for i in found]
        _write(_table(rows))
    return 0


def _table(rows: Sequence[tuple[str, ...]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    cells = (zip(row, widths, strict=True) for row in rows)
    return "".join("   ".join(f"{t:<{w}}" for t, w in row).rstrip() + "\n" for row in cells)


def _ps(options: argparse.Namespace) -> int:
    pids = sorted(_group(options).pids())
    if options.format == "json":
        _write(json.dumps(pids) + "\n")
        return 0
    _write(_table([("PID", "CMD"), *((str(pid), _command(pid)) for pid in pids)]))
    return 0


def _command(pid: int) -> str:
    try:
        raw = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return ""
    return raw.rstrip(b"\0").replace(b"\0", b" ").decode("utf-8", "replace")


def _features(options: argparse.Namespace) -> int:
    _write(json.dumps(features(), indent=2) + "\n")
    return 0


def _spec(options: argparse.Namespace) -> int:
    path = options.bundle / CONFIG
    if path.exists():
        raise Conflict(f"file {path} exists. Remove it first")
    tree = encode(example(rootless=options.rootless))
    path.write_text(json.dumps(tree, indent="\t") + "\n")
    return 0


def _exec(options: argparse.Namespace) -> int:
    directory = _directory(options)
    wanted = _wanted(options, directory)
    done = execute(directory, wanted, preserved_fds=range(3, 3 + options.preserve_fds))
    if options.pid_file:
        options.pid_file.write_text(str(done.pid))
    console = done.console_fd
    if console is not None and options.console_socket:
        send_console(options.console_socket, console)
        os.close(console)
        console = None
    return 0 if options.detach else relay(done.pid, console)


def _wanted(options: argparse.Namespace, directory: Path) -> Process:
    """A process as given in a file, or the container's own with what the options change."""
    if options.process:
        return loads(Process, options.process.read_bytes(), what=str(options.process))
    args = options.args[1:] if options.args[:1] == ["--"] else options.args
    if not args:
        raise InvalidInput("exec needs a command or --process")
    spec = Bundle(Path(state.read(directory).bundle)).spec()
    own = spec.process or Process()
    return dataclasses.replace(
        own, args=tuple(args), terminal=options.tty, cwd=options.cwd or own.cwd,
        env=(*own.env, *options.env), user=_user(options, own.user),
        no_new_privileges=options.no_new_privs or own.no_new_privileges,
        capabilities=_with(own.capabilities, options.cap),
    )  # fmt: skip


def _user(options: argparse.Namespace, own: User) -> User:
    if not options.user:
        return dataclasses.replace(
            own, additional_gids=(*own.additional_gids, *options.additional_gids)
        )
    uid, _, gid = options.user.partition(":")
    if not uid.isdigit() or (gid and not gid.isdigit()):
        raise InvalidInput(f"--user takes numbers, not {options.user!r}")
    return User(uid=int(uid), gid=int(gid or 0), additional_gids=tuple(options.additional_gids))


def _with(own: Capabilities | None, added: list[str]) -> Capabilities | None:
    if not added:
        return own
    names = tuple(capabilities.parse(name) for name in added)
    own = own or Capabilities()
    return dataclasses.replace(
        own, bounding=(*own.bounding, *names), effective=(*own.effective, *names),
        permitted=(*own.permitted, *names),
    )  # fmt: skip


def _update(options: argparse.Namespace) -> int:
    group = _group(options)
    if options.resources:
        raw = sys.stdin.read() if options.resources == "-" else Path(options.resources).read_text()
        resources = loads(Resources, raw, what="resources")
    else:
        resources = _resources(options)
    group.update(resources)
    return 0


def _resources(options: argparse.Namespace) -> Resources:
    memory = MemoryLimits(
        limit=options.memory, reservation=options.memory_reservation, swap=options.memory_swap
    )
    cpu = CPULimits(
        shares=options.cpu_share, quota=options.cpu_quota, period=options.cpu_period,
        cpus=options.cpuset_cpus or "", mems=options.cpuset_mems or "",
    )  # fmt: skip
    pids = PidsLimits(limit=options.pids_limit) if options.pids_limit is not None else None
    return Resources(
        memory=memory if memory != MemoryLimits() else None,
        cpu=cpu if cpu != CPULimits() else None, pids=pids,
    )  # fmt: skip


VERBS: Final[Mapping[str, Callable[[argparse.Namespace], int]]] = MappingProxyType(
    {
        "create": _create,
        "run": _run,
        "start": _start,
        "state": _state,
        "kill": _kill,
        "delete": _delete,
        "pause": _pause,
        "resume": _resume,
        "events": _events,
        "list": _list,
        "ps": _ps,
        "features": _features,
        "spec": _spec,
        "exec": _exec,
        "update": _update,
    }
)
