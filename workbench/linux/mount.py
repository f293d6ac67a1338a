"""Mounts as data, and the system calls that make them. Sources: mount(2), mount_setattr(2)."""

from __future__ import annotations

import errno
import os
import re
import stat
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from workbench.linux import libc
from workbench.linux.safe_path import Root, make_directories, make_file, open_beneath

MS_RDONLY: Final = 0x1
MS_NOSUID: Final = 0x2
MS_NODEV: Final = 0x4
MS_NOEXEC: Final = 0x8
MS_SYNCHRONOUS: Final = 0x10
MS_REMOUNT: Final = 0x20
MS_MANDLOCK: Final = 0x40
MS_DIRSYNC: Final = 0x80
MS_NOSYMFOLLOW: Final = 0x100
MS_NOATIME: Final = 0x400
MS_NODIRATIME: Final = 0x800
MS_BIND: Final = 0x1000
MS_MOVE: Final = 0x2000
MS_REC: Final = 0x4000
MS_SILENT: Final = 0x8000
MS_UNBINDABLE: Final = 1 << 17
MS_PRIVATE: Final = 1 << 18
MS_SLAVE: Final = 1 << 19
MS_SHARED: Final = 1 << 20
MS_RELATIME: Final = 1 << 21
MS_I_VERSION: Final = 1 << 23
MS_STRICTATIME: Final = 1 << 24
MS_LAZYTIME: Final = 1 << 25
MNT_DETACH: Final = 2

# Option of fstab(5) -> (flag, whether it is cleared).
_FLAGS: Final = {
    "defaults": (0, False),
    "ro": (MS_RDONLY, False),
    "rw": (MS_RDONLY, True),
    "nosuid": (MS_NOSUID, False),
    "suid": (MS_NOSUID, True),
    "nodev": (MS_NODEV, False),
    "dev": (MS_NODEV, True),
    "noexec": (MS_NOEXEC, False),
    "exec": (MS_NOEXEC, True),
    "sync": (MS_SYNCHRONOUS, False),
    "async": (MS_SYNCHRONOUS, True),
    "dirsync": (MS_DIRSYNC, False),
    "mand": (MS_MANDLOCK, False),
    "nomand": (MS_MANDLOCK, True),
    "noatime": (MS_NOATIME, False),
    "atime": (MS_NOATIME, True),
    "nodiratime": (MS_NODIRATIME, False),
    "diratime": (MS_NODIRATIME, True),
    "relatime": (MS_RELATIME, False),
    "norelatime": (MS_RELATIME, True),
    "strictatime": (MS_STRICTATIME, False),
    "nostrictatime": (MS_STRICTATIME, True),
    "lazytime": (MS_LAZYTIME, False),
    "nolazytime": (MS_LAZYTIME, True),
    "iversion": (MS_I_VERSION, False),
    "noiversion": (MS_I_VERSION, True),
    "silent": (MS_SILENT, False),
    "loud": (MS_SILENT, True),
    "nosymfollow": (MS_NOSYMFOLLOW, False),
    "symfollow": (MS_NOSYMFOLLOW, True),
    "bind": (MS_BIND, False),
    "rbind": (MS_BIND | MS_REC, False),
    "remount": (MS_REMOUNT, False),
}
PROPAGATION: Final = {
    "private": MS_PRIVATE,
    "shared": MS_SHARED,
    "slave": MS_SLAVE,
    "unbindable": MS_UNBINDABLE,
    "rprivate": MS_PRIVATE | MS_REC,
    "rshared": MS_SHARED | MS_REC,
    "rslave": MS_SLAVE | MS_REC,
    "runbindable": MS_UNBINDABLE | MS_REC,
}
_ATTR_ATIME: Final = 0x70
# Recursive option of the runtime-spec -> (attribute of mount_setattr(2), whether it is cleared).
_RECURSIVE: Final = {
    "rro": (0x01, False),
    "rrw": (0x01, True),
    "rnosuid": (0x02, False),
    "rsuid": (0x02, True),
    "rnodev": (0x04, False),
    "rdev": (0x04, True),
    "rnoexec": (0x08, False),
    "rexec": (0x08, True),
    "rnoatime": (0x10, False),
    "rstrictatime": (0x20, False),
    "rrelatime": (0x00, False),
    "rnodiratime": (0x80, False),
    "rdiratime": (0x80, True),
    "rnosymfollow": (0x200000, False),
    "rsymfollow": (0x200000, True),
}
_AT_RECURSIVE: Final = 0x8000
_AT_EMPTY_PATH: Final = 0x1000
_MOUNT_ATTR_IDMAP: Final = 0x00100000
# What a user namespace may not clear on a mount that it did not make (mount_namespaces(7)).
_LOCKED: Final = MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_NOATIME | MS_NODIRATIME
_OPTION_PAGE: Final = 4095


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


