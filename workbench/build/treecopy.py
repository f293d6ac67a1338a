"""Copy a part of a tree into a plain directory: for mounts that a step may write to, and output."""

from __future__ import annotations

import os
import shutil
import stat
from contextlib import suppress
from pathlib import Path

from workbench.build.merged import Found, MergedTree, Parts


def copy_tree(tree: MergedTree, place: Parts, target: Path, *, plain: bool) -> None:
    """What lies at ``place`` becomes ``target``, which must not exist.

    Modes, times, links and, unless ``plain``, owners are kept; devices and pipes are left out.
    """
    with tree.find(place) as found:
        if found is None:
            return
        if not found.is_dir:
            _copy(found, target, plain)
            return
        target.mkdir(mode=stat.S_IMODE(found.status.st_mode) | 0o700)
        facts: list[tuple[Path, os.stat_result]] = [(target, found.status)]
    for item in tree.walk(place):
        path = target.joinpath(*item.path[len(place) :])
        if item.is_dir:
            path.mkdir(mode=0o700)
            facts.append((path, item.status))
        else:
            _copy(item, path, plain)
    for path, status in reversed(facts):
        _facts(path, status, plain)


def _copy(found: Found, path: Path, plain: bool) -> None:
    if found.is_link:
        path.symlink_to(found.readlink())
        if not plain:
            with suppress(PermissionError):
                os.chown(path, found.status.st_uid, found.status.st_gid, follow_symlinks=False)
        return
    if not found.is_file:
        return
    with os.fdopen(found.open(), "rb") as reader, path.open("xb") as writer:
        shutil.copyfileobj(reader, writer, 1 << 20)
    _facts(path, found.status, plain)


def _facts(path: Path, status: os.stat_result, plain: bool) -> None:
    if not plain:
        with suppress(PermissionError):
            os.chown(path, status.st_uid, status.st_gid)
    path.chmod(stat.S_IMODE(status.st_mode))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
