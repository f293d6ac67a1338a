"""Where a Python interpreter of this host has its parts, and where they go in an image."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from workbench.errors import Unsupported

_QUESTION: Final = """
import importlib.util, json, sys, sysconfig
print(json.dumps({
    "version": "%d.%d.%d" % sys.version_info[:3],
    "executable": getattr(sys, "_base_executable", "") or sys.executable,
    "prefix": sys.base_prefix,
    "library": sysconfig.get_path("stdlib"),
    "packages": sysconfig.get_path("purelib"),
    "tag": sys.implementation.cache_tag or "",
    "magic": importlib.util.MAGIC_NUMBER.hex(),
}))
"""
_TIMEOUT: Final = 30  # seconds
_SYSTEM: Final = "/usr"
_LOCAL: Final = "usr/local"


@dataclass(frozen=True, slots=True, kw_only=True)
class Interpreter:
    """One CPython. ``library`` is the directory of its standard library on this host.

    ``packages`` and ``programs`` are directories of the image, relative to its root: for pip to
    install into, and for the interpreter itself. A distribution's own Python stays in ``/usr``,
    where its patched site module looks for packages; all others move to ``/usr/local``.
    """

    version: str
    executable: Path
    prefix: str
    library: Path
    packages: str
    tag: str
    magic: bytes

    @property
    def series(self) -> str:
        """Such as ``3.11``."""
        return ".".join(self.version.split(".")[:2])

    @property
    def programs(self) -> str:
        return "usr/bin" if self.prefix == _SYSTEM else f"{_LOCAL}/bin"

    @property
    def scripts(self) -> str:
        """The directory of pip and of what it installs."""
        return f"{_LOCAL}/bin"

    def destination(self, path: Path) -> str:
        """Where in the image a path below the prefix goes."""
        return _destination(self.prefix, str(path))


def examine(program: Path) -> Interpreter:
    """Ask an interpreter about the installation behind it (a virtual environment's base).

    Raises Unsupported when it cannot be asked.
    """
    answer = _ask(program)
    base = Path(answer["executable"])
    if base.resolve() != program.resolve() or answer["packages"].startswith(str(program.parent)):
        answer = _ask(base)
    return Interpreter(
        version=answer["version"],
        executable=Path(answer["executable"]),
        prefix=answer["prefix"],
        library=Path(answer["library"]),
        packages=_destination(answer["prefix"], answer["packages"]),
        tag=answer["tag"],
        magic=bytes.fromhex(answer["magic"]),
    )


def _destination(prefix: str, path: str) -> str:
    if prefix == _SYSTEM or not path.startswith(f"{prefix}/"):
        return path.strip("/")
    return f"{_LOCAL}/{path.removeprefix(prefix).strip('/')}"


def _ask(program: Path) -> dict[str, str]:
    try:
        run = subprocess.run(
            [program, "-I", "-S", "-c", _QUESTION],
            capture_output=True, text=True, timeout=_TIMEOUT, check=True,
        )  # fmt: skip
        answer: dict[str, str] = json.loads(run.stdout)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        raise Unsupported(
            f"the interpreter {program} does not say where its library is: {error}",
            hint="start the workbench from a CPython of your system, pyenv, conda or uv",
        ) from error
    return answer