@dataclass(frozen=True, slots=True, kw_only=True)
class MountFlags:
    """Options of fstab(5), sorted by what the kernel does with them.

    ``flags`` for mount(2); ``cleared`` those that an option explicitly switches off;
    ``propagation`` in order, each one call; ``attributes`` (set, cleared) for mount_setattr(2)
    with AT_RECURSIVE; ``data`` is left for the file system; ``idmap`` is "", "idmap" or "ridmap".
    """

    flags: int = 0
    cleared: int = 0
    propagation: tuple[int, ...] = ()
    attributes: tuple[int, int] = (0, 0)
    data: tuple[str, ...] = ()
    idmap: str = ""


def parse_options(options: Iterable[str]) -> MountFlags:
    """Sort options; what is no known flag is data of the file system."""
    flags = cleared = plus = minus = 0
    propagation: list[int] = []
    data: list[str] = []
    idmap = ""
    for option in options:
        if option in _FLAGS:
            flag, clear = _FLAGS[option]
            flags, cleared = (
                (flags & ~flag, cleared | flag) if clear else (flags | flag, cleared & ~flag)
            )
        elif option in PROPAGATION:
            propagation.append(PROPAGATION[option])
        elif option in _RECURSIVE:
            attribute, clear = _RECURSIVE[option]
            if option in ("rnoatime", "rstrictatime", "rrelatime"):
                minus |= _ATTR_ATIME
            plus, minus = (
                (plus & ~attribute, minus | attribute) if clear else (plus | attribute, minus)
            )
        elif option in ("idmap", "ridmap"):
            idmap = option
        elif option not in ("tmpcopyup", "copy-symlink"):
            data.append(option)
    return MountFlags(
        flags=flags, cleared=cleared, propagation=tuple(propagation),
        attributes=(plus, minus), data=tuple(data), idmap=idmap,
    )  # fmt: skip


def overlay(
    lowers: Sequence[str | os.PathLike[str]],
    upper: str | os.PathLike[str] | None = None,
    work: str | os.PathLike[str] | None = None,
    *,
    userxattr: bool = False,
) -> Mount:
    """An overlay of directories, topmost lower first; without ``upper`` it is read-only.

    ``userxattr`` is for mounts in a user namespace (overlayfs, since Linux 5.11).
    """
    options = ["lowerdir=" + ":".join(_escape(path, r"\\:,") for path in lowers)]
    if upper is not None and work is not None:
        options += [f"upperdir={_escape(upper, ',')}", f"workdir={_escape(work, ',')}"]
    if userxattr:
        options.append("userxattr")
    return Mount(type="overlay", source="overlay", options=tuple(options))


def _escape(path: str | os.PathLike[str], special: str) -> str:
    return re.sub(f"([{special}])", r"\\\1", os.fspath(path))


def mount(item: Mount, root: Root) -> None:
    """Make one mount inside ``root``, safely: no link there leads the target outside.

    The target is made where it is missing. Raises OSError that names source, target and options.
    """
    options = parse_options(item.options)
    is_bind = item.type == "bind" or bool(options.flags & MS_BIND)
    source = open_source(item.source) if is_bind else None
    try:
        place = _target(root, item.target, directory=source is None or _is_directory(source))
        try:
            _mount_on(item, options, source, place)
        finally:
            os.close(place)
        finish(root, item.target, options, is_bind=is_bind, what=item.source)
    finally:
        if source is not None:
            os.close(source)


def open_source(path: str) -> int:
    """The thing to bind, as a descriptor (O_PATH)."""
    return os.open(path, os.O_PATH | os.O_CLOEXEC)


def _is_directory(descriptor: int) -> bool:
    return stat.S_ISDIR(os.fstat(descriptor).st_mode)


def _target(root: Root, path: str, *, directory: bool) -> int:
    if not path.strip("/"):
        return os.dup(root) if isinstance(root, int) else os.open(root, os.O_PATH | os.O_CLOEXEC)
    return make_directories(root, path) if directory else make_file(root, path)


def _mount_on(item: Mount, options: MountFlags, source: int | None, place: int) -> None:
    target = f"/proc/self/fd/{place}"
    if source is not None:
        recursive = options.flags & MS_REC
        mount_at("", f"/proc/self/fd/{source}", target, MS_BIND | recursive, "", what=item)
        return
    data = ",".join(options.data)
    if item.type == "overlay" and len(data) > _OPTION_PAGE:
        _mount_long_overlay(item, options, target)
        return
    mount_at(item.type, item.source or item.type, target, options.flags, data, what=item)


def _mount_long_overlay(item: Mount, options: MountFlags, target: str) -> None:
    """mount(2) takes one page of options: name the layers relative to the folder they share."""
    keys = dict(option.partition("=")[::2] for option in options.data)
    lowers = re.split(r"(?<!\\):", keys["lowerdir"])
    shared = os.path.commonpath(lowers)
    keys["lowerdir"] = ":".join(os.path.relpath(path, shared) for path in lowers)
    data = ",".join(f"{name}={value}" if value else name for name, value in keys.items())
    back = os.open(".", os.O_PATH | os.O_CLOEXEC)
    try:
        os.chdir(shared)
        mount_at(item.type, item.source, target, options.flags, data, what=item)
    finally:
        os.fchdir(back)
        os.close(back)


