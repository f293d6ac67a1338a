"""Programs of this host with their libraries, placed into a tree."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from workbench.engine.bases import elf
from workbench.engine.bases.libraries import Closure, find
from workbench.engine.bases.tree import Tree

SEARCHED: Final = ("/usr/local/bin", "/usr/bin", "/bin", "/usr/sbin", "/sbin")
"""Where the programs of a host are looked for."""


def locate(name: str, directories: Iterable[str] = SEARCHED) -> Path | None:
    """The program of that name, in the first directory that has one."""
    for directory in directories:
        path = Path(directory) / name
        if path.is_file() and path.stat().st_mode & 0o111:
            return path
    return None


def add_program(tree: Tree, closure: Closure, path: Path, name: str = "") -> None:
    """A program under ``usr/bin``; where it is a link, the file and a link to it."""
    real = path.resolve()
    wanted = name or path.name
    tree.file(f"usr/bin/{real.name}", real, 0o755)
    if wanted != real.name:
        tree.symlink(f"usr/bin/{wanted}", real.name)
    closure.include(real)


def add_libraries(tree: Tree, closure: Closure) -> None:
    """All libraries into the loader's own directory, and the loader to where programs want it.

    One directory, because a path written into a program for this host is not there in the image.
    """
    if not closure.interpreter:
        return
    loader = Path(closure.interpreter)
    tree.file(closure.interpreter, loader.resolve(), 0o755)
    directory = library_directory(closure)
    for name, path in sorted(closure.libraries.items()):
        tree.file(f"{directory}/{Path(name).name}", path.resolve(), 0o755)


def library_directory(closure: Closure) -> str:
    """The directory, relative to the root, that the loader looks into by itself: libc's."""
    loader = elf.read(Path(closure.interpreter).resolve())
    libc = closure.libraries.get("libc.so.6")
    if libc is None and loader is not None:
        libc = find("libc.so.6", loader.kind, ())
    if libc is None:  # musl: the loader is the C library
        return "usr/lib"
    place = str(libc.parent).strip("/")
    return place if place.startswith("usr/") else f"usr/{place}"
