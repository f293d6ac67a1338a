"""Which files of this host a program needs to run: what ld.so(8) would load."""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Final

from workbench.engine.bases import elf
from workbench.engine.bases.elf import Elf

_CACHE: Final = Path("/etc/ld.so.cache")
_CACHE_MAGIC: Final = b"glibc-ld.so.cache1.1"
_CACHE_HEADER: Final = 48
_CACHE_ENTRY: Final = struct.Struct("=iIIIQ")
_MAX_ENTRIES: Final = 100_000
_DEFAULT_DIRECTORIES: Final = ("/lib64", "/usr/lib64", "/lib", "/usr/lib")

LATE: Final = (
    "libgcc_s.so.1 libstdc++.so.6 libresolv.so.2 libnss_files.so.2 libnss_dns.so.2 libm.so.6 "
    "libpthread.so.0 libdl.so.2 librt.so.1 libutil.so.1"
)
"""Libraries that are opened by name while a program runs, or that ready-made wheels expect."""


@dataclass(slots=True)
class Closure:
    """Programs with all that they need: ``libraries`` by the name under which they are wanted.

    ``missing`` are names that nothing on this host answers to.
    """

    interpreter: str = ""
    libraries: dict[str, Path] = field(default_factory=dict)
    missing: set[str] = field(default_factory=set)

    def include(self, path: Path, *, origin: Path | None = None) -> bool:
        """Take in what ``path`` needs; whether it is a dynamic ELF file at all.

        ``origin`` is the directory that it is looked for from, if not its own.
        """
        found = elf.read(path)
        if found is None or found.static:
            return False
        self.interpreter = self.interpreter or found.interpreter
        self._follow(found, origin or path.resolve().parent, ())
        return True

    def include_named(self, names: Iterable[str], kind: tuple[int, int, int]) -> None:
        """Take in libraries by name where this host has them."""
        for name in names:
            path = find(name, kind, ())
            if path is not None and name not in self.libraries:
                self.libraries[name] = path
                self.include(path)

    def _follow(self, found: Elf, origin: Path, inherited: tuple[str, ...]) -> None:
        own = tuple(_expand(found.rpath, origin))
        searched = tuple(_expand(found.runpath, origin)) or (*own, *inherited)
        for name in found.needed:
            if name in self.libraries or name in self.missing or _is_loader(name):
                continue
            path = Path(name) if "/" in name else find(name, found.kind, searched)
            library = elf.read(path) if path is not None else None
            if path is None or library is None:
                self.missing.add(name)
                continue
            self.libraries[name] = path
            self._follow(library, path.resolve().parent, (*own, *inherited))


def find(name: str, kind: tuple[int, int, int], searched: Iterable[str]) -> Path | None:
    """The file that the name stands for: in ``searched``, the loader's cache, its directories."""
    for directory in searched:
        candidate = Path(directory) / name
        if _fits(candidate, kind):
            return candidate
    for path in _loader_cache().get(name, ()):
        if _fits(Path(path), kind):
            return Path(path)
    for default in _default_directories():
        candidate = default / name
        if _fits(candidate, kind):
            return candidate
    return None


def _fits(path: Path, kind: tuple[int, int, int]) -> bool:
    if not path.is_file():
        return False
    found = elf.read(path)
    return found is not None and found.kind == kind


def _is_loader(name: str) -> bool:
    return name.startswith(("ld-linux", "ld-musl", "ld64.so", "ld.so"))


def _expand(paths: Iterable[str], origin: Path) -> Iterator[str]:
    for path in paths:
        yield path.replace("${ORIGIN}", str(origin)).replace("$ORIGIN", str(origin))


@cache
def _default_directories() -> tuple[Path, ...]:
    """The loader's own directories; Debian's have the machine's name in them."""
    roots = [Path(name) for name in _DEFAULT_DIRECTORIES]
    machines = sorted(path for root in roots for path in root.glob("*-linux-*") if path.is_dir())
    return (*machines, *roots)


@cache
def _loader_cache() -> dict[str, tuple[str, ...]]:
    """Names and paths of ``/etc/ld.so.cache`` (ldconfig(8)), without those for special CPUs."""
    try:
        with (
            _CACHE.open("rb") as stream,
            mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data,
        ):
            return _parse_cache(bytes(data))
    except (OSError, ValueError, struct.error):
        return {}


def _parse_cache(data: bytes) -> dict[str, tuple[str, ...]]:
    start = data.find(_CACHE_MAGIC)
    if start < 0:
        return {}
    (count,) = struct.unpack_from("=I", data, start + len(_CACHE_MAGIC))
    found: dict[str, list[str]] = {}
    for number in range(min(count, _MAX_ENTRIES)):
        place = start + _CACHE_HEADER + number * _CACHE_ENTRY.size
        _, key, value, _, special = _CACHE_ENTRY.unpack_from(data, place)
        if special == 0:
            name = _text(data, start + key)
            found.setdefault(name, []).append(_text(data, start + value))
    return {name: tuple(paths) for name, paths in found.items()}


def _text(data: bytes, place: int) -> str:
    return data[place : data.index(b"\0", place)].decode("utf-8", "surrogateescape")
