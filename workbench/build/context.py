"""The files that a build may read: a directory, or a tar that is unpacked into one first.

Source: Docker's documentation, "Build context", ".dockerignore files".
"""

from __future__ import annotations

import posixpath
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from workbench.build.ignore import NO_PATTERNS, Patterns
from workbench.build.merged import MergedTree
from workbench.errors import InvalidInput, NotFound
from workbench.oci.digest import Readable
from workbench.store.compression import detect, unpacked
from workbench.store.layer import apply
from workbench.store.options import ApplyOptions, Whiteouts

_MOST_IGNORE_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildContext:
    """``directory`` as the build sees it: without what ``ignore`` hides."""

    directory: Path
    ignore: Patterns = NO_PATTERNS

    @property
    def tree(self) -> MergedTree:
        return MergedTree([self.directory], overlay=False, ignore=self.ignore)

    @classmethod
    def open(cls, directory: Path, *, dockerfile: str = "Dockerfile") -> BuildContext:
        """A directory, with the ``.dockerignore`` that goes with the Dockerfile.

        ``<dockerfile>.dockerignore`` beside the Dockerfile comes before ``.dockerignore``. Raises
        NotFound, InvalidInput (no directory, a malformed pattern).
        """
        if not directory.exists():
            raise NotFound(f"unable to prepare context: path {str(directory)!r} not found")
        if not directory.is_dir():
            raise InvalidInput(
                f"unable to prepare context: path {str(directory)!r} is no directory"
            )
        try:
            return cls(directory=directory, ignore=_ignore(directory, dockerfile))
        except PermissionError as error:
            raise InvalidInput(f"unable to read the context: {error}") from error

    @classmethod
    def whole(cls, directory: Path) -> BuildContext:
        """A directory of which nothing is hidden."""
        return cls(directory=directory)

    def read_dockerfile(self, name: str, *, limit: int) -> str:
        """The text of a Dockerfile in the context, also where it is ignored.

        Raises NotFound, InvalidInput (not UTF-8), LimitExceeded.
        """
        data = MergedTree([self.directory], overlay=False).read(name, limit)
        if data is None:
            raise NotFound(
                f"failed to read dockerfile: open {posixpath.basename(name)}: no such file or "
                "directory",
                hint=f"looked for {name} in {self.directory}",
            )
        return decode_dockerfile(data, name)


def decode_dockerfile(data: bytes, name: str) -> str:
    """Raises InvalidInput for what is not UTF-8."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{name} is not UTF-8 text: {error}") from None


def _ignore(directory: Path, dockerfile: str) -> Patterns:
    tree = MergedTree([directory], overlay=False)
    for name in (f"{dockerfile}.dockerignore", ".dockerignore"):
        data = tree.read(name, _MOST_IGNORE_BYTES)
        if data is not None:
            return Patterns.read(data.decode("utf-8", "surrogateescape"))
    return NO_PATTERNS


def unpack_context(stream: Readable, directory: Path, *, max_bytes: int = 64 * 1024**3) -> None:
    """Unpack a tar (plain, gzip or zstd) into an empty directory.

    Owners and devices are left out; nothing outside ``directory`` is touched. Raises Corrupt,
    LimitExceeded.
    """
    head = b""
    while len(head) < 4 and (piece := stream.read(4 - len(head))):
        head += piece
    options = ApplyOptions(
        whiteouts=Whiteouts.DELETE, owners=False, devices=False, max_bytes=max_bytes
    )
    apply(unpacked(_Joined(head, stream), detect(head)), directory, options)


class _Joined:
    """Bytes that were read already, then the rest of a stream."""

    def __init__(self, head: bytes, rest: Readable) -> None:
        self._head = head
        self._rest = rest

    def read(self, size: int = -1, /) -> bytes:
        if not self._head:
            return self._rest.read(size)
        if size < 0:
            data, self._head = self._head + self._rest.read(), b""
            return data
        data, self._head = self._head[:size], self._head[size:]
        return data
