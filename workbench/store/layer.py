"""A layer in its two forms: a tar stream, and a change of a tree.

``apply`` unpacks the one into the other, ``capture`` writes it back. Both make one pass, and both
are reproducible: a tree gives one digest, whatever order it was made in.
Source: image-spec ``layer.md``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from workbench.oci.digest import Digest, HashingReader, Readable
from workbench.store.apply import Unpacker
from workbench.store.capture import Member, overlay_members, read_content
from workbench.store.compression import ReadAhead
from workbench.store.options import ApplyOptions, ignore
from workbench.store.tar_entry import TarEntry
from workbench.store.tar_read import TarReader
from workbench.store.tar_write import TarWriter


@dataclass(frozen=True, slots=True, kw_only=True)
class AppliedLayer:
    """``size`` is the bytes of the files, ``entries`` the number of members."""

    diff_id: Digest
    size: int
    entries: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CapturedLayer:
    """``size`` is the bytes of the files, ``entries`` the number of members."""

    size: int
    entries: int


def apply(stream: Readable, directory: Path, options: ApplyOptions | None = None) -> AppliedLayer:
    """Unpack a tar into ``directory`` and hash it on the way, in a second thread.

    Nothing outside ``directory`` is touched, whatever the tar says. Raises Corrupt for what is no
    tar or a cut-off one, LimitExceeded above the bounds, Denied and Unavailable for what the
    kernel refuses. After an error the directory holds a part; the caller removes it.
    """
    chosen = options or ApplyOptions()
    hashed = HashingReader(stream)
    with ReadAhead(hashed) as ahead:
        reader = TarReader(ahead, max_entries=chosen.max_entries, max_bytes=chosen.max_bytes)
        unpacker = Unpacker(reader, directory, chosen)
        unpacker.run()
        reader.drain()
    return AppliedLayer(diff_id=hashed.digest, size=unpacker.size, entries=reader.entries)


def capture(
    changes: Path,
    sink: Callable[[bytes], object],
    *,
    lowers: tuple[Path, ...] = (),
    observe: Callable[[TarEntry], None] = ignore,
    notice: Callable[[str], None] = ignore,
) -> CapturedLayer:
    """Write the upper directory of an overlay as a tar; see ``capture.overlay_members``."""
    members = overlay_members(changes, lowers=lowers, notice=notice)
    return write_members(members, sink, observe=observe, notice=notice)


def write_members(
    members: Iterable[Member],
    sink: Callable[[bytes], object],
    *,
    observe: Callable[[TarEntry], None] = ignore,
    notice: Callable[[str], None] = ignore,
) -> CapturedLayer:
    """Write members with their content as a tar."""
    writer = TarWriter(sink)
    size = entries = 0
    for entry, file in members:
        writer.add(entry)
        if file is not None:
            for piece in read_content(file, entry.size, entry.name, notice):
                writer.write(piece)
        size += entry.size
        entries += 1
        observe(entry)
    writer.close()
    return CapturedLayer(size=size, entries=entries)
