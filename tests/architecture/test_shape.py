"""Sizes, docstrings and habits that the tree keeps."""

from __future__ import annotations

import ast
from fnmatch import fnmatch
from pathlib import Path

import pytest

from tests.architecture.law import ROOT, modules

MODULES = list(modules())
MAX_FUNCTION = 60
MAX_FILE = 500
FORBIDDEN_NAMES = {"utils.py", "util.py", "helpers.py", "helper.py", "common.py", "misc.py"}


def test_functions_stay_short() -> None:
    long = [
        f"{path}:{node.lineno} {node.name}"
        for path, tree in MODULES
        for node in ast.walk(tree)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        and (node.end_lineno or 0) - node.lineno + 1 > MAX_FUNCTION
    ]
    assert not long


def test_files_stay_small_and_have_a_name_of_their_own() -> None:
    wrong = [
        path
        for path, _ in MODULES
        if len((ROOT / path).read_text("utf-8").splitlines()) > MAX_FILE
        or Path(path).name in FORBIDDEN_NAMES
    ]
    assert not wrong


def test_every_package_says_what_it_is_for() -> None:
    missing = [
        path
        for path, tree in MODULES
        if path.endswith("__init__.py") and not (ast.get_docstring(tree) or "").strip()
    ]
    assert not missing


def test_every_module_opens_with_a_docstring() -> None:
    assert not [path for path, tree in MODULES if not ast.get_docstring(tree)]


def test_packages_of_the_core_say_where_to_start_reading() -> None:
    packages = [
        (path, ast.get_docstring(tree) or "")
        for path, tree in MODULES
        if path.endswith("__init__.py") and path.count("/") == 2 and path.startswith("workbench/")
    ]
    assert packages
    assert not [path for path, text in packages if "tart reading at" not in text]


@pytest.mark.parametrize("path,tree", MODULES, ids=[path for path, _ in MODULES])
def test_no_print_no_bare_except_and_one_reader_of_the_environment(
    path: str, tree: ast.Module
) -> None:
    wrong = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "print":
            wrong.append(f"{path}:{node.lineno} print")
        if isinstance(node, ast.ExceptHandler) and node.type is None:
            wrong.append(f"{path}:{node.lineno} bare except")
        reads = isinstance(node, ast.Attribute) and ast.unparse(node) in {"os.environ", "os.getenv"}
        if reads and path != "workbench/config.py":
            wrong.append(f"{path}:{node.lineno} reads the environment")
    assert not wrong


def test_no_folder_of_tests_is_passed_over(pytestconfig: pytest.Config) -> None:
    """pytest passes over folders named "build", among others, unless it is told not to."""
    passed_over = pytestconfig.getini("norecursedirs")
    folders = {path.parent for path in (ROOT / "tests").rglob("test_*.py")}
    names = {part for folder in folders for part in folder.relative_to(ROOT).parts}
    assert not [name for name in names for glob in passed_over if fnmatch(name, glob)]
