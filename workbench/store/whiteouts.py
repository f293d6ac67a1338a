"""How a layer says that something below is gone, in a tar and on disk.

In a tar ``.wh.NAME`` removes NAME, and ``.wh..wh..opq`` all that lower layers put in a directory.
On disk overlayfs wants a character device 0/0, and an attribute on the directory.
Source: image-spec ``layer.md``; the kernel's ``Documentation/filesystems/overlayfs.rst``.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable
from typing import Final

from workbench.errors import Corrupt, Unsupported

PREFIX: Final = ".wh."
META: Final = ".wh..wh."
OPAQUE: Final = ".wh..wh..opq"


def whiteout_target(base: str) -> str | None:
    """The name that a tar member called ``base`` removes; None where it is no whiteout.

    Raises Corrupt for names that would remove a directory itself or its parent.
    """
    if not base.startswith(PREFIX):
        return None
    name = base[len(PREFIX) :]
    if name in ("", ".", ".."):
        raise Corrupt(f"a whiteout with the impossible name {base!r}")
    return name


def is_whiteout(found: os.stat_result) -> bool:
    """Whether this is overlayfs's mark for a removed name."""
    return stat.S_ISCHR(found.st_mode) and found.st_rdev == 0


def make_whiteout(name: str, dir_fd: int) -> None:
    """Mark ``name`` as removed. Raises Unsupported where the kernel does not allow it."""
    try:
        os.mknod(name, stat.S_IFCHR, os.makedev(0, 0), dir_fd=dir_fd)
    except PermissionError as error:
        raise Unsupported(
            "this kernel does not let us make overlay whiteouts",
            hint="without root this needs Linux 5.8; the copying snapshotter works anywhere",
        ) from error


def overlay_attribute(name: str, *, user: bool) -> str:
    """overlayfs's private attribute; in ``user.`` for mounts made without root."""
    return f"{'user' if user else 'trusted'}.overlay.{name}"


def is_private(attribute: str) -> bool:
    """Whether an extended attribute belongs to overlayfs itself."""
    return attribute.startswith(("trusted.overlay.", "user.overlay."))


def set_opaque(fd: int, *, user: bool) -> None:
    """Hide what lower layers have in the open directory."""
    os.setxattr(fd, overlay_attribute("opaque", user=user), b"y")


def is_opaque(attributes: Iterable[str], fd: int) -> bool:
    """Whether the open directory hides what is below it. Raises Unsupported for forms that no
    tar can carry."""
    opaque = False
    for user in (False, True):
        name = overlay_attribute("opaque", user=user)
        if name in attributes:
            value = os.getxattr(fd, name)
            if value != b"y":
                raise Unsupported(f"an overlay directory with {name}={value!r}")
            opaque = True
    return opaque


def attributes_of(fd: int) -> list[str]:
    """The names of the extended attributes; none where the file system has none."""
    try:
        return os.listxattr(fd)
    except OSError as error:
        if error.errno in (errno.EOPNOTSUPP, errno.ENOSYS):
            return []
        raise
