"""The log file of a container: Docker's json-file format, one JSON object a line, rotated.

A line of output becomes one entry. What exceeds 16 KiB without a line end becomes entries without
one. Bytes that are not UTF-8 are kept as lone surrogates (``\\udc80`` ... ``\\udcff``), which our
reader turns back into the bytes and others show as U+FFFD.
"""

from __future__ import annotations

import contextlib
import os
from json.encoder import encode_basestring
from pathlib import Path
from typing import Final

from workbench.monitor.record import now
from workbench.monitor.times import to_text

PARTIAL: Final = 16 * 1024


class LogWriter:
    """Appends what a container writes. OSError of the file (a full disk) is the caller's to see."""

    def __init__(self, path: Path, *, max_size: int = 0, max_file: int = 1) -> None:
        self._path = path
        self._max_size = max_size
        self._max_file = max(1, max_file)
        self._rest = {"stdout": b"", "stderr": b""}
        self._fd = self._open()
        self._mend_last_line()

    def write(self, stream: str, data: bytes) -> None:
        """Take bytes as they came; whole lines go to the file at once."""
        entries = self._split(stream, data)
        if entries:
            self._append(stream, entries)

    def unfinished(self) -> dict[str, bytes]:
        """By stream, what waits for the end of its line."""
        return dict(self._rest)

    def flush(self) -> None:
        """Write unfinished lines: nobody will end them."""
        for stream, rest in self._rest.items():
            if rest:
                self._rest[stream] = b""
                self._append(stream, [rest])

    def close(self) -> None:
        """Flush and close. May be called twice."""
        if self._fd >= 0:
            try:
                self.flush()
            finally:
                os.close(self._fd)
                self._fd = -1

    def _split(self, stream: str, data: bytes) -> list[bytes]:
        data = self._rest[stream] + data
        *lines, rest = data.split(b"\n")
        entries: list[bytes] = []
        for line in lines:
            if len(line) < PARTIAL:
                entries.append(line + b"\n")
            else:
                pieces = list(_pieces(line + b"\n"))
                entries += pieces
        if len(rest) >= PARTIAL:
            *pieces, rest = _pieces(rest)
            if len(rest) >= PARTIAL:
                pieces.append(rest)
                rest = b""
            entries += pieces
        self._rest[stream] = rest
        return entries

    def _append(self, stream: str, entries: list[bytes]) -> None:
        tail = f',"stream":"{stream}","time":"{to_text(now())}"}}\n'.encode()
        lines: list[bytes] = []
        for entry in entries:
            text = encode_basestring(entry.decode("utf-8", "surrogateescape"))
            lines.append(b'{"log":' + text.encode("utf-8", "backslashreplace") + tail)
        if not self._max_size:
            self._put(b"".join(lines))
            return
        for line in lines:
            if self._size and self._size + len(line) > self._max_size:
                self._rotate()
            self._put(line)

    def _put(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            written = os.write(self._fd, view)
            self._size += written
            view = view[written:]

    def _open(self) -> int:
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        fd = os.open(self._path, flags, 0o640)
        self._size = os.fstat(fd).st_size
        return fd

    def _mend_last_line(self) -> None:
        """End a line that a crash cut short, so that the next one can be read."""
        if self._size and os.pread(self._fd, 1, self._size - 1) != b"\n":
            self._put(b"\n")

    def _rotate(self) -> None:
        """Shift FILE to FILE.1 and so on. A reader keeps the file that it has open."""
        os.close(self._fd)
        last = self._max_file - 1
        for number in range(last, 1, -1):
            with contextlib.suppress(FileNotFoundError):
                numbered(self._path, number - 1).replace(numbered(self._path, number))
        if last:
            self._path.replace(numbered(self._path, 1))
        else:
            self._path.unlink()
        self._fd = self._open()


def numbered(path: Path, number: int) -> Path:
    return path.with_name(f"{path.name}.{number}")


def _pieces(line: bytes) -> list[bytes]:
    """Cut into pieces of at most PARTIAL bytes, between the characters where that can be."""
    pieces: list[bytes] = []
    start = 0
    while len(line) - start > PARTIAL:
        end = start + PARTIAL
        for back in range(4):
            if line[end - back] & 0xC0 != 0x80:
                end -= back
                break
        pieces.append(line[start:end])
        start = end
    pieces.append(line[start:])
    return pieces
