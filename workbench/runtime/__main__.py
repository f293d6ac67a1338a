"""``python -m workbench.runtime``: the runtime by itself, spelled as runc spells it.

State lies in ``--root`` (one directory per container), so that several users of the runtime do not
meet. Errors are one line on the error stream, and in ``--log`` where that is given.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from workbench.errors import WorkbenchError
from workbench.oci.runtime_spec import VERSION
from workbench.runtime import commands


def parser() -> argparse.ArgumentParser:
    """The whole grammar."""
    top = argparse.ArgumentParser(prog="workbench-runtime", allow_abbrev=False)
    top.add_argument("--version", "-v", action="version", version=f"workbench spec: {VERSION}")
    top.add_argument("--root", type=Path, default=_default_root(), help="where state lies")
    top.add_argument("--log", type=Path, help="write errors to this file as well")
    top.add_argument("--log-format", choices=("text", "json"), default="text")
    top.add_argument("--debug", action="store_true")
    top.add_argument("--systemd-cgroup", action="store_true", help="accepted; cgroupfs is used")
    top.add_argument("--rootless", default="auto", help="accepted; found out by itself")
    verbs = top.add_subparsers(dest="verb", required=True, metavar="COMMAND")
    _add_creating(verbs)
    _add_simple(verbs)
    _add_exec(verbs)
    _add_update(verbs)
    return top


def _default_root() -> Path:
    uid = os.geteuid()
    return Path("/run/workbench-runtime") if uid == 0 else Path(f"/tmp/workbench-runtime-{uid}")


def _verb(verbs: argparse._SubParsersAction[argparse.ArgumentParser], name: str, about: str,
          *, container: bool = True) -> argparse.ArgumentParser:  # fmt: skip
    made = verbs.add_parser(name, help=about, allow_abbrev=False)
    if container:
        made.add_argument("id", metavar="CONTAINER")
    return made


def _add_creating(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    for name, about in (("create", "make a container"), ("run", "make and start one")):
        verb = _verb(verbs, name, about)
        verb.add_argument("--bundle", "-b", type=Path, default=Path())
        verb.add_argument("--console-socket", type=Path)
        verb.add_argument("--pid-file", type=Path)
        verb.add_argument("--no-pivot", action="store_true")
        verb.add_argument("--no-new-keyring", action="store_true", help="accepted")
        verb.add_argument("--preserve-fds", type=int, default=0, metavar="N")
        if name == "run":
            verb.add_argument("--detach", "-d", action="store_true")
            verb.add_argument("--keep", action="store_true")


def _add_simple(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    for name, about in (
        ("start", "run the program of a created container"),
        ("state", "print the state as JSON"),
        ("pause", "freeze all processes"),
        ("resume", "undo pause"),
    ):
        _verb(verbs, name, about)
    kill = _verb(verbs, "kill", "send a signal")
    kill.add_argument("signal", nargs="?", default="TERM")
    kill.add_argument("--all", "-a", action="store_true")
    _verb(verbs, "delete", "remove a container").add_argument("--force", "-f", action="store_true")
    events = _verb(verbs, "events", "print figures as JSON lines")
    events.add_argument("--stats", action="store_true", help="once")
    events.add_argument("--interval", type=float, default=5.0, help="seconds")
    for name in ("list", "ps"):
        verb = _verb(verbs, name, "containers, or processes of one", container=name == "ps")
        verb.add_argument("--format", "-f", choices=("table", "json"), default="table")
        if name == "list":
            verb.add_argument("--quiet", "-q", action="store_true")
    _verb(verbs, "features", "print what this runtime can do", container=False)
    spec = _verb(verbs, "spec", "write a config.json to start from", container=False)
    spec.add_argument("--bundle", "-b", type=Path, default=Path())
    spec.add_argument("--rootless", action="store_true")


def _add_exec(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    verb = _verb(verbs, "exec", "run one more process")
    verb.add_argument("--process", "-p", type=Path, help="a file with the process as JSON")
    verb.add_argument("--tty", "-t", action="store_true")
    verb.add_argument("--console-socket", type=Path)
    verb.add_argument("--cwd")
    verb.add_argument("--env", "-e", action="append", default=[])
    verb.add_argument("--user", "-u", metavar="UID[:GID]")
    verb.add_argument("--additional-gids", "-g", type=int, action="append", default=[])
    verb.add_argument("--cap", "-c", action="append", default=[])
    verb.add_argument("--no-new-privs", action="store_true")
    verb.add_argument("--detach", "-d", action="store_true")
    verb.add_argument("--pid-file", type=Path)
    verb.add_argument("--preserve-fds", type=int, default=0, metavar="N")
    verb.add_argument("args", nargs=argparse.REMAINDER)


def _add_update(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    verb = _verb(verbs, "update", "change limits")
    verb.add_argument("--resources", "-r", help="a file with the resources as JSON, or -")
    for name in ("memory", "memory-reservation", "memory-swap", "cpu-share", "cpu-quota",
                 "cpu-period", "pids-limit"):  # fmt: skip
        verb.add_argument(f"--{name}", type=int)
    verb.add_argument("--cpuset-cpus")
    verb.add_argument("--cpuset-mems")


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit status: that of the program for run and exec, 1 after an error."""
    options = parser().parse_args(arguments)
    try:
        return commands.VERBS[options.verb](options)
    except WorkbenchError as error:
        _tell(options, f"{error}{f' ({error.hint})' if error.hint else ''}")
        return error.exit_code if options.verb in ("run", "exec") else 1
    except OSError as error:
        _tell(options, str(error))
        return 1


def _tell(options: argparse.Namespace, text: str) -> None:
    sys.stderr.write(f"workbench-runtime {options.verb}: {text}\n")
    if options.log is None:
        return
    time = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
    entry = {"level": "error", "msg": text, "time": time}
    line = json.dumps(entry) if options.log_format == "json" else f'time="{time}" msg="{text}"'
    with options.log.open("a", encoding="utf-8") as log:
        log.write(line + "\n")


if __name__ == "__main__":
    sys.exit(main())
