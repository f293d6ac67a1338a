"""The three streams of a process: pipes or a terminal, read and written without blocking."""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
import termios
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from workbench.monitor.loop import GONE, READ, WRITE, Loop
from workbench.monitor.protocol import CHUNK

STDIN_BOUND: Final = 1024**2


@dataclass(frozen=True, slots=True, kw_only=True)
class Ends:
    """The descriptors that become 0, 1 and 2 of a process."""

    stdin: int
    stdout: int
    stderr: int


class Reader:
    """One readable descriptor in the loop; ``sink(stream, data)`` gets what comes."""

    def __init__(
        self,
        loop: Loop,
        fd: int,
        stream: str,
        sink: Callable[[str, bytes], None],
        on_end: Callable[[], None],
    ) -> None:
        self._loop = loop
        self._fd = fd
        self._stream = stream
        self._sink = sink
        self._on_end = on_end
        os.set_blocking(fd, False)
        loop.watch(fd, READ, self._ready)
        self._held = False

    @property
    def ended(self) -> bool:
        return self._fd < 0

    def hold(self, held: bool) -> None:
        """Leave the data in the pipe, which in the end makes the writer wait."""
        if self._fd < 0 or held == self._held:
            return
        self._held = held
        # A closed pipe would report its end again and again: while held it is not watched.
        if held:
            self._loop.forget(self._fd)
        else:
            self._loop.watch(self._fd, READ, self._ready)

    def drain(self) -> None:
        """Read all that is there, held or not."""
        while self._fd >= 0 and self._read():
            pass

    def close(self) -> None:
        if self._fd >= 0:
            self._loop.forget(self._fd)
            os.close(self._fd)
            self._fd = -1
            self._on_end()

    def _ready(self, _events: int) -> None:
        self._read()

    def _read(self) -> bool:
        try:
            data = os.read(self._fd, CHUNK)
        except BlockingIOError:
            return False
        except OSError:
            # EIO: the last process has closed the terminal. Source: pty(7).
            data = b""
        if not data:
            self.close()
            return False
        self._sink(self._stream, data)
        return True


class Writer:
    """One writable descriptor in the loop, with a queue. ``on_drained`` when it is short again."""

    def __init__(self, loop: Loop, fd: int, *, owned: bool = True) -> None:
        self.on_drained: Callable[[], None] = _nothing
        self.pending = 0
        self._loop = loop
        self._fd = fd
        self._owned = owned
        self._queue: deque[memoryview] = deque()
        self._ending = False
        self._full = False
        os.set_blocking(fd, False)
        # A descriptor can be registered once, and a terminal is read and written: use another.
        loop.watch(fd, 0, self._ready)

    @property
    def full(self) -> bool:
        return self.pending > STDIN_BOUND

    def write(self, data: bytes) -> None:
        if self._fd < 0 or self._ending or not data:
            return
        self._queue.append(memoryview(data))
        self.pending += len(data)
        self._full = self._full or self.full
        if len(self._queue) == 1:
            self._flush()

    def finish(self) -> None:
        """Close when everything queued has been written."""
        self._ending = True
        if not self._queue:
            self.close()

    def close(self) -> None:
        if self._fd < 0:
            return
        self._loop.forget(self._fd)
        os.close(self._fd)
        self._fd = -1
        self._queue.clear()
        self.pending = 0
        self._tell()

    def _ready(self, events: int) -> None:
        if events & GONE:
            self.close()
        elif events & WRITE:
            self._flush()

    def _flush(self) -> None:
        while self._queue:
            try:
                written = os.write(self._fd, self._queue[0])
            except BlockingIOError:
                break
            except OSError:
                # EPIPE: the program has closed its standard input.
                self.close()
                return
            self.pending -= written
            if written == len(self._queue[0]):
                self._queue.popleft()
            else:
                self._queue[0] = self._queue[0][written:]
        if self._ending and not self._queue:
            self.close()
            return
        self._loop.change(self._fd, WRITE if self._queue else 0)
        self._tell()

    def _tell(self) -> None:
        if self._full and self.pending < STDIN_BOUND // 2:
            self._full = False
            self.on_drained()


class Streams:
    """What a process writes and reads.

    ``open`` makes the pipes and gives the process's ends; ``begin`` is called once the process
    exists, with the terminal's master where it has one. ``on_end`` is called when every stream
    has ended.
    """

    def __init__(
        self,
        loop: Loop,
        sink: Callable[[str, bytes], None],
        on_end: Callable[[], None],
        *,
        tty: bool,
        stdin: bool,
    ) -> None:
        self._loop = loop
        self._sink = sink
        self._on_end = on_end
        self._tty = tty
        self._with_stdin = stdin
        self._readers: list[Reader] = []
        self._ours: list[tuple[int, str]] = []
        self._theirs: list[int] = []
        self._console = -1
        self._stdin_fd = -1
        self.input: Writer | None = None

    def open(self) -> Ends | None:
        """Make pipes; None for a terminal, which the runtime makes."""
        if self._tty:
            return None
        if self._with_stdin:
            stdin, self._stdin_fd = os.pipe2(os.O_CLOEXEC)
        else:
            stdin = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        out, stdout = os.pipe2(os.O_CLOEXEC)
        err, stderr = os.pipe2(os.O_CLOEXEC)
        self._ours = [(out, "stdout"), (err, "stderr")]
        self._theirs = [stdin, stdout, stderr]
        return Ends(stdin=stdin, stdout=stdout, stderr=stderr)

    def begin(self, console: int | None) -> None:
        self._close_theirs()
        if console is not None:
            self._console = console
            self._ours = [(console, "stdout")]
            self._stdin_fd = fcntl.fcntl(console, fcntl.F_DUPFD_CLOEXEC, 3)
        if self._stdin_fd >= 0:
            self.input = Writer(self._loop, self._stdin_fd)
            self._stdin_fd = -1
        for fd, stream in self._ours:
            self._readers.append(Reader(self._loop, fd, stream, self._sink, self._reader_ended))
        self._ours = []

    def abandon(self) -> None:
        """Close everything of a process that never came to be."""
        self._close_theirs()
        for fd in (*(fd for fd, _ in self._ours), self._stdin_fd):
            if fd >= 0:
                os.close(fd)
        self._ours, self._stdin_fd = [], -1

    @property
    def ended(self) -> bool:
        return all(reader.ended for reader in self._readers)

    def hold(self, held: bool) -> None:
        for reader in self._readers:
            reader.hold(held)

    def drain(self) -> None:
        for reader in self._readers:
            reader.drain()

    def close(self) -> None:
        for reader in self._readers:
            reader.close()
        if self.input is not None:
            self.input.close()

    def end_input(self) -> None:
        """The end of stdin. A terminal has none: its reader ends it by a key."""
        if self.input is not None and not self._tty:
            self.input.finish()

    def resize(self, rows: int, columns: int) -> None:
        """Source: ioctl_tty(2), TIOCSWINSZ."""
        if rows > 0 and columns > 0 and self._console >= 0 and not self.ended:
            size = struct.pack("HHHH", rows, columns, 0, 0)
            with contextlib.suppress(OSError):
                fcntl.ioctl(self._console, termios.TIOCSWINSZ, size)

    def _close_theirs(self) -> None:
        for fd in self._theirs:
            os.close(fd)
        self._theirs = []

    def _reader_ended(self) -> None:
        if self.ended:
            self._on_end()


def _nothing() -> None:
    """A change that nobody waits for."""