def finish(root: Root, path: str, options: MountFlags, *, is_bind: bool, what: str = "") -> None:
    """What needs the new mount itself: flags of a bind, recursive attributes, propagation.

    The path is resolved anew, beneath the root, since descriptors of before name what lies under.
    """
    wanted = options.flags & ~(MS_BIND | MS_REC | MS_REMOUNT | MS_SILENT)
    remount = is_bind and (wanted or options.cleared)
    if not (remount or any(options.attributes) or options.propagation):
        return
    place = open_beneath(root, path or "/", os.O_PATH)
    try:
        target = f"/proc/self/fd/{place}"
        if remount:
            remount_bind(target, wanted, options.cleared)
        if any(options.attributes):
            set_attributes(place, *options.attributes, recursive=True)
        for flag in options.propagation:
            mount_at("", "", target, flag, "", what=what)
    finally:
        os.close(place)


def remount_bind(target: str, wanted: int, cleared: int = 0) -> None:
    """Change the flags of one mount; those that are locked in a user namespace are kept."""
    present = os.statvfs(target).f_flag & _LOCKED & ~cleared
    try:
        mount_at("", "", target, MS_REMOUNT | MS_BIND | wanted | present, "")
    except PermissionError:
        locked = os.statvfs(target).f_flag & _LOCKED
        mount_at("", "", target, MS_REMOUNT | MS_BIND | wanted | locked, "")


def set_attributes(
    descriptor: int, plus: int, minus: int, *, recursive: bool = False, user_namespace: int = 0
) -> None:
    """mount_setattr(2) on the mount that ``descriptor`` names. Raises OSError."""
    attributes = struct.pack("=QQQQ", plus, minus, 0, user_namespace)
    flags = _AT_EMPTY_PATH | (_AT_RECURSIVE if recursive else 0)
    libc.syscall("mount_setattr", descriptor, b"", flags, attributes, len(attributes))


def map_ids(source: int, user_namespace: int, *, recursive: bool) -> int:
    """A detached copy of the mount at ``source`` whose ids are mapped; bind it by its descriptor.

    Source: mount_setattr(2), "ID-mapped mounts". Raises OSError.
    """
    flags = 1 | os.O_CLOEXEC | _AT_EMPTY_PATH | (_AT_RECURSIVE if recursive else 0)
    tree = libc.syscall("open_tree", source, b"", flags)
    set_attributes(tree, _MOUNT_ATTR_IDMAP, 0, recursive=recursive, user_namespace=user_namespace)
    return tree


def move(descriptor: int, place: int) -> None:
    """move_mount(2): put the detached mount ``descriptor`` on ``place``. Raises OSError."""
    libc.syscall("move_mount", descriptor, b"", place, b"", 0x04 | 0x40)


def mount_at(
    fstype: str, source: str, target: str, flags: int, data: str, *, what: Mount | str = ""
) -> None:
    """mount(2), nothing else. Raises OSError that says what should have been mounted."""
    try:
        libc.call(
            "mount",
            os.fsencode(source) if source else None,
            os.fsencode(target),
            os.fsencode(fstype) if fstype else None,
            flags,
            os.fsencode(data) if data else None,
        )
    except OSError as error:
        shown = _describe(what) if isinstance(what, Mount) else what or f"{source} on {target}"
        text = f"mount {shown}: {os.strerror(error.errno or 0)}"
        raise OSError(error.errno, text) from None


def _describe(item: Mount) -> str:
    return f"{item.type} {item.source} on /{item.target.lstrip('/')} ({','.join(item.options)})"


def unmount(path: str | os.PathLike[str], *, detach: bool = False) -> None:
    """umount2(2). What is no mount point is no error. Raises OSError."""
    try:
        libc.call("umount2", os.fsencode(path), MNT_DETACH if detach else 0)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOENT):
            raise OSError(error.errno, os.strerror(error.errno or 0), os.fspath(path)) from None


def pivot_root(new: str, old: str) -> None:
    """pivot_root(2). Raises OSError."""
    libc.syscall("pivot_root", os.fsencode(new), os.fsencode(old))


@dataclass(frozen=True, slots=True, kw_only=True)
class MountEntry:
    """One line of proc_pid_mountinfo(5)."""

    id: int
    parent: int
    device: str
    root: str
    target: str
    options: tuple[str, ...]
    tags: tuple[str, ...]
    type: str
    source: str
    super_options: tuple[str, ...]


def mountinfo(pid: int | str = "self") -> list[MountEntry]:
    """The mounts that a process sees. Raises OSError."""
    text = Path(f"/proc/{pid}/mountinfo").read_text("utf-8", "surrogateescape")
    return [_parse_entry(line) for line in text.splitlines()]


def _parse_entry(line: str) -> MountEntry:
    head, _, tail = line.partition(" - ")
    number, parent, device, root, target, options, *tags = head.split(" ")
    fstype, source, super_options = [*tail.split(" ", 2), "", ""][:3]
    return MountEntry(
        id=int(number), parent=int(parent), device=device, root=_unescape(root),
        target=_unescape(target), options=tuple(options.split(",")), tags=tuple(tags),
        type=fstype, source=_unescape(source), super_options=tuple(super_options.split(",")),
    )  # fmt: skip


def _unescape(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)
