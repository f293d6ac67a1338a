"""How layers are unpacked and written: choices and bounds as frozen values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from workbench.store.tar_entry import TarEntry


class Whiteouts(Enum):
    """What a removed name becomes: overlayfs's mark, or a deletion in a full copy."""

    OVERLAY = "overlay"
    DELETE = "delete"


def ignore(_value: object) -> None:
    """The callback of a caller that does not watch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplyOptions:
    """``lowers`` are the trees of the layers below, top first, where they lie apart.

    ``user_attributes`` writes overlayfs's marks as ``user.overlay.*``, as mounts without root
    need. ``owners`` and ``devices`` are False where neither may be made. ``observe`` sees every
    member, ``notice`` a line for what was left out. Sizes are bytes.
    """

    whiteouts: Whiteouts = Whiteouts.OVERLAY
    user_attributes: bool = False
    lowers: tuple[Path, ...] = ()
    owners: bool = True
    devices: bool = True
    max_entries: int = 5_000_000
    max_bytes: int = 64 * 1024**3
    observe: Callable[[TarEntry], None] = ignore
    notice: Callable[[str], None] = ignore
