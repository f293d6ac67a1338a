"""A directory that entries of a layer are put into, and that none of them can leave.

Every component of a path is opened by itself with O_NOFOLLOW; a symbolic link among the parents
is followed by us, inside the root, whatever it says. ``lowers`` are the layers below when ours is
stored apart from them (overlayfs): what is missing here is looked up there, top first.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from workbench.errors import Corrupt
from workbench.store.lower import LowerLayers
from workbench.store.remove import remove_tree
from workbench.store.whiteouts import is_whiteout, set_opaque

Parts = tuple[str, ...]

_DIR: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_MAX_NAME: Final = 4096
_MAX_DEPTH: Final = 256
_MAX_LINKS: Final = 40
_MAX_OPEN: Final = 64


def split(name: str) -> Parts:
    """The components of a member's name; a leading slash means nothing.

    Raises Corrupt for a name that leaves the root.
    """
    if len(name) > _MAX_NAME:
        raise Corrupt(f"a name of more than {_MAX_NAME} characters: {name[:64]!r}...")
    parts: list[str] = []
    for part in name.split("/"):
        if part == "..":
            if not parts:
                raise Corrupt(f"{name!r} leads out of the layer")
            parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    if len(parts) > _MAX_DEPTH:
        raise Corrupt(f"a path more than {_MAX_DEPTH} directories deep: {name[:64]!r}...")
    return tuple(parts)


class Tree:
    """A context manager. ``parent`` gives open directories that stay ours to close.

    ``implicit`` are directories that were made because a member needed them, with the time that
    they have in the layers below (nanoseconds) or None.
    """

    def __init__(
        self, root: Path, lowers: Sequence[Path] = (), *, overlay: bool = False, user: bool = False
    ) -> None:
        self._open: dict[Parts, int] = {(): os.open(root, _DIR)}
        self._resolved: dict[Parts, Parts] = {}
        self.lower = LowerLayers(lowers)
        self._overlay = overlay
        self._user = user
        self.implicit: dict[Parts, int | None] = {}

    def __enter__(self) -> Tree:
        return self

    def __exit__(self, *_: object) -> None:
        for fd in self._open.values():
            os.close(fd)
        self._open = {}

    def tidy(self) -> None:
        """Keep the number of open directories small; call between members."""
        if len(self._open) > _MAX_OPEN:
            root = self._open.pop(())
            for fd in self._open.values():
                os.close(fd)
            self._open = {(): root}
        if len(self._resolved) > 4096:
            self._resolved = {}

    def directory(self, parts: Parts) -> Parts:
        """Where ``parts`` really lies; made, with its parents, where it is missing."""
        found = self._resolved.get(parts)
        if found is None:
            found = self._resolved[parts] = self._walk(parts)
        return found

    def fd(self, here: Parts) -> int:
        """The open directory at a place that ``directory`` gave."""
        found = self._open.get(here)
        if found is not None:
            return found
        at = len(here)
        while here[:at] not in self._open:
            at -= 1
        for end in range(at + 1, len(here) + 1):
            inside = self._open[here[: end - 1]]
            self._open[here[:end]] = os.open(here[end - 1], _DIR, dir_fd=inside)
        return self._open[here]

    def remove(self, here: Parts, name: str) -> None:
        """Remove what lies at ``here``/``name``, whatever it is."""
        gone = (*here, name)
        for place in [item for item in self._open if item[: len(gone)] == gone]:
            os.close(self._open.pop(place))
        self._resolved = {}
        remove_tree(name, dir_fd=self.fd(here))

    def _walk(self, parts: Parts) -> Parts:
        pending = list(reversed(parts))
        here: Parts = ()
        links = 0
        while pending:
            part = pending.pop()
            if part == "..":
                here = here[:-1]
                continue
            target = self._step(here, part)
            if target is None:
                here = (*here, part)
                if len(here) > _MAX_DEPTH:
                    raise Corrupt("a path leads too deep through symbolic links")
                continue
            links += 1
            if links > _MAX_LINKS:
                raise Corrupt(f"too many symbolic links on the way to {'/'.join(parts)!r}")
            if target.startswith("/"):
                here = ()
            pending += [item for item in reversed(target.split("/")) if item not in ("", ".")]
        return here

    def _step(self, here: Parts, part: str) -> str | None:
        """Enter a directory (None), or the text of the symbolic link that stands there."""
        place = (*here, part)
        if place in self._open:
            return None
        inside = self.fd(here)
        try:
            self._open[place] = os.open(part, _DIR, dir_fd=inside)
            return None
        except FileNotFoundError:
            return self._make(here, part)
        except OSError as error:
            if error.errno not in (errno.ENOTDIR, errno.ELOOP):
                raise
        found = os.stat(part, dir_fd=inside, follow_symlinks=False)
        if stat.S_ISLNK(found.st_mode):
            return os.readlink(part, dir_fd=inside)
        if self._overlay and is_whiteout(found):
            os.unlink(part, dir_fd=inside)
            os.mkdir(part, 0o755, dir_fd=inside)
            set_opaque(self.fd(place), user=self._user)
            return None
        raise Corrupt(f"{'/'.join(place)!r} is no directory, but a member lies in it")

    def _make(self, here: Parts, part: str) -> str | None:
        place = (*here, part)
        below = self.lower.stat(place)
        if below is not None and stat.S_ISLNK(below.st_mode):
            return self.lower.readlink(place)
        os.mkdir(part, 0o755, dir_fd=self.fd(here))
        fd = self.fd(place)
        self.implicit[place] = None
        if below is not None and stat.S_ISDIR(below.st_mode):
            self.implicit[place] = below.st_mtime_ns
            with suppress(PermissionError):
                os.fchown(fd, below.st_uid, below.st_gid)
            os.fchmod(fd, stat.S_IMODE(below.st_mode))
        else:
            os.fchmod(fd, 0o755)
        return None
