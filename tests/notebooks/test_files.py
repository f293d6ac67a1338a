"""What lies beside the notebooks is whole: the wheel is as its script makes it, Binder sound."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import zipfile
from pathlib import Path
from types import ModuleType

import nbformat
import pytest

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


@pytest.fixture
def make_wheel() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "make_wheel", ROOT / "notebooks" / "make_wheel.py"
    )
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_wheel_is_what_its_script_makes(make_wheel: ModuleType, tmp_path: Path) -> None:
    kept = ROOT / "notebooks/quickstart-app/wheels" / make_wheel.FILE
    assert make_wheel.make(tmp_path).read_bytes() == kept.read_bytes()


def test_the_wheel_installs_a_module_that_works(make_wheel: ModuleType, tmp_path: Path) -> None:
    with zipfile.ZipFile(make_wheel.make(tmp_path)) as archive:
        names = archive.namelist()
        source = archive.read("postcard.py").decode()
    assert names[-1].endswith(".dist-info/RECORD")
    namespace: dict[str, object] = {}
    exec(compile(source, "postcard.py", "exec"), namespace)  # noqa: S102 - our own text
    lines = namespace["card"]("one\n" + "x" * 99).splitlines()  # type: ignore[operator]
    assert len({len(line) for line in lines}) == 1 and "one" in lines[2]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_notebooks_are_valid_and_carry_no_outputs(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert cell.outputs == [] and cell.execution_count is None


@pytest.mark.parametrize("name", ["postBuild", "start"])
def test_binders_scripts_are_executable_shell(name: str) -> None:
    path = ROOT / "binder" / name
    assert path.stat().st_mode & 0o111
    subprocess.run(["bash", "-n", str(path)], check=True)


def test_binder_opens_a_notebook_that_is_there() -> None:
    settings = json.loads((ROOT / "binder/jupyter_server_config.json").read_text("utf-8"))
    url = settings["LabApp"]["default_url"]
    assert (ROOT / url.removeprefix("/lab/tree/")).is_file()
