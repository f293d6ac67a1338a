"""The monitor: one loop that serves the socket of one container and watches over it.

Start here: ``monitor()`` is the whole life of the process. What a client asks is answered in
``peer.py``, and what it means for the container is in ``container.py``.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import socket
import time
from pathlib import Path
from types import FrameType
from typing import Final

from workbench.errors import Conflict, WorkbenchError
from workbench.linux import process as kernel
from workbench.monitor import protocol
from workbench.monitor.command import spawn
from workbench.monitor.connection import Connection
from workbench.monitor.container import Container
from workbench.monitor.driver import Runtime
from workbench.monitor.loop import READ, Loop
from workbench.monitor.peer import Peer
from workbench.monitor.record import PID_FILE, ExitRecord, process_start, write_pid
from workbench.monitor.settings import MonitorSettings

SOCKET: Final = "monitor.sock"
PREDECESSOR_PATIENCE: Final = 5.0
LAST_WORDS: Final = 10.0


def monitor(
    directory: Path,
    settings: MonitorSettings,
    runtime: Runtime,
    first: socket.socket | None = None,
) -> None:
    """Watch over the container in ``directory`` until it has ended for good.

    ``first`` is a client that is connected already. The caller is a single-threaded process of
    its own that ends after this.
    """
    try:
        lock = _lock(directory)
    except WorkbenchError as error:
        if first is not None:
            first.sendall(protocol.failure(error))
        return
    loop = Loop()
    loop.catch_children()
    kernel.set_child_subreaper()
    watch = Monitor(loop, directory, settings, runtime)
    _take_signals(watch)
    watch.serve(first)
    watch.leave(lock)


class Monitor:
    """The clients of one container, and what its end means for them."""

    def __init__(
        self, loop: Loop, directory: Path, settings: MonitorSettings, runtime: Runtime
    ) -> None:
        self.loop = loop
        self.directory = directory
        self.runtime = runtime
        self.container = Container(loop, directory, settings, runtime, self._exited)
        self._listener = protocol.listen(directory / SOCKET)
        self._peers: list[Peer] = []
        self._abandoned = False
        self._adopted = False

    def serve(self, first: socket.socket | None) -> None:
        """Work until the container has ended for good, or nobody wants it any more."""
        self.loop.watch(self._listener.fileno(), READ, self._accept)
        if first is not None:
            self._welcome(first)
        self.loop.run()

    def leave(self, lock: int) -> None:
        """Tidy up, let go of the directory, and give slow readers time for the rest."""
        self._stop_listening()
        for peer in tuple(self._peers):
            peer.connection.finish()
        with contextlib.suppress(WorkbenchError, OSError):
            self.runtime.delete(self.directory)
        os.close(lock)
        command = self.container.settings.on_exit
        if command and not self._adopted and not self._abandoned:
            spawn(command)
        deadline = time.monotonic() + LAST_WORDS
        self.loop.after(LAST_WORDS, lambda: None)
        while self._peers and time.monotonic() < deadline:
            self.loop.turn()

    def terminate(self) -> None:
        """Somebody wants this process gone: stop the container first."""
        self.container.stop()
        self._check_abandoned()

    def gone(self, peer: Peer) -> None:
        """A client has left. One that the container was tied to takes it along."""
        if peer in self._peers:
            self._peers.remove(peer)
        if peer.tied and self.container.status != "ended":
            self.container.kill()
        self._check_abandoned()

    def _check_abandoned(self) -> None:
        if self._peers or self.container.status not in ("new", "created"):
            return
        self._abandoned = self.container.status == "new"
        if self._abandoned:
            self.loop.stopped = True
        else:
            self.container.kill()

    def _accept(self, _events: int) -> None:
        with contextlib.suppress(OSError):
            self._welcome(self._listener.accept()[0])

    def _welcome(self, sock: socket.socket) -> None:
        try:
            pid = protocol.check_peer(sock)
        except WorkbenchError as error:
            sock.sendall(protocol.failure(error))
            sock.close()
            return
        self._peers.append(Peer(self, Connection(self.loop, sock, pid)))

    def _exited(self, record: ExitRecord, again: bool) -> None:
        frame = protocol.control(protocol.EXIT, record.to_json())
        self._adopted = any(peer.adopts for peer in self._peers)
        for peer in tuple(self._peers):
            peer.exited(frame, again)
        self.container.audience.finish(frame)
        if not again:
            # Not at once: a request that is being answered may be the reason of the end.
            self.loop.after(0, self._over)

    def _over(self) -> None:
        self.loop.stopped = True

    def _stop_listening(self) -> None:
        self.loop.forget(self._listener.fileno())
        self._listener.close()
        with contextlib.suppress(FileNotFoundError):
            (self.directory / SOCKET).unlink()


def _lock(directory: Path) -> int:
    """Become the monitor of a directory. Raises Conflict when it has one that is not leaving."""
    fd = os.open(directory / PID_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + PREDECESSOR_PATIENCE
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            leaving = not (directory / SOCKET).exists()
            if leaving and time.monotonic() < deadline:
                time.sleep(0.002)
                continue
            os.close(fd)
            raise Conflict(f"container {directory.name} is running already") from None
        write_pid(fd, os.getpid(), process_start(os.getpid()))
        return fd


def _take_signals(watch: Monitor) -> None:
    """Handlers, unlike SIG_IGN, do not outlive exec(2) in the container's program."""

    def nothing(_number: int, _frame: FrameType | None) -> None:
        """EPIPE and EFBIG are errors of the calls that meet them."""

    def terminate(_number: int, _frame: FrameType | None) -> None:
        watch.loop.after(0, watch.terminate)

    signal.signal(signal.SIGPIPE, nothing)
    signal.signal(signal.SIGXFSZ, nothing)
    signal.signal(signal.SIGINT, nothing)
    signal.signal(signal.SIGHUP, nothing)
    signal.signal(signal.SIGTERM, terminate)
