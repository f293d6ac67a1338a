"""How much a tree holds."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from workbench.store.snapshots import Usage


def measure(path: Path) -> Usage:
    """Bytes and inodes of a tree; a file with several names counts once."""
    total = inodes = 0
    seen: set[tuple[int, int]] = set()
    pending = [str(path)]
    while pending:
        with os.scandir(pending.pop()) as entries:
            for entry in entries:
                found = entry.stat(follow_symlinks=False)
                if stat.S_ISDIR(found.st_mode):
                    pending.append(entry.path)
                elif found.st_nlink > 1:
                    identity = (found.st_dev, found.st_ino)
                    if identity in seen:
                        continue
                    seen.add(identity)
                inodes += 1
                total += found.st_size if stat.S_ISREG(found.st_mode) else 0
    return Usage(bytes=total, inodes=inodes)
