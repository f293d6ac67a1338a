"""The launcher: ``python -m workbench.monitor.launcher ROOT``, which forks a monitor per container.

It has imported everything that a monitor needs, so a monitor costs one fork and shares its memory.
One per ROOT, by a file lock; it stays until it is killed, ``ROOT/run/launcher.sock`` is not its own
any more, or a client of newer code asks it to retire. Monitors do not depend on it, except that it
ends a container that must not outlive its client when the monitor between them was killed.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import gc
import os
import signal
import socket
import sys
import traceback
from pathlib import Path
from typing import Any, Final

from workbench.errors import InvalidInput, WorkbenchError
from workbench.monitor import protocol
from workbench.monitor.command import spawn
from workbench.monitor.driver import OciRuntime, Runtime
from workbench.monitor.loop import READ, Loop
from workbench.monitor.record import ExitRecord, now, process_start, read_run, write_exit
from workbench.monitor.run import monitor
from workbench.monitor.settings import MonitorSettings, write_atomically
from workbench.monitor.version import code_version
from workbench.oci import image, runtime_spec
from workbench.oci.codec import decode

SOCKET: Final = "launcher.sock"
LOCK: Final = "launcher.lock"
FACTS: Final = "launcher.json"
CHECK_EVERY: Final = 5.0
REQUEST_TIMEOUT: Final = 2.0
FAREWELL: Final = 0.5


class Server:
    """Listens for requests and forks. Single-threaded; a request that fails harms nobody else."""

    def __init__(self, root: Path, runtime: Runtime, lock: int) -> None:
        self._root = root
        self._run = root / "run"
        self._runtime = runtime
        self._lock = lock
        self._loop = Loop()
        self._monitors: set[int] = set()
        self._listener: socket.socket | None = protocol.listen(self._run / SOCKET)
        self._inode = (self._run / SOCKET).stat().st_ino
        facts = {"pid": os.getpid(), "version": code_version()}
        write_atomically(self._run / FACTS, protocol.document(facts))

    def serve(self) -> None:
        assert self._listener is not None
        self._loop.catch_children()
        self._loop.watch(self._listener.fileno(), READ, self._accept)
        self._loop.after(CHECK_EVERY, self._check)
        self._loop.run()

    def _accept(self, _events: int) -> None:
        assert self._listener is not None
        with contextlib.suppress(OSError):
            connection, _ = self._listener.accept()
            with connection:
                self._answer(connection)

    def _answer(self, connection: socket.socket) -> None:
        connection.settimeout(REQUEST_TIMEOUT)
        try:
            protocol.check_peer(connection)
            kind, payload = protocol.receive(connection)
            request = protocol.parse(payload)
            if kind != protocol.REQUEST or request.get("op") not in ("spawn", "retire"):
                raise InvalidInput("the launcher knows only spawn and retire")
            if request["op"] == "retire":
                self._retire()
            else:
                self._spawn(self._directory(request), connection)
        except WorkbenchError as error:
            connection.sendall(protocol.failure(error))
            _hear_out(connection)

    def _directory(self, request: dict[str, Any]) -> Path:
        """The directory of a request. Raises InvalidInput unless it lies below the root."""
        directory = Path(str(request.get("directory", ""))).resolve()
        if self._root not in directory.parents:
            raise InvalidInput(f"{directory} does not lie below {self._root}")
        return directory

    def _spawn(self, directory: Path, connection: socket.socket) -> None:
        # Read here and not in the child: each page that a child writes to is copied for it.
        settings = MonitorSettings.read(directory)
        pid = os.fork()
        if pid:
            self._monitors.add(pid)
            self._loop.child(pid, lambda status: self._ended(pid, directory, status))
            return
        try:
            self._become_monitor(directory, settings, connection)
        except BaseException:
            _leave_trace(directory)
            raise
        finally:
            os._exit(0)

    def _become_monitor(
        self, directory: Path, settings: MonitorSettings, connection: socket.socket
    ) -> None:
        assert self._listener is not None
        os.setsid()
        self._loop.close()
        self._listener.close()
        os.close(self._lock)
        connection.settimeout(None)
        monitor(directory, settings, self._runtime, connection)

    def _ended(self, pid: int, directory: Path, status: int) -> None:
        """A monitor has ended. Where it was killed, its container may have to go as well."""
        self._monitors.discard(pid)
        if os.WIFSIGNALED(status) and os.fork() == 0:
            try:
                bury(directory, self._runtime)
            except BaseException:
                _leave_trace(directory)
                raise
            finally:
                os._exit(0)
        if self._listener is None and not self._monitors:
            self._loop.stopped = True

    def _retire(self) -> None:
        """Take no more requests; the end comes with that of the last monitor."""
        if self._listener is None:
            return
        self._loop.forget(self._listener.fileno())
        self._listener.close()
        self._listener = None
        os.close(self._lock)
        self._loop.stopped = not self._monitors

    def _check(self) -> None:
        """Retire when the socket is gone, or is that of another launcher."""
        try:
            ours = (self._run / SOCKET).stat().st_ino == self._inode
        except OSError:
            ours = False
        if ours:
            self._loop.after(CHECK_EVERY, self._check)
        else:
            self._retire()


def bury(directory: Path, runtime: Runtime) -> None:
    """End a tied container whose monitor was killed. Others run on; nobody sees their end."""
    record = read_run(directory)
    if record is None or not record.tied:
        return
    if record.pid and process_start(record.pid) == record.pid_start:
        with contextlib.suppress(ProcessLookupError):
            os.kill(record.pid, signal.SIGKILL)
    with contextlib.suppress(WorkbenchError, OSError):
        runtime.delete(directory)
    write_exit(
        directory,
        ExitRecord(
            code=137, error="its monitor was killed", started=record.started, finished=now()
        ),
    )
    if command := MonitorSettings.read(directory).on_exit:
        spawn(command)


def serve(root: Path, runtime: Runtime, ready: int) -> bool:
    """Be the launcher of ``root``; False when it has one. A byte on ``ready`` when it listens."""
    run = root / "run"
    run.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = os.open(run / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    runtime.prepare(root)
    warm()
    server = Server(root.resolve(), runtime, lock)
    gc.collect()
    gc.freeze()
    os.write(ready, b"+")
    os.close(ready)
    server.serve()
    return True


def warm() -> None:
    """Let the codec look at every type once, before the first fork."""
    for module in (runtime_spec, image):
        for kind in vars(module).values():
            if isinstance(kind, type) and dataclasses.is_dataclass(kind):
                with contextlib.suppress(InvalidInput):
                    decode(kind, {}, "")


def _hear_out(connection: socket.socket) -> None:
    """Read what the client still says: closing over unread bytes would take our answer back."""
    connection.shutdown(socket.SHUT_WR)
    connection.settimeout(FAREWELL)
    with contextlib.suppress(OSError):
        while connection.recv(protocol.CHUNK):
            pass


def _leave_trace(directory: Path) -> None:
    """A defect of ours: leave word of it beside the container."""
    with contextlib.suppress(OSError), (directory / "monitor.log").open("a") as file:
        traceback.print_exc(file=file)


def main(arguments: list[str], runtime: Runtime | None = None) -> int:
    """0 when it has served or another one serves already, 125 for wrong arguments."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m workbench.monitor.launcher ROOT\n")
        return 125
    os.chdir("/")
    os.umask(0o022)
    ready = os.dup(1)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    os.close(null)
    serve(Path(arguments[0]), runtime or OciRuntime(), ready)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
