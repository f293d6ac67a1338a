"""One member of a tar archive as a value, and what the formats have in common.

Source: POSIX pax(1), GNU tar manual "Basic Tar Format", tar(5).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

Kind = Literal["file", "dir", "symlink", "hardlink", "char", "block", "fifo"]

BLOCK: Final = 512
XATTR_PREFIX: Final = "SCHILY.xattr."
NANO: Final = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class TarEntry:
    """``name`` and ``target`` are as written (bytes that are no UTF-8 as surrogates).

    ``size`` is the bytes of a file's content, holes included; ``mode`` only permission bits.
    ``sparse`` lists (offset, length) of the parts that are stored, None for an ordinary file.
    """

    name: str
    kind: Kind
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    size: int = 0
    mtime_ns: int = 0
    target: str = ""
    major: int = 0
    minor: int = 0
    xattrs: Mapping[str, bytes] = field(default_factory=dict)
    sparse: tuple[tuple[int, int], ...] | None = None


def padding(size: int) -> int:
    """The bytes between content of ``size`` and the next header."""
    return -size % BLOCK
