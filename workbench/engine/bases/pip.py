"""pip for an image: from the wheel that ensurepip carries, or copied from where it is installed."""

from __future__ import annotations

import importlib.util
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from workbench.engine.bases.bytecode import compiled
from workbench.engine.bases.interpreter import Interpreter
from workbench.engine.bases.tree import Tree
from workbench.errors import Unsupported

_DEBIAN_WHEELS: Final = Path("/usr/share/python-wheels")
_MAX_WHEEL: Final = 64 << 20  # bytes, unpacked
_SCRIPT: Final = """\
#!/{interpreter}
import re
import sys
from pip._internal.cli.main import main

if __name__ == "__main__":
    sys.argv[0] = re.sub(r"(-script\\.pyw|\\.exe)?$", "", sys.argv[0])
    sys.exit(main())
"""
_WITH_SETUPTOOLS: Final = (3, 11)  # the last series whose users expect it to be there


def add(tree: Tree, about: Interpreter) -> None:
    """Put pip where the interpreter finds it, and its commands on the path.

    Raises Unsupported when this host has none.
    """
    wheels = tuple(_wheels(about))
    if any(wheel.name.startswith("pip-") for wheel in wheels):
        for wheel in wheels:
            _unpack(tree, wheel, about)
    else:
        _copy_installed(tree, about)
    script = _SCRIPT.format(interpreter=f"{about.programs}/python{about.series}")
    for name in ("pip", "pip3", f"pip{about.series}"):
        tree.text(f"{about.scripts}/{name}", script, 0o755)


def _wheels(about: Interpreter) -> Iterator[Path]:
    names = ["pip"]
    if tuple(map(int, about.series.split("."))) <= _WITH_SETUPTOOLS:
        names += ["setuptools", "wheel"]
    for name in names:
        for directory in (about.library / "ensurepip/_bundled", _DEBIAN_WHEELS):
            found = sorted(directory.glob(f"{name}-*.whl"))
            if found:
                yield found[-1]
                break


def _unpack(tree: Tree, wheel: Path, about: Interpreter) -> None:
    """A pure wheel is its own installed form, but for scripts and who installed it."""
    with zipfile.ZipFile(wheel) as archive:
        infos = [info for info in archive.infolist() if not info.is_dir()]
        if sum(info.file_size for info in infos) > _MAX_WHEEL:
            raise Unsupported(f"{wheel} is too large to be pip")
        for info in infos:
            parts = Path(info.filename).parts
            if ".." not in parts and not info.filename.startswith("/"):
                _place(tree, f"{about.packages}/{info.filename}", archive.read(info), about)
                if parts[-1] == "WHEEL":
                    tree.text(f"{about.packages}/{parts[0]}/INSTALLER", "pip\n")


def _place(tree: Tree, place: str, data: bytes, about: Interpreter) -> None:
    """A file, and its compiled form where it is one of pip's own modules."""
    tree.data(place, data)
    if place.startswith(f"{about.packages}/pip/") and place.endswith(".py"):
        for cache, code in compiled(data, place, about):
            tree.data(cache, code)


def _copy_installed(tree: Tree, about: Interpreter) -> None:
    found = importlib.util.find_spec("pip")
    if found is None or found.origin is None:
        raise Unsupported(
            "this Python has no pip, and no wheel to make it from",
            hint="apt-get install python3-pip-whl python3-setuptools-whl, or python -m ensurepip",
        )
    package = Path(found.origin).parent
    for root in (package, *sorted(package.parent.glob("pip-*.dist-info"))):
        for path in sorted(root.rglob("*")):
            if path.is_file() and path.suffix != ".pyc":
                place = f"{about.packages}/{path.relative_to(package.parent)}"
                _place(tree, place, path.read_bytes(), about)
