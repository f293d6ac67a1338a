"""The engine's side: ``Launcher`` starts monitors, ``Session`` speaks to one."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from workbench.errors import Unavailable
from workbench.monitor import protocol
from workbench.monitor.session import Attachment as Attachment
from workbench.monitor.session import ExecSession as ExecSession
from workbench.monitor.session import Session as Session
from workbench.monitor.version import code_version

SOCKET: Final = "launcher.sock"
FACTS: Final = "launcher.json"
LOG: Final = "launcher.log"
PATIENCE: Final = 30.0
TRIES: Final = 3


class Launcher:
    """The launcher of ``root``. Any number of these, in any processes, share the one process.

    ``command`` replaces the start of its command line, to which the root is added.
    """

    def __init__(self, root: Path, *, command: Sequence[str] | None = None) -> None:
        self._root = root.resolve()
        self._run = self._root / "run"
        self._command = tuple(command) if command else (sys.executable, *_module())

    def ensure(self) -> None:
        """Start it unless it is there and runs our code. Raises Unavailable."""
        self._connection().close()

    def spawn(self, directory: Path) -> Session:
        """A new monitor for the container in ``directory``. Raises Unavailable.

        What is wrong with the directory is said by the first call on the session.
        """
        request = {"op": "spawn", "directory": str(directory)}
        frames = protocol.control(protocol.REQUEST, request) + protocol.hello()
        for _ in range(TRIES):
            connection = self._connection()
            try:
                connection.sendall(frames)
            except (BrokenPipeError, ConnectionResetError):
                connection.close()
                continue
            return Session(directory, connection)
        raise Unavailable(f"the launcher of {self._root} does not answer")

    def _connection(self) -> socket.socket:
        if (connection := self._dial()) is not None:
            return connection
        self._run.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._only_one():
            for _ in range(TRIES):
                if (connection := self._dial()) is not None:
                    return connection
                self._retire()
                self._start()
        raise Unavailable(f"the launcher of {self._root} cannot be started; see {self._run / LOG}")

    def _dial(self) -> socket.socket | None:
        """A connection to a launcher of our own code; None when there is none."""
        try:
            facts = json.loads((self._run / FACTS).read_bytes())
            if facts.get("version") != code_version():
                return None
            return protocol.connect(self._run / SOCKET)
        except (OSError, ValueError, AttributeError):
            return None

    def _retire(self) -> None:
        """Ask a launcher of other code to take no more requests."""
        with contextlib.suppress(OSError), protocol.connect(self._run / SOCKET) as connection:
            connection.settimeout(PATIENCE)
            connection.sendall(protocol.control(protocol.REQUEST, {"op": "retire"}))
            connection.recv(1)

    @contextlib.contextmanager
    def _only_one(self) -> Iterator[None]:
        """Of several engines that miss the launcher, one starts it."""
        fd = os.open(self._run / "starting.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)

    def _start(self) -> None:
        """Returns when it listens, or has ended."""
        with (self._run / LOG).open("ab") as log:
            process = subprocess.Popen(
                [*self._command, str(self._root)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=_home(),
                start_new_session=True,
            )
        assert process.stdout is not None
        with process.stdout as ready:
            select.select([ready], [], [], PATIENCE)
            if not os.read(ready.fileno(), 1):
                process.wait()
        # It is not waited for: it outlives us, or is reaped by the subprocess module.


def _home() -> Path:
    """Where ``python -m`` finds this package: the folder above it, unless it is installed."""
    above = Path(__file__).resolve().parents[2]
    return Path("/") if above.name in ("site-packages", "dist-packages") else above


def _module() -> tuple[str, ...]:
    safe = ("-P",) if _home() == Path("/") else ()
    return (*safe, "-m", "workbench.monitor.launcher")
