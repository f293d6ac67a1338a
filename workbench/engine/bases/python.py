"""``python:3.x-slim``: the interpreter that runs us, its library and pip, on top of a toolbox."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from workbench.engine.bases import elf, pip
from workbench.engine.bases.bytecode import compiled, is_usual
from workbench.engine.bases.interpreter import Interpreter, examine
from workbench.engine.bases.libraries import LATE, Closure
from workbench.engine.bases.programs import add_libraries, library_directory
from workbench.engine.bases.toolbox import add_system_files, add_tools, labels
from workbench.engine.bases.tree import BasePlan, Tree
from workbench.errors import Unsupported
from workbench.oci.image import ContainerConfig

PATH: Final = "/usr/local/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_LEFT_OUT: Final = frozenset(
    {"__pycache__", "site-packages", "dist-packages", "test", "tests", "idle_test", "idlelib",
     "tkinter", "turtledemo", "lib-tk"}
)  # fmt: skip
_LEFT_OUT_FILES: Final = frozenset({"EXTERNALLY-MANAGED", "turtle.py"})
_LEFT_OUT_MODULES: Final = ("_test", "_xx", "xxlimited", "_tkinter", "_ctypes_test")
_LEFT_OUT_SUFFIXES: Final = (".a", ".o", ".pyc", ".exe")
_TERMINFO: Final = ("/lib/terminfo", "/usr/share/terminfo", "/etc/terminfo")
_TERMINALS: Final = "d/dumb l/linux s/screen t/tmux-256color v/vt100 x/xterm x/xterm-256color"
_LOCALES: Final = Path("/usr/lib/locale/C.utf8")


def plan(interpreter: Path | None = None) -> BasePlan:
    """``interpreter`` is ours unless given. Raises Unsupported with what to install."""
    about = examine(interpreter or Path(sys.executable))
    tree, closure = Tree.merged(), Closure()
    # The interpreter goes first: busybox would claim none of its names, but a host's tools might.
    _add_interpreter(tree, closure, about)
    _add_library(tree, closure, about)
    pip.add(tree, about)
    _add_terminals(tree)
    _add_own_libraries(tree, closure, about)
    add_libraries(tree, closure)
    add_tools(tree)
    add_system_files(tree, name=f"Python {about.version}")
    made = labels("python", f"CPython {about.version} of the host")
    return BasePlan(
        entries=tree.sorted(),
        config=ContainerConfig(
            env=(f"PATH={PATH}", "LANG=C.UTF-8", f"PYTHON_VERSION={about.version}"),
            cmd=("python3",),
            working_dir="/",
            labels=made,
        ),
        labels=made,
        default_name=f"python:{about.series}-slim",
    )


def _add_interpreter(tree: Tree, closure: Closure, about: Interpreter) -> None:
    program = about.executable.resolve()
    kind = elf.read(program)
    if kind is None:
        raise Unsupported(
            f"{program} is no program that can be copied into an image",
            hint="start the workbench from a CPython of your system, pyenv, conda or uv",
        )
    name = f"python{about.series}"
    _add_binary(tree, f"{about.programs}/{name}", program)
    for link in ("python3", "python"):
        tree.symlink(f"{about.programs}/{link}", name)
    closure.include(program)
    closure.include_named(LATE.split(), kind.kind)


def _add_library(tree: Tree, closure: Closure, about: Interpreter) -> None:
    for path in _files(about.library):
        place = f"{about.destination(about.library)}/{path.relative_to(about.library)}"
        if path.suffix == ".so":
            _add_binary(tree, place, path)
            closure.include(path)
            continue
        tree.file(place, path, 0o644)
        if path.suffix == ".py" and is_usual(path, about):
            for cache, data in compiled(path.read_bytes(), place, about):
                tree.data(cache, data)
    tree.directory(about.packages)


def _add_own_libraries(tree: Tree, closure: Closure, about: Interpreter) -> None:
    """The libraries that came with the interpreter, such as its own libpython."""
    for name, path in sorted(closure.libraries.items()):
        if about.prefix != "/usr" and path.is_relative_to(about.prefix):
            _add_binary(tree, f"{library_directory(closure)}/{Path(name).name}", path.resolve())


def _add_binary(tree: Tree, place: str, path: Path) -> None:
    """A program or library of the interpreter, without debugging information."""
    data = elf.stripped(path)
    if data is None:
        tree.file(place, path, 0o755)
    else:
        tree.data(place, data, 0o755)


def _files(directory: Path) -> Iterator[Path]:
    """The files of the standard library that are of use in a container, in a fixed order."""
    for path in sorted(directory.iterdir()):
        if path.is_dir():
            if path.name not in _LEFT_OUT and not path.name.startswith("config-"):
                yield from _files(path)
        elif _is_wanted(path):
            yield path


def _is_wanted(path: Path) -> bool:
    if path.name in _LEFT_OUT_FILES or path.suffix in _LEFT_OUT_SUFFIXES:
        return False
    if path.suffix == ".so" and path.name.startswith(_LEFT_OUT_MODULES):
        return False
    return path.is_file()


def _add_terminals(tree: Tree) -> None:
    """Descriptions of usual terminals, for line editing, and the locale C.UTF-8."""
    for name in _TERMINALS.split():
        source = next((path for root in _TERMINFO if (path := Path(root, name)).is_file()), None)
        if source is not None:
            tree.file(f"usr/share/terminfo/{name}", source, 0o644)
    if _LOCALES.is_dir():
        for path in sorted(_LOCALES.rglob("*")):
            if path.is_file():
                tree.file(str(path), path, 0o644)
