"""Archives that ADD unpacks: tar, plain or packed by gzip, bzip2, xz or zstd.

Source: Dockerfile reference, "ADD": adding local tar archives. What an archive holds is seen from
the directory that it is unpacked into; nothing in it leads out of that.
"""

from __future__ import annotations

import bz2
import lzma
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO, Final, cast

from workbench.build.merged import Parts
from workbench.errors import Corrupt, InvalidInput, LimitExceeded
from workbench.oci.digest import Readable
from workbench.store.apply import Unpacker
from workbench.store.compression import detect, unpacked
from workbench.store.options import ApplyOptions
from workbench.store.snapshots import Snapshotter
from workbench.store.tar_entry import TarEntry
from workbench.store.tar_read import TarReader
from workbench.store.tree import split

_WHITEOUT: Final = ".wh."


def open_archive(file: BinaryIO) -> Readable | None:
    """The tar stream in an open file; None where it is no archive. The file's place moves."""
    for _attempt in ("look", "use"):
        file.seek(0)
        stream = _stream(file)
        if stream is None:
            return None
        if _attempt == "look" and not _is_tar(stream):
            return None
    return stream


def _stream(file: BinaryIO) -> Readable | None:
    head = file.read(6)
    file.seek(0)
    if head.startswith(b"BZh"):
        return cast(Readable, bz2.BZ2File(file))
    if head == b"\xfd7zXZ\0":
        return cast(Readable, lzma.LZMAFile(file))
    return unpacked(file, detect(head))


def _is_tar(stream: Readable) -> bool:
    reader = TarReader(stream, max_entries=1)
    try:
        return next(iter(reader), None) is not None
    except (Corrupt, LimitExceeded, OSError, EOFError, lzma.LZMAError):
        return False


def unpack_archive(
    stream: Readable,
    snapshotter: Snapshotter,
    key: str,
    place: Parts,
    *,
    owner: tuple[int, int] | None,
) -> None:
    """Unpack a tar below ``place``, a real directory of the active snapshot ``key``.

    ``owner`` replaces the owners that the archive says. Raises Corrupt, InvalidInput.
    """
    options = ApplyOptions(
        whiteouts=snapshotter.whiteouts,
        user_attributes=snapshotter.user_attributes,
        lowers=snapshotter.lowers(key),
        owners=os.geteuid() == 0,
    )
    try:
        members = _Below(TarReader(stream), place, owner)
        Unpacker(cast(TarReader, members), Path(snapshotter.changes(key)), options).run()
    except (OSError, EOFError, lzma.LZMAError) as error:
        raise Corrupt(f"cannot unpack the archive: {error}") from error


class _Below:
    """The members of an archive as they are called below a directory."""

    def __init__(self, reader: TarReader, place: Parts, owner: tuple[int, int] | None) -> None:
        self._reader = reader
        self._place = place
        self._owner = owner

    def __iter__(self) -> Iterator[TarEntry]:
        for entry in self._reader:
            parts = split(entry.name)
            if not parts:
                continue
            if parts[-1].startswith(_WHITEOUT):
                raise InvalidInput(
                    f"{entry.name!r} cannot be kept in a layer",
                    hint="names that begin with .wh. mean a removal there",
                )
            changes: dict[str, object] = {"name": "/".join((*self._place, *parts))}
            if entry.kind == "hardlink":
                changes["target"] = "/".join((*self._place, *split(entry.target)))
            if self._owner is not None:
                changes["uid"], changes["gid"] = self._owner
            yield replace(entry, **changes)  # type: ignore[arg-type]

    def data(self) -> Iterator[tuple[int, bytes]]:
        return self._reader.data()
