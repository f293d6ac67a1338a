"""What an ELF file says about the libraries that it needs. Nothing is run.

Source: elf(5), the System V ABI's chapter on dynamic linking.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from workbench.errors import Corrupt

MAGIC: Final = b"\x7fELF"
_LOAD, _DYNAMIC, _INTERPRETER = 1, 2, 3
_NEEDED, _STRINGS, _SONAME, _RPATH, _RUNPATH = 1, 5, 14, 15, 29
_MAX_TABLE: Final = 1 << 20  # bytes; real tables are far smaller
_MAX_STRING: Final = 4096
_WORTH_IT: Final = 0.1  # of the size


@dataclass(frozen=True, slots=True, kw_only=True)
class Elf:
    """One ELF file. ``interpreter`` is empty for libraries and static programs.

    ``kind`` tells files for different machines apart: class (1 is 32 bits, 2 is 64), byte order
    and machine number. Search paths are as written, with ``$ORIGIN`` and the like.
    """

    kind: tuple[int, int, int]
    interpreter: str = ""
    needed: tuple[str, ...] = ()
    soname: str = ""
    rpath: tuple[str, ...] = ()
    runpath: tuple[str, ...] = ()

    @property
    def static(self) -> bool:
        """Whether it runs without any other file."""
        return not self.interpreter and not self.needed


def read(path: Path | str) -> Elf | None:
    """The headers of ``path``, or None for what is no ELF file. Raises OSError, Corrupt."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        head = os.pread(descriptor, 64, 0)
        if not head.startswith(MAGIC):
            return None
        return _Reader(descriptor, head).elf()
    except (struct.error, IndexError, UnicodeDecodeError, OverflowError) as error:
        raise Corrupt(f"{path} is a broken ELF file: {error}") from error
    finally:
        os.close(descriptor)


def stripped(path: Path) -> bytes | None:
    """``path`` without what is not loaded when it runs: debugging information and section names.

    None where that would save little, or it is no ELF file. Raises OSError, Corrupt.
    """
    if read(path) is None:
        return None
    data = bytearray(path.read_bytes())
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        end = _Reader(descriptor, bytes(data[:64])).end()
    finally:
        os.close(descriptor)
    if end > len(data) * (1 - _WORTH_IT):
        return None
    # The header no longer points to a table of sections: its offset, entries and names.
    place, size, counts = (40, 8, 60) if data[4] == 2 else (32, 4, 48)
    data[place : place + size] = bytes(size)
    data[counts : counts + 4] = bytes(4)
    return bytes(data[:end])


class _Reader:
    """The parts of one open file."""

    def __init__(self, descriptor: int, head: bytes) -> None:
        self._descriptor = descriptor
        self._wide = head[4] == 2
        self._order = "<" if head[5] == 1 else ">"
        (machine,) = struct.unpack_from(f"{self._order}H", head, 18)
        self.kind = (head[4], head[5], machine)
        layout = "QQIHHH" if self._wide else "IIIHHH"
        fields = struct.unpack_from(f"{self._order}{layout}", head, 32 if self._wide else 28)
        self._table: int = fields[0]
        self._entry: int = fields[4]
        self._count: int = fields[5]

    def elf(self) -> Elf:
        headers = self._headers()
        interpreter = dynamic = b""
        for kind, offset, _, size in headers:
            if kind == _INTERPRETER:
                interpreter = self._bytes(offset, size).rstrip(b"\0")
            elif kind == _DYNAMIC:
                dynamic = self._bytes(offset, size)
        entries = self._dynamic(dynamic)
        strings = next((value for tag, value in entries if tag == _STRINGS), 0)
        base = _offset(strings, headers)
        text = {
            wanted: tuple(self._string(base + value) for tag, value in entries if tag == wanted)
            for wanted in (_NEEDED, _SONAME, _RPATH, _RUNPATH)
        }
        return Elf(
            kind=self.kind,
            interpreter=os.fsdecode(interpreter),
            needed=text[_NEEDED],
            soname=next(iter(text[_SONAME]), ""),
            rpath=_split(text[_RPATH]),
            runpath=_split(text[_RUNPATH]),
        )

    def end(self) -> int:
        """Where the last part ends that is loaded, or the table of parts itself."""
        table = self._table + self._entry * self._count
        return max(table, *(offset + size for _, offset, _, size in self._headers()))

    def _headers(self) -> list[tuple[int, int, int, int]]:
        """Program headers as (type, offset, address, size in the file)."""
        table = self._bytes(self._table, self._entry * self._count)
        found = []
        for number in range(self._count):
            place = number * self._entry
            if self._wide:
                kind, _, offset, address, _, size = struct.unpack_from(
                    f"{self._order}IIQQQQ", table, place
                )
            else:
                kind, offset, address, _, size = struct.unpack_from(
                    f"{self._order}5I", table, place
                )
            found.append((kind, offset, address, size))
        return found

    def _dynamic(self, table: bytes) -> list[tuple[int, int]]:
        layout = struct.Struct(f"{self._order}{'qQ' if self._wide else 'iI'}")
        whole = len(table) - len(table) % layout.size
        return list(layout.iter_unpack(table[:whole]))

    def _bytes(self, offset: int, size: int) -> bytes:
        if size > _MAX_TABLE:
            raise IndexError(f"a table of {size} bytes")
        return os.pread(self._descriptor, size, offset)

    def _string(self, offset: int) -> str:
        raw = os.pread(self._descriptor, _MAX_STRING, offset)
        return os.fsdecode(raw[: raw.index(b"\0")] if b"\0" in raw else b"")


def _offset(address: int, headers: list[tuple[int, int, int, int]]) -> int:
    """Where in the file an address of the running program lies."""
    for kind, offset, start, size in headers:
        if kind == _LOAD and start <= address < start + size:
            return offset + address - start
    return 0


def _split(texts: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(part for text in texts for part in text.split(":") if part)
