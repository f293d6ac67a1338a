"""Mount points that a runtime makes and that no layer should keep.

A container needs /proc, /etc/resolv.conf and the targets of a step's mounts; where the image lacks
them, empty ones appear in the new layer. They are removed after the step, and with them the
directories that are in the layer only because of them.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from workbench.build.merged import MergedTree, Parts, split_path

USUAL: Final = (
    "/proc", "/sys", "/dev", "/etc/resolv.conf", "/etc/hosts", "/etc/hostname", "/dev/pts",
    "/dev/shm", "/dev/mqueue", "/sys/fs/cgroup", "/.dockerenv",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Stubs:
    """What was not there before a step: mount points, each with all its missing parents."""

    missing: tuple[Parts, ...]

    @classmethod
    def before(cls, tree: MergedTree, targets: Iterable[str]) -> Stubs:
        """Look before the step runs."""
        missing: set[Parts] = set()
        for target in (*USUAL, *targets):
            real = tree.resolve(split_path(target))
            for end in range(len(real), 0, -1):
                if tree.status(real[:end]) is not None:
                    break
                missing.add(real[:end])
        return cls(missing=tuple(sorted(missing, key=len, reverse=True)))

    def remove(self, changes: Path, below: MergedTree) -> None:
        """Remove from the layer what is still as empty as a runtime makes it."""
        parents: set[Parts] = set()
        for place in self.missing:
            if _remove_empty(changes.joinpath(*place)):
                parents.update(place[:end] for end in range(1, len(place)))
        for place in sorted(parents, key=len, reverse=True):
            _forget_untouched(changes.joinpath(*place), below.status(place))


def _remove_empty(path: Path) -> bool:
    try:
        status = path.lstat()
        if stat.S_ISDIR(status.st_mode):
            path.rmdir()
        elif stat.S_ISREG(status.st_mode) and status.st_size == 0:
            path.unlink()
        else:
            return False
    except OSError:
        return False
    return True


def _forget_untouched(path: Path, was: os.stat_result | None) -> None:
    """Take a directory out of the layer that holds nothing and looks as it does below."""
    with suppress(OSError):
        now = path.lstat()
        if was is None or not stat.S_ISDIR(now.st_mode) or _opaque(path):
            return
        if (now.st_mode, now.st_uid, now.st_gid) == (was.st_mode, was.st_uid, was.st_gid):
            path.rmdir()


def _opaque(path: Path) -> bool:
    return any(name.endswith(".overlay.opaque") for name in os.listxattr(path))
