"""How the steps that concern the file system are performed.

All of them come before the change of the root. The host's /proc is still there, so a target is
opened beneath the new root and then named by /proc/self/fd/N, which no link in the image can lead
astray (the classes of CVE-2019-19921 and CVE-2021-30465); what hides paths is bound from the
host's own devices, not from what lies in the image (CVE-2025-31133).
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import Final

from workbench.linux import mount, pty
from workbench.linux.mount import MS_BIND, MS_PRIVATE, MS_RDONLY, MS_REC, Mount
from workbench.linux.safe_path import make_directories, make_file, open_beneath
from workbench.runtime import steps
from workbench.runtime.idmap import user_namespace_for
from workbench.runtime.scene import Scene

_KINDS: Final = {"c": stat.S_IFCHR, "u": stat.S_IFCHR, "b": stat.S_IFBLK, "p": stat.S_IFIFO}


def _fd(descriptor: int) -> str:
    return f"/proc/self/fd/{descriptor}"


def set_propagation(step: steps.SetPropagation, scene: Scene) -> None:
    mount.mount_at("", "", step.path, mount.PROPAGATION[step.option], "")


def seal_parent_mount(step: steps.SealParentMount, scene: Scene) -> None:
    """The mount is found by going up: the first directory that takes the flag is its root."""
    path = os.path.realpath(step.path)
    while True:
        try:
            mount.mount_at("", "", path, MS_PRIVATE, "")
            return
        except OSError as error:
            if error.errno != errno.EINVAL or path == "/":
                raise
        path = str(Path(path).parent)


def mount_root(step: steps.MountRoot, scene: Scene) -> None:
    mount.mount(step.mount, step.path)


def bind_root(step: steps.BindRoot, scene: Scene) -> None:
    mount.mount_at("", step.path, step.path, MS_BIND | MS_REC, "")


def open_root(step: steps.OpenRoot, scene: Scene) -> None:
    scene.root = os.open(step.path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)


def mount_inside(step: steps.MountInside, scene: Scene) -> None:
    """In Docker's words when it fails, since users search for them."""
    item = step.mount
    try:
        if step.uid_mappings:
            _mount_mapped(step, scene)
        else:
            mount.mount(item, scene.root)
    except OSError as error:
        text = f'error mounting "{item.source}" to rootfs at "{item.target}": {error.strerror}'
        raise OSError(error.errno, text) from None


def _mount_mapped(step: steps.MountInside, scene: Scene) -> None:
    """A bind whose ids are shifted: a detached copy gets the map, and is then put in place."""
    options = mount.parse_options(step.mount.options)
    source = mount.open_source(step.mount.source)
    is_directory = stat.S_ISDIR(os.fstat(source).st_mode)
    make = make_directories if is_directory else make_file
    place = make(scene.root, step.mount.target)
    holder = user_namespace_for(step.uid_mappings, step.gid_mappings)
    try:
        tree = mount.map_ids(source, holder, recursive=options.idmap == "ridmap")
        mount.move(tree, place)
        os.close(tree)
    finally:
        for descriptor in (source, place, holder):
            os.close(descriptor)
    mount.finish(scene.root, step.mount.target, options, is_bind=True, what=step.mount.source)


def make_directory(step: steps.MakeDirectory, scene: Scene) -> None:
    try:
        os.close(make_directories(scene.root, step.path))
    except (FileExistsError, NotADirectoryError):
        text = f'chdir to cwd ("{step.path}") set in config.json failed: not a directory'
        raise OSError(errno.ENOTDIR, text) from None
    except OSError as error:
        if error.errno != errno.EROFS:
            raise


def make_device(step: steps.MakeDevice, scene: Scene) -> None:
    """The host's node is bound where mknod(2) is refused, whether that was foreseen or not."""
    device = step.device
    head, _, name = device.path.rpartition("/")
    parent = make_directories(scene.root, head or "/")
    try:
        if step.bind or not _mknod(step, parent, name):
            _bind_device(device.path, scene)
    finally:
        os.close(parent)


