"""``toolbox``: a shell and the usual tools, from busybox where there is one."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from workbench.engine.bases import elf
from workbench.engine.bases.libraries import LATE, Closure
from workbench.engine.bases.programs import SEARCHED, add_libraries, add_program, locate
from workbench.engine.bases.tree import LABEL, TITLE, BasePlan, Tree
from workbench.errors import Unsupported
from workbench.oci.image import ContainerConfig

PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_TOOLS: Final = (
    "sh bash ls cat cp mv rm ln mkdir rmdir touch chmod chown pwd ps id whoami env printenv echo "
    "true false test [ sleep date uname hostname head tail wc sort uniq cut tr tee seq expr "
    "basename dirname readlink realpath stat df du dd sync mktemp find xargs grep egrep sed awk "
    "tar gzip gunzip zcat sha256sum md5sum base64 od kill nice timeout mount umount which wget "
    "curl vi less more ip ping nproc printf yes"
)
_NEEDED: Final = ("sh", "ls", "cat")
_PASSWD: Final = """\
root:x:0:0:root:/root:/bin/sh
daemon:x:1:1:daemon:/usr/sbin:/bin/false
bin:x:2:2:bin:/bin:/bin/false
www-data:x:33:33:www-data:/var/www:/bin/false
nobody:x:65534:65534:nobody:/home:/bin/false
"""
_GROUP: Final = """\
root:x:0:
daemon:x:1:
bin:x:2:
tty:x:5:
disk:x:6:
wheel:x:10:
www-data:x:33:
users:x:100:
nogroup:x:65534:
"""
_NSSWITCH: Final = """\
passwd: files
group: files
shadow: files
hosts: files dns
networks: files
protocols: files
services: files
"""
_PROFILE: Final = f"""\
export PATH={PATH}
[ "$(id -u)" = 0 ] && PS1='# ' || PS1='$ '
"""
_TIMEOUT: Final = 10  # seconds


def plan(directories: Sequence[str] = SEARCHED) -> BasePlan:
    """Programs are looked for in ``directories``. Raises Unsupported when there is no shell."""
    tree = Tree.merged()
    made_from = add_tools(tree, directories)
    add_system_files(tree, name="Toolbox")
    return BasePlan(
        entries=tree.sorted(),
        config=ContainerConfig(
            env=(f"PATH={PATH}",), cmd=("sh",), working_dir="/", labels=labels("toolbox", made_from)
        ),
        labels=labels("toolbox", made_from),
        default_name="toolbox:latest",
    )


def labels(kind: str, made_from: str) -> dict[str, str]:
    """What every base says of itself."""
    return {TITLE: kind, f"{LABEL}.kind": kind, f"{LABEL}.made-from": made_from}


def add_tools(tree: Tree, directories: Sequence[str] = SEARCHED) -> str:
    """A shell and tools; what they came from. A dynamic busybox is not worth its libraries."""
    busybox = locate("busybox", directories)
    if busybox is not None and _is_static(busybox):
        tree.file("usr/bin/busybox", busybox.resolve(), 0o755)
        for applet in _applets(busybox):
            if not tree.has(applet):
                tree.symlink(applet, "/usr/bin/busybox")
        return "busybox of the host"
    return _add_host_tools(tree, directories)


def add_system_files(tree: Tree, *, name: str) -> None:
    """The files that programs expect in /etc."""
    tree.text("etc/passwd", _PASSWD)
    tree.text("etc/group", _GROUP)
    tree.text("etc/shadow", "root:*::0:::::\n", 0o640)
    tree.text("etc/nsswitch.conf", _NSSWITCH)
    tree.text("etc/profile", _PROFILE)
    tree.text("etc/shells", "/bin/sh\n")
    tree.text("etc/os-release", f'ID=workbench\nNAME="{name}"\nPRETTY_NAME="{name}"\n')


def _is_static(path: Path) -> bool:
    found = elf.read(path)
    return found is not None and found.static


def _applets(busybox: Path) -> tuple[str, ...]:
    """Paths of the applets, as ``busybox --list-full`` prints them; plain names go to usr/bin."""
    for option in ("--list-full", "--list"):
        run = subprocess.run(
            [busybox, option], capture_output=True, text=True, timeout=_TIMEOUT, check=False
        )
        names = run.stdout.split()
        if run.returncode == 0 and names:
            return tuple(name if "/" in name else f"usr/bin/{name}" for name in sorted(names))
    return ("usr/bin/sh",)


def _add_host_tools(tree: Tree, directories: Sequence[str]) -> str:
    found = {name: locate(name, directories) for name in _TOOLS.split()}
    lacking = [name for name in _NEEDED if found[name] is None]
    if lacking:
        raise Unsupported(
            f"a toolbox needs {', '.join(lacking)}, which this host does not have",
            hint="apt-get install busybox-static",
        )
    closure = Closure()
    for name, path in found.items():
        if path is not None:
            add_program(tree, closure, path, name)
    shell = found["sh"]
    kind = elf.read(shell.resolve()) if shell is not None else None
    if kind is not None and closure.interpreter:
        closure.include_named(LATE.split(), kind.kind)
    add_libraries(tree, closure)
    return "programs of the host"
