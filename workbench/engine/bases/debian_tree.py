"""What of a freshly installed Debian goes into a slim image, and what is set up differently."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from workbench.engine.bases.tree import TreeEntry

# Left out with all below them; the directories themselves stay.
_EMPTIED: Final = (
    "dev proc sys run tmp var/tmp var/cache var/log var/lib/apt/lists usr/share/man "
    "usr/share/info usr/share/locale usr/share/groff usr/share/lintian usr/share/linda "
    "usr/share/doc-base debootstrap"
)
_DROPPED: Final = frozenset(
    {"debootstrap", "etc/hostname", "etc/resolv.conf", "etc/.pwd.lock", "var/lib/dpkg/lock",
     "var/lib/dpkg/lock-frontend", "etc/machine-id", "etc/apt/sources.list"}
)  # fmt: skip
_BACKUPS: Final = ("-", "-old")
_DOCUMENTS: Final = "usr/share/doc"  # only licences stay

_KEPT_EMPTY: Final = ("var/cache/apt/archives/partial", "var/lib/apt/lists/partial")
_SLIM: Final = """\
# What a container rarely needs is not installed; licences are.
path-exclude /usr/share/doc/*
path-include /usr/share/doc/*/copyright
path-exclude /usr/share/man/*
path-exclude /usr/share/info/*
path-exclude /usr/share/groff/*
path-exclude /usr/share/lintian/*
path-exclude /usr/share/locale/*
force-unsafe-io
"""
_APT: Final = """\
Acquire::Languages "none";
Acquire::GzipIndexes "true";
APT::AutoRemove::SuggestsImportant "false";
APT::Install-Suggests "false";
APT::Keep-Downloaded-Packages "false";
DPkg::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb /var/cache/apt/*.bin || true"; };
Dir::Cache::pkgcache "";
Dir::Cache::srcpkgcache "";
"""
_POLICY: Final = "#!/bin/sh\n# No service is started while packages are installed.\nexit 101\n"
_SOURCES: Final = """\
deb http://deb.debian.org/debian {suite} main
deb http://deb.debian.org/debian {suite}-updates main
deb http://deb.debian.org/debian-security {suite}-security main
"""
_SID: Final = "deb http://deb.debian.org/debian {suite} main\n"


def entries(root: Path, suite: str) -> tuple[TreeEntry, ...]:
    """The image's entries by path; their sources lie below ``root``."""
    found: dict[str, TreeEntry] = {}
    seen: dict[tuple[int, int], str] = {}
    for path in _walk(root, ""):
        entry = _entry(root, path, seen)
        if entry is not None:
            found[path] = entry
    for entry in _own_files(suite):
        found[entry.path] = entry
    return tuple(found[path] for path in sorted(found))


def _walk(root: Path, path: str) -> Iterator[str]:
    """Paths below ``path`` that stay, parents first, always in the same order."""
    emptied = _EMPTIED.split()
    for name in sorted(os.listdir(root / path)):  # noqa: PTH208 - names alone
        below = f"{path}/{name}".lstrip("/")
        if below in _DROPPED or _is_backup(below):
            continue
        status = (root / below).lstat()
        if stat.S_ISDIR(status.st_mode):
            yield below
            if below not in emptied:
                yield from _walk(root, below)
        elif not below.startswith(f"{_DOCUMENTS}/") or name == "copyright":
            yield below


def _is_backup(path: str) -> bool:
    """``passwd-`` and the like, whose content depends on the order of installation."""
    return path.startswith(("etc/", "var/lib/dpkg/")) and path.endswith(_BACKUPS)


def _entry(root: Path, path: str, seen: dict[tuple[int, int], str]) -> TreeEntry | None:
    """None for devices and sockets, which no image has."""
    source = root / path
    status = source.lstat()
    mode = stat.S_IMODE(status.st_mode)
    uid, gid = status.st_uid, status.st_gid
    if stat.S_ISDIR(status.st_mode):
        return TreeEntry(path=path, kind="directory", mode=mode, uid=uid, gid=gid)
    if stat.S_ISLNK(status.st_mode):
        return TreeEntry(
            path=path, kind="symlink", mode=0o777, link=str(source.readlink()), uid=uid, gid=gid
        )
    if not stat.S_ISREG(status.st_mode):
        return None
    first = seen.setdefault((status.st_dev, status.st_ino), path)
    if first != path:
        return TreeEntry(path=path, kind="hardlink", mode=mode, link=first, uid=uid, gid=gid)
    return TreeEntry(path=path, kind="file", mode=mode, source=source, uid=uid, gid=gid)


def _own_files(suite: str) -> Iterator[TreeEntry]:
    sources = _SID if suite in {"sid", "unstable"} else _SOURCES
    for path, text, mode in (
        ("etc/apt/sources.list", sources.format(suite=suite), 0o644),
        ("etc/apt/apt.conf.d/90slim", _APT, 0o644),
        ("etc/dpkg/dpkg.cfg.d/90slim", _SLIM, 0o644),
        ("etc/machine-id", "", 0o444),
        ("usr/sbin/policy-rc.d", _POLICY, 0o755),
    ):
        yield TreeEntry(path=path, kind="file", mode=mode, data=text.encode("ascii"))
    for path in _KEPT_EMPTY:
        for place in (str(parent) for parent in reversed(Path(path).parents[:-1])):
            yield TreeEntry(path=place, kind="directory")
        yield TreeEntry(path=path, kind="directory", mode=0o700)
