"""The law of the tree: who may import whom, and which door leads to which outside thing."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

_ALL = {
    "errors", "config", "events", "transfer", "oci", "linux", "store", "registry", "network",
    "runtime", "monitor", "build", "state", "analysis",
}  # fmt: skip

# The table is the rule: a part of the left may import the parts of the right, and itself.
MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "config": {"errors"},
    "oci": {"errors"},
    "linux": {"errors", "oci"},
    "events": {"errors", "oci"},
    "transfer": {"errors", "oci", "events"},
    "store": {"errors", "oci", "events", "linux"},
    "network": {"errors", "linux"},
    "registry": {"errors", "oci", "events"},
    "runtime": {"errors", "oci", "linux"},
    "monitor": {"errors", "oci", "linux", "runtime"},
    "build": {"errors", "oci", "events", "store", "linux"},
    "state": {"errors", "oci"},
    "analysis": {"errors", "oci", "events", "store"},
    "engine": _ALL,
    "api": {"errors", "config", "events", "engine", "oci"},
    "cli": {"errors", "config", "events", "engine", "oci", "api"},
}

# An outside module, and the only places that may import it.
DOORS: dict[str, tuple[str, ...]] = {
    "ctypes": ("workbench/linux/libc.py",),
    "sqlite3": ("workbench/state/",),
    "pyroute2": ("workbench/network/netlink.py",),
    "urllib3": ("workbench/registry/http.py",),
    "click": ("workbench/cli/",),
    "rich": ("workbench/cli/",),
    "aiohttp": ("workbench/api/",),
    "asyncio": ("workbench/api/",),
    "IPython": ("magics/",),
    "ipywidgets": ("magics/",),
    "anywidget": ("magics/",),
    "matplotlib": ("magics/charts/",),
}


def modules() -> Iterator[tuple[str, ast.Module]]:
    """Every module of the product: its path from the root, and its syntax tree."""
    for package in ("workbench", "magics"):
        for path in sorted((ROOT / package).rglob("*.py")):
            yield path.relative_to(ROOT).as_posix(), ast.parse(path.read_text("utf-8"))


def imports(tree: ast.Module, *, runtime_only: bool = False) -> Iterator[tuple[str, int]]:
    """Every absolute module name that is imported, with its line."""
    skipped = set(_type_checking(tree)) if runtime_only else set()
    for node in ast.walk(tree):
        if node in skipped:
            continue
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module, node.lineno
            for alias in node.names:
                yield f"{node.module}.{alias.name}", node.lineno


def _type_checking(tree: ast.Module) -> Iterator[ast.AST]:
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            for child in node.body:
                yield from ast.walk(child)


def part(path: str) -> str:
    """The part of the table that a file belongs to."""
    return Path(path).parts[1].removesuffix(".py")
