"""The table of magics is true: every module exists, and every magic explains itself."""

from __future__ import annotations

import subprocess
import sys

import pytest
from IPython.core.interactiveshell import InteractiveShell

from magics.perform import command_of
from magics.table import MAGICS, Entry

CASES = [
    (entry, cell)
    for entry in MAGICS
    for cell in (False, True)
    if (entry.kind != "line" if cell else entry.kind != "cell")
]


@pytest.mark.parametrize("entry,cell", CASES, ids=lambda value: getattr(value, "name", str(value)))
def test_every_magic_has_a_grammar_with_help(entry: Entry, cell: bool) -> None:
    parser = command_of(entry, cell=cell).parser()
    text = parser.format_help()
    assert "--output VAR" in text and parser.description
    assert all(action.help for action in parser._actions)


def test_loading_costs_nothing_and_imports_nothing_heavy() -> None:
    code = (
        "import sys, time; from IPython.core.interactiveshell import InteractiveShell\n"
        "shell = InteractiveShell.instance(); a = time.perf_counter(); import magics\n"
        "b = time.perf_counter(); shell.run_line_magic('load_ext', 'magics')\n"
        "c = time.perf_counter(); loaded = {'pandas', 'matplotlib', 'workbench.engine'}\n"
        "sys.stdout.write(f'{b - a} {c - b} {sorted(loaded & set(sys.modules))}')"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    imported, loaded, heavy = run.stdout.split(" ", 2)
    assert heavy == "[]"
    assert float(imported) < 0.05 and float(loaded) < 0.15


def test_unloading_takes_everything_away_and_gives_back(shell: InteractiveShell) -> None:
    assert shell.find_line_magic("history").entry.name == "history"
    shell.run_line_magic("unload_ext", "magics")
    assert shell.find_line_magic("images") is None
    assert shell.find_cell_magic("dockerfile") is None
    assert "HistoryMagics" in repr(shell.find_line_magic("history"))
    shell.run_line_magic("load_ext", "magics")
    assert shell.find_line_magic("images") is not None


def test_loading_twice_changes_nothing(shell: InteractiveShell) -> None:
    from magics.install import install, session_of

    before = session_of(shell)
    install(shell)
    assert session_of(shell) is before
