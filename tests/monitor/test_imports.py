"""A monitor's memory is its imports: what may be loaded, and that the engine's side is light."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from workbench.monitor import version

HOME = Path(version.__file__).resolve().parents[2]
HEAVY = {
    "pandas", "numpy", "aiohttp", "asyncio", "sqlite3", "urllib.request", "urllib3", "http", "ssl",
    "email", "IPython", "click", "rich", "pyroute2", "matplotlib", "multiprocessing", "logging",
    "concurrent",
}  # fmt: skip


def loaded(module: str) -> set[str]:
    script = (
        f"import sys; old = set(sys.modules); import {module}; print(*(set(sys.modules) - old))"
    )
    run = subprocess.run(
        [sys.executable, "-c", script], cwd=HOME, capture_output=True, text=True, check=True
    )
    return set(run.stdout.split())


def test_the_launcher_loads_only_its_own_layers_and_nothing_heavy() -> None:
    names = loaded("workbench.monitor.launcher")
    assert not names & HEAVY
    parts = {name.split(".")[1] for name in names if name.startswith("workbench.")}
    assert parts <= {"errors", "oci", "linux", "runtime", "monitor"}


@pytest.mark.parametrize("module", ["workbench.monitor.client"])
def test_the_engines_side_does_not_load_the_runtime(module: str) -> None:
    assert not [name for name in loaded(module) if name.startswith("workbench.runtime")]


def test_nothing_is_imported_after_the_launcher_is_warm() -> None:
    script = (
        "import sys; from workbench.monitor import launcher; launcher.warm()\n"
        "from workbench.oci.runtime_spec import Spec, Process\n"
        "old = set(sys.modules)\n"
        "Spec.parse(Spec(process=Process(args=('x',))).to_bytes())\n"
        "print(*(set(sys.modules) - old))"
    )
    run = subprocess.run(
        [sys.executable, "-c", script], cwd=HOME, capture_output=True, text=True, check=True
    )
    assert run.stdout.split() == []
