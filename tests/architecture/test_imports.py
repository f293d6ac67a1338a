"""The import table and the doors of ``law.py``, held against the code."""

from __future__ import annotations

import ast
import subprocess
import sys

import pytest

from tests.architecture.law import DOORS, MAY_IMPORT, ROOT, imports, modules, part

MODULES = list(modules())


def test_every_part_stands_in_the_table() -> None:
    parts = {part(path) for path, _ in MODULES if path.startswith("workbench/")}
    assert parts - {"__init__"} <= set(MAY_IMPORT)


@pytest.mark.parametrize("path,tree", MODULES, ids=[path for path, _ in MODULES])
def test_parts_import_only_what_the_table_allows(path: str, tree: ast.Module) -> None:
    wrong = []
    for name, line in imports(tree):
        pieces = name.split(".")
        if pieces[0] != "workbench" or len(pieces) < 2:
            continue
        if path.startswith("magics/"):
            allowed = pieces[1] in {"Engine", "RunOptions", "errors", "events"} or len(pieces) == 2
        elif path == "workbench/__init__.py":
            allowed = True
        else:
            allowed = pieces[1] in MAY_IMPORT[part(path)] | {part(path), "__version__"}
        if not allowed:
            wrong.append(f"{path}:{line} imports {name}")
    assert not wrong


@pytest.mark.parametrize("path,tree", MODULES, ids=[path for path, _ in MODULES])
def test_outside_things_have_one_door(path: str, tree: ast.Module) -> None:
    wrong = [
        f"{path}:{line} imports {name}, whose door is {DOORS[name.split('.')[0]]}"
        for name, line in imports(tree)
        if name.split(".")[0] in DOORS and not path.startswith(DOORS[name.split(".")[0]])
    ]
    assert not wrong


def _loaded_by(statement: str) -> set[str]:
    code = f"{statement}; import sys; sys.stdout.write(' '.join(sys.modules))"
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return set(run.stdout.split())


def test_the_top_level_loads_nothing_heavy() -> None:
    loaded = _loaded_by("import workbench, magics")
    assert not loaded & {"sqlite3", "aiohttp", "urllib3", "pandas", "click", "IPython", "ctypes"}


def test_the_launcher_loads_no_more_than_a_monitor_needs() -> None:
    loaded = _loaded_by("import workbench.monitor.launcher")
    assert not loaded & {"sqlite3", "aiohttp", "urllib3", "pandas", "click", "asyncio", "email"}
