"""The steps that concern mounts, devices and the root, as data; see ``steps.py``."""

from __future__ import annotations

from dataclasses import dataclass

from workbench.linux.mount import Mount
from workbench.oci.runtime_spec import ConsoleSize, Device, IDMapping
from workbench.runtime.steps import Step


@dataclass(frozen=True, slots=True)
class SetPropagation(Step):
    """``path`` is outside of the new root; ``option`` such as "rslave"."""

    path: str
    option: str
    call = "mount(MS_REC|...)"
    manual = "mount_namespaces(7)"

    def describe(self) -> str:
        return f"make the mounts below {self.path} {self.option}"


@dataclass(frozen=True, slots=True)
class SealParentMount(Step):
    """pivot_root(2) wants the mount that holds the new root to be private."""

    path: str
    call = "mount(MS_PRIVATE)"
    manual = "pivot_root(2)"

    def describe(self) -> str:
        return f"make the mount that holds {self.path} private"


@dataclass(frozen=True, slots=True)
class MountRoot(Step):
    """A mount of rootfs.json: on ``path`` itself where its target is empty."""

    mount: Mount
    path: str
    call = "mount()"
    manual = "mount(2)"

    def describe(self) -> str:
        where = self.mount.target or "the new root"
        return f"mount {self.mount.type} on {where}"


@dataclass(frozen=True, slots=True)
class BindRoot(Step):
    """A directory becomes a mount point, as pivot_root(2) asks."""

    path: str
    call = "mount(MS_BIND|MS_REC)"
    manual = "mount(2)"

    def describe(self) -> str:
        return f"bind {self.path} on itself"


@dataclass(frozen=True, slots=True)
class OpenRoot(Step):
    """From here on every path is resolved beneath this descriptor."""

    path: str
    call = "open(O_PATH)"
    manual = "openat2(2)"

    def describe(self) -> str:
        return f"open the new root {self.path}"


@dataclass(frozen=True, slots=True)
class MountInside(Step):
    """A mount of config.json; ``uid_mappings`` and ``gid_mappings`` make it ID-mapped."""

    mount: Mount
    uid_mappings: tuple[IDMapping, ...] = ()
    gid_mappings: tuple[IDMapping, ...] = ()
    call = "openat2(RESOLVE_IN_ROOT), mount()"
    manual = "mount(2)"

    def describe(self) -> str:
        source = f" {self.mount.source}" if self.mount.type == "bind" else ""
        options = ",".join(self.mount.options)
        return f"mount {self.mount.type}{source} on {self.mount.target} ({options})"


@dataclass(frozen=True, slots=True)
class MakeDirectory(Step):
    path: str
    call = "openat2(RESOLVE_IN_ROOT), mkdirat()"
    manual = "mkdir(2)"

    def describe(self) -> str:
        return f"make {self.path} where it is missing"


@dataclass(frozen=True, slots=True)
class MakeDevice(Step):
    """``bind`` takes the host's node instead: mknod is not for user namespaces."""

    device: Device
    bind: bool = False
    call = "mknodat()"
    manual = "mknod(2)"

    def describe(self) -> str:
        how = "bind the host's" if self.bind else "make the"
        return f"{how} device {self.device.path} ({self.device.type} {self._number()})"

    def _number(self) -> str:
        return f"{self.device.major}:{self.device.minor}"


@dataclass(frozen=True, slots=True)
class MakeLink(Step):
    path: str
    target: str
    call = "symlinkat()"
    manual = "symlink(2)"

    def describe(self) -> str:
        return f"link {self.path} -> {self.target}"


@dataclass(frozen=True, slots=True)
class OpenConsole(Step):
    """The master goes to the parent; the slave becomes 0, 1, 2 and /dev/console."""

    size: ConsoleSize | None = None
    bind: bool = True
    call = "open(/dev/pts/ptmx), ioctl(TIOCGPTPEER), ioctl(TIOCSCTTY)"
    manual = "pty(7)"

    def describe(self) -> str:
        return "open a terminal and make it ours"


@dataclass(frozen=True, slots=True)
class AdoptConsole(Step):
    """A terminal that was opened before the process existed."""

    call = "ioctl(TIOCSCTTY), dup2()"
    manual = "ioctl_tty(2)"

    def describe(self) -> str:
        return "make the terminal ours"


@dataclass(frozen=True, slots=True)
class MaskPath(Step):
    path: str
    call = "mount(MS_BIND /dev/null) or mount(tmpfs, ro)"
    manual = "mount(2)"

    def describe(self) -> str:
        return f"hide {self.path}"


@dataclass(frozen=True, slots=True)
class ReadonlyPath(Step):
    path: str
    call = "mount(MS_BIND), mount(MS_REMOUNT|MS_BIND|MS_RDONLY)"
    manual = "mount(2)"

    def describe(self) -> str:
        return f"make {self.path} read-only"


@dataclass(frozen=True, slots=True)
class RemountReadonly(Step):
    """The root, or a mount (such as /dev) that had to be filled first."""

    path: str
    call = "mount(MS_REMOUNT|MS_BIND|MS_RDONLY)"
    manual = "mount(2)"

    def describe(self) -> str:
        return f"remount {self.path} read-only"


@dataclass(frozen=True, slots=True)
class EnterRoot(Step):
    """``how`` is "pivot" (old root detached), "move" (MS_MOVE and chroot) or "chroot"."""

    path: str
    how: str = "pivot"
    call = "pivot_root(), umount2(MNT_DETACH)"
    manual = "pivot_root(2)"

    def describe(self) -> str:
        return f"enter the new root ({self.how})"


@dataclass(frozen=True, slots=True)
class RootPropagation(Step):
    option: str
    call = "mount()"
    manual = "mount_namespaces(7)"

    def describe(self) -> str:
        return f"make the new root {self.option}"