def _mknod(step: steps.MakeDevice, parent: int, name: str) -> bool:
    """False where it is not permitted. What stands there and is not the same gives way."""
    device = step.device
    mode = _KINDS[device.type] | (0o666 if device.file_mode is None else device.file_mode & 0o7777)
    number = os.makedev(device.major, device.minor)
    try:
        os.mknod(name, mode, number, dir_fd=parent)
    except FileExistsError:
        present = os.stat(name, dir_fd=parent, follow_symlinks=False)
        if stat.S_IFMT(present.st_mode) == _KINDS[device.type] and present.st_rdev == number:
            return True
        os.unlink(name, dir_fd=parent)
        os.mknod(name, mode, number, dir_fd=parent)
    except PermissionError:
        return False
    node = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    try:
        Path(_fd(node)).chmod(stat.S_IMODE(mode))
        os.chown(_fd(node), device.uid or 0, device.gid or 0)
    finally:
        os.close(node)
    return True


def _bind_device(path: str, scene: Scene) -> None:
    mount.mount(Mount(type="bind", source=path, target=path, options=("bind",)), scene.root)


def make_link(step: steps.MakeLink, scene: Scene) -> None:
    """An image may bring its own /dev, with whatever it put there."""
    head, _, name = step.path.rpartition("/")
    parent = open_beneath(scene.root, head or "/", os.O_PATH | os.O_DIRECTORY)
    try:
        os.symlink(step.target, name, dir_fd=parent)
    except FileExistsError:
        present = os.stat(name, dir_fd=parent, follow_symlinks=False)
        if step.path == "/dev/ptmx" and not stat.S_ISDIR(present.st_mode):
            os.unlink(name, dir_fd=parent)
            os.symlink(step.target, name, dir_fd=parent)
    finally:
        os.close(parent)


def open_console(step: steps.OpenConsole, scene: Scene) -> None:
    """The slave is bound by its descriptor: nobody can have changed what it names."""
    master, slave = pty.open_pty(scene.root, "/dev/pts/ptmx")
    if step.size:
        pty.set_size(master, step.size.height, step.size.width)
    if step.bind:
        place = make_file(scene.root, "/dev/console", 0o620)
        try:
            mount.mount_at("", _fd(slave), _fd(place), MS_BIND, "")
        finally:
            os.close(place)
    scene.console = (master, slave)
    adopt_console(steps.AdoptConsole(), scene)


def adopt_console(step: steps.AdoptConsole, scene: Scene) -> None:
    """Make the slave our terminal and standard streams; give the master to the parent."""
    master, slave = scene.console
    pty.make_controlling(slave)
    for number in range(3):
        os.dup2(slave, number)
    os.close(slave)
    scene.channel.send_descriptor("console", master)
    os.close(master)


def _existing(path: str, scene: Scene) -> int | None:
    try:
        return open_beneath(scene.root, path, os.O_PATH)
    except (FileNotFoundError, NotADirectoryError):
        return None


def mask_path(step: steps.MaskPath, scene: Scene) -> None:
    place = _existing(step.path, scene)
    if place is None:
        return
    try:
        if stat.S_ISDIR(os.fstat(place).st_mode):
            mount.mount_at("tmpfs", "tmpfs", _fd(place), MS_RDONLY, "size=0k,nr_inodes=1")
        else:
            mount.mount_at("", "/dev/null", _fd(place), MS_BIND, "")
    finally:
        os.close(place)


def readonly_path(step: steps.ReadonlyPath, scene: Scene) -> None:
    place = _existing(step.path, scene)
    if place is None:
        return
    try:
        mount.mount_at("", _fd(place), _fd(place), MS_BIND | MS_REC, "")
    finally:
        os.close(place)
    _remount_readonly(step.path, scene)


def _remount_readonly(path: str, scene: Scene) -> None:
    place = open_beneath(scene.root, path, os.O_PATH)
    try:
        mount.remount_bind(_fd(place), MS_RDONLY)
    finally:
        os.close(place)


def remount_readonly(step: steps.RemountReadonly, scene: Scene) -> None:
    _remount_readonly(step.path, scene)


def enter_root(step: steps.EnterRoot, scene: Scene) -> None:
    """Afterwards nothing of the host's file system is reachable; descriptors are closed."""
    if step.how == "pivot":
        old = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        os.fchdir(scene.root)
        mount.pivot_root(".", ".")
        os.fchdir(old)
        mount.mount_at("", "", ".", mount.MS_SLAVE | MS_REC, "")
        mount.unmount(".", detach=True)
        os.close(old)
    else:
        os.fchdir(scene.root)
        if step.how == "move":
            mount.mount_at("", ".", "/", mount.MS_MOVE, "")
        os.chroot(".")
    os.chdir("/")
    scene.close_root()


def root_propagation(step: steps.RootPropagation, scene: Scene) -> None:
    mount.mount_at("", "", "/", mount.PROPAGATION[step.option], "")
