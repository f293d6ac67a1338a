"""Mounts as data, and the system calls that make them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """What mount(2) needs, as a value: the one thing that store and runtime share.

    ``target`` is relative to the root file system being assembled and empty for the root itself;
    ``options`` are those of fstab(5) ("ro", "rbind", "lowerdir=..."); ``type`` "bind" is a bind.
    """

    type: str
    source: str
    target: str = ""
    options: tuple[str, ...] = ()
