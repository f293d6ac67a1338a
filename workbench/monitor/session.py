"""The engine's side of a monitor's socket: one ``Session`` per connection.

All calls block and can be interrupted by a signal's exception. One Session serves one thread at a
time; any number of Sessions, of any threads and processes, may talk to the same monitor.
"""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Self

from workbench.errors import Conflict, Internal, NotFound, Unavailable, WorkbenchError
from workbench.monitor import protocol
from workbench.monitor.protocol import Chunk
from workbench.monitor.record import ExitRecord, monitor_pid, read_exit, read_run
from workbench.oci.codec import encode
from workbench.oci.runtime_spec import Process

SOCKET: Final = "monitor.sock"
BURIAL_PATIENCE: Final = 2.0


class Channel:
    """A connection with what has been read of it. Not for use outside of this module."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket: socket.socket | None = connection
        self._reader = protocol.FrameReader()

    @property
    def closed(self) -> bool:
        return self._socket is None

    def send(self, data: bytes) -> None:
        """Raises BrokenPipeError when the monitor is gone."""
        if self._socket is None:
            raise BrokenPipeError("the connection is closed")
        self._socket.sendall(data)

    def receive(self) -> tuple[int, bytes] | None:
        """The next frame; None at the end of the connection."""
        while True:
            if (item := next(self._reader.frames(), None)) is not None:
                return item
            if self._socket is None:
                return None
            try:
                data = self._socket.recv(4 * protocol.CHUNK)
            except ConnectionResetError:
                data = b""
            if not data:
                return None
            self._reader.feed(data)

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


class Streaming:
    """Output of a process as an iterator, its input, and how it ended."""

    def __init__(self, channel: Channel, *, pid: int = 0) -> None:
        self.pid = pid
        self._channel = channel
        self._exit: Mapping[str, Any] | None = None

    def __iter__(self) -> Iterator[Chunk]:
        """What it writes, as it comes, until it has ended or the monitor has gone."""
        while self._exit is None and (item := self._channel.receive()) is not None:
            kind, payload = item
            if name := protocol.STREAM_NAMES.get(kind):
                yield Chunk(stream=name, data=payload)
            elif kind == protocol.EXIT:
                self._exit = protocol.parse(payload)
            elif kind == protocol.ERROR:
                raise protocol.raised(payload)

    def write(self, data: bytes) -> None:
        """Input for it. Raises BrokenPipeError when nobody is there any more."""
        view = memoryview(data)
        for start in range(0, len(view), protocol.CHUNK):
            piece = bytes(view[start : start + protocol.CHUNK])
            self._channel.send(protocol.frame(protocol.STDIN, piece))

    def close_stdin(self) -> None:
        """No more input; output goes on."""
        self._tell(protocol.frame(protocol.STDIN_END))

    def resize(self, rows: int, columns: int) -> None:
        """Of its terminal, in character cells."""
        self._tell(protocol.frame(protocol.RESIZE, protocol.SIZE.pack(rows, columns)))

    def signal(self, number: int) -> None:
        """Send a signal to it, without waiting for an answer."""
        self._tell(protocol.frame(protocol.SIGNAL, bytes([number])))

    def close(self) -> None:
        """Leave. What is tied to this client ends."""
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _tell(self, data: bytes) -> None:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._channel.send(data)

    def _end(self) -> Mapping[str, Any] | None:
        """Read on to the end; what comes is dropped."""
        for _ in self:
            pass
        return self._exit


class Attachment(Streaming):
    """Attached to a container. Closing it detaches, and kills the container where it is tied."""

    def __init__(self, channel: Channel, directory: Path, *, pid: int = 0) -> None:
        super().__init__(channel, pid=pid)
        self._directory = directory

    def wait(self) -> ExitRecord:
        """How the container ended; output that was not read is dropped. Raises Unavailable."""
        end = self._end()
        return ExitRecord.from_json(end) if end is not None else _left_behind(self._directory)


class ExecSession(Streaming):
    """One more process in a container. Closing it leaves the process alone unless it is tied."""

    def wait(self) -> int:
        """Its exit code, 128 + n by signal n. Raises Unavailable when the monitor was killed."""
        end = self._end()
        if end is None:
            raise Unavailable("the container's monitor ended before the process")
        return int(end["code"])


class Session:
    """One connection to the monitor of a container."""

    def __init__(self, directory: Path, connection: socket.socket | None = None) -> None:
        self._directory = directory
        self._channel = Channel(connection) if connection is not None else None

    @classmethod
    def connect(cls, directory: Path) -> Session:
        """To a monitor that runs. Raises NotFound when there is none."""
        return cls(directory, _dial(directory))

    def create(self, *, tie: bool = False, adopt_exit: bool = False) -> int:
        """Make the container; its program waits for ``start``. The pid of its init.

        ``tie``: the container is killed when this session closes. ``adopt_exit``: this session's
        owner cleans up, so ``on_exit`` is not run. Until start, a container without any client
        is removed. Raises CommandNotFound, CommandNotRunnable, InvalidInput, Unsupported, Conflict.
        """
        return int(self._ask("create", tie=tie, adopt_exit=adopt_exit)["pid"])

    def start(self, *, tie: bool = False, adopt_exit: bool = False) -> None:
        """Let the program run. Raises CommandNotFound, CommandNotRunnable, Conflict."""
        self._ask("start", tie=tie, adopt_exit=adopt_exit)

    def run(self, *, tie: bool = False, adopt_exit: bool = False) -> int:
        """``create`` and ``start`` in one round trip; the pid."""
        return int(self._ask("run", tie=tie, adopt_exit=adopt_exit)["pid"])

    def run_attached(
        self,
        *,
        stdin: bool = False,
        stdout: bool = True,
        stderr: bool = True,
        tie: bool = True,
        adopt_exit: bool = True,
    ) -> Attachment:
        """Create, start, attach and wait by one request: iterate the result, then ``wait`` on it.

        This session's connection becomes that of the attachment; a later call here opens another.
        Raises as ``create`` and ``start``.
        """
        answer = self._ask(
            "run",
            attach=True,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            tie=tie,
            adopt_exit=adopt_exit,
        )
        channel, self._channel = self._channel, None
        assert channel is not None
        return Attachment(channel, self._directory, pid=int(answer["pid"]))

    def attach(
        self,
        *,
        stdin: bool = False,
        stdout: bool = True,
        stderr: bool = True,
        logs: bool = False,
        tie: bool = False,
        adopt_exit: bool = False,
    ) -> Attachment:
        """Follow the output from now on, or with ``logs`` from the start of the log.

        Opens a connection of its own. Attach between ``create`` and ``start`` to miss nothing.
        A client that does not read makes the container wait after 1 MiB, and is dropped after a
        second unless it is tied. Raises Conflict when the container has ended.
        """
        other = Session.connect(self._directory)
        other._ask(
            "attach",
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            logs=logs,
            tie=tie,
            adopt_exit=adopt_exit,
        )
        assert other._channel is not None
        return Attachment(other._channel, self._directory)

    def execute(
        self,
        process: Process,
        *,
        terminal: bool = False,
        stdin: bool = False,
        tie: bool = False,
        rows: int = 0,
        columns: int = 0,
    ) -> ExecSession:
        """Run one more process, on a connection of its own. ``tie`` kills it when that closes.

        Raises CommandNotFound, CommandNotRunnable, Conflict.
        """
        tree = encode(process) | {"terminal": terminal or process.terminal}
        other = Session.connect(self._directory)
        answer = other._ask(
            "execute", process=tree, stdin=stdin, tie=tie, rows=rows, columns=columns
        )
        assert other._channel is not None
        return ExecSession(other._channel, pid=int(answer["pid"]))

    def signal(self, number: int, *, all: bool = False) -> None:
        """To the container's init, or to ``all`` of its processes. Raises Conflict."""
        self._ask("signal", number=number, all=all)

    def stop(self, timeout: float | None = None, *, number: int | None = None) -> ExitRecord:
        """Stop signal, then SIGKILL after ``timeout`` seconds (-1: never); returns at the end."""
        self._send("stop", timeout=timeout, number=number)
        return self._await_exit()

    def pause(self) -> None:
        self._ask("pause")

    def resume(self) -> None:
        self._ask("resume")

    def resize(self, rows: int, columns: int) -> None:
        """Of the container's terminal, in character cells."""
        self._ask("resize", rows=rows, columns=columns)

    def reload(self) -> None:
        """Let the monitor read ``monitor.json`` again, after the restart policy has changed."""
        self._ask("reload")

    def status(self) -> Mapping[str, Any]:
        """``status`` (new, created, running, paused, restarting, ended), ``pid``, ``restarts``."""
        return self._ask("status")

    def wait(self, *, next_exit: bool = False, adopt_exit: bool = False) -> ExitRecord:
        """Block until the container has ended for good, or with ``next_exit`` once.

        Raises Unavailable when the monitor was killed meanwhile.
        """
        with contextlib.suppress(NotFound, BrokenPipeError, ConnectionResetError):
            self._send("wait", next_exit=next_exit, adopt_exit=adopt_exit)
            return self._await_exit()
        return _left_behind(self._directory)

    def close(self) -> None:
        if self._channel is not None:
            self._channel.close()
            self._channel = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _send(self, op: str, **arguments: Any) -> None:
        if self._channel is None:
            self._channel = Channel(_dial(self._directory))
        self._channel.send(protocol.control(protocol.REQUEST, {"op": op, **arguments}))

    def _ask(self, op: str, **arguments: Any) -> Mapping[str, Any]:
        """Send and await the answer. An interrupted question leaves its connection behind."""
        try:
            self._send(op, **arguments)
            item = self._channel.receive() if self._channel is not None else None
        except (BrokenPipeError, ConnectionResetError):
            item = None
        except KeyboardInterrupt:
            self.close()
            raise
        if item is None:
            self.close()
            raise self._lost()
        kind, payload = item
        if kind == protocol.ERROR:
            raise protocol.raised(payload)
        if kind != protocol.REPLY:
            raise Internal(f"the monitor answered {op} with a frame of kind {kind}")
        return protocol.parse(payload)

    def _lost(self) -> WorkbenchError:
        name = self._directory.name
        if read_exit(self._directory) is not None:
            return Conflict(f"container {name} is not running")
        return Unavailable(f"the monitor of container {name} has ended")

    def _await_exit(self) -> ExitRecord:
        assert self._channel is not None
        try:
            item = self._channel.receive()
        except KeyboardInterrupt:
            self.close()
            raise
        if item is None:
            return _left_behind(self._directory)
        kind, payload = item
        if kind == protocol.ERROR:
            raise protocol.raised(payload)
        return ExitRecord.from_json(protocol.parse(payload))


def _dial(directory: Path) -> socket.socket:
    try:
        connection = protocol.connect(directory / SOCKET)
    except OSError as error:
        raise NotFound(f"container {directory.name} has no monitor: {error}") from error
    connection.sendall(protocol.hello())
    return connection


def _left_behind(directory: Path) -> ExitRecord:
    """The record in the directory, once the connection has ended without one.

    A killed process closes its connections a moment before it is seen to be dead, and the launcher
    needs one more to write the record of a tied container.
    """
    deadline = time.monotonic() + BURIAL_PATIENCE
    while (record := read_exit(directory)) is None:
        gone = monitor_pid(directory) is None
        run = read_run(directory)
        if (gone and not (run and run.tied)) or time.monotonic() > deadline:
            what = "its monitor was killed" if gone else "its monitor does not answer"
            raise Unavailable(f"container {directory.name}: {what}")
        time.sleep(0.01)
    return record
