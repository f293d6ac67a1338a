"""A file tree as data: what lies where in a base image, and from where it comes."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Final, Literal, Self

from workbench.oci.image import ContainerConfig

Kind = Literal["file", "directory", "symlink", "hardlink"]

LABEL: Final = "dev.container-workbench.base"
TITLE: Final = "org.opencontainers.image.title"

_TOP: Final = "dev proc sys run mnt opt srv home etc usr/local/bin usr/share var/lib"
_MERGED: Final = {"bin": "usr/bin", "sbin": "usr/sbin", "lib": "usr/lib", "lib64": "usr/lib64"}


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeEntry:
    """One entry; ``path`` is relative to the root of the image.

    A file has ``source`` (a file of this host) or ``data``; a symlink has its text in ``link``, a
    hard link the path of the entry that it repeats. Owners are numbers.
    """

    path: str
    kind: Kind
    mode: int = 0o755
    source: Path | None = None
    data: bytes = b""
    link: str = ""
    uid: int = 0
    gid: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class BasePlan:
    """All of a base image but its bytes.

    ``default_name`` is the reference that it is known by. Use it as a context manager: a plan may
    own a temporary directory (``scratch``) that its sources lie in.
    """

    entries: tuple[TreeEntry, ...]
    config: ContainerConfig
    labels: Mapping[str, str]
    default_name: str
    scratch: Path | None = None

    def close(self) -> None:
        """Remove the temporary directory, if there is one."""
        if self.scratch is not None:
            import shutil

            shutil.rmtree(self.scratch, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


@dataclass(slots=True)
class Tree:
    """A tree that is being put together; the first to claim a path keeps it.

    ``bin``, ``sbin``, ``lib`` and ``lib64`` are links into ``usr``, as on today's systems: paths
    through them end up there.
    """

    entries: dict[str, TreeEntry] = field(default_factory=dict)

    @classmethod
    def merged(cls) -> Tree:
        """A tree with the usual top and nothing in it."""
        tree = cls()
        for name, target in _MERGED.items():
            tree.directory(target)
            tree._put(TreeEntry(path=name, kind="symlink", mode=0o777, link=target))
        for name in _TOP.split():
            tree.directory(name)
        tree.directory("root", 0o700)
        for name in ("tmp", "var/tmp"):
            tree.directory(name, 0o1777)
        return tree

    def directory(self, path: str, mode: int = 0o755) -> None:
        self._put(TreeEntry(path=self.place(path), kind="directory", mode=mode))

    def file(self, path: str, source: Path, mode: int | None = None) -> None:
        """A file of this host; ``mode`` is the source's unless given, without its special bits."""
        bits = stat.S_IMODE(source.stat().st_mode) & 0o755 if mode is None else mode
        self._put(TreeEntry(path=self.place(path), kind="file", mode=bits, source=source))

    def text(self, path: str, text: str, mode: int = 0o644) -> None:
        self.data(path, text.encode("utf-8"), mode)

    def data(self, path: str, data: bytes, mode: int = 0o644) -> None:
        self._put(TreeEntry(path=self.place(path), kind="file", mode=mode, data=data))

    def symlink(self, path: str, link: str) -> None:
        self._put(TreeEntry(path=self.place(path), kind="symlink", mode=0o777, link=link))

    def place(self, path: str) -> str:
        """The path with links of the top replaced by what they lead to."""
        clean = path.strip("/")
        top, _, rest = clean.partition("/")
        return f"{_MERGED[top]}/{rest}" if rest and top in _MERGED else clean

    def has(self, path: str) -> bool:
        return self.place(path) in self.entries

    def sorted(self) -> tuple[TreeEntry, ...]:
        """Every entry by path: parents before children, always in the same order."""
        return tuple(self.entries[path] for path in sorted(self.entries))

    def _put(self, entry: TreeEntry) -> None:
        for parent in _parents(entry.path):
            self.entries.setdefault(parent, TreeEntry(path=parent, kind="directory"))
        self.entries.setdefault(entry.path, entry)


def _parents(path: str) -> Iterator[str]:
    """Every directory above ``path``, the nearest first."""
    while path := os.path.split(path)[0]:
        yield path
