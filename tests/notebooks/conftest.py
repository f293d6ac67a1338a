"""Notebooks as files, copies of them to run in, and a JupyterLab to open them with."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def folder(real_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of ``notebooks/``, whose kernels import this tree."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    target = tmp_path / "notebooks"
    shutil.copytree(
        ROOT / "notebooks", target, ignore=shutil.ignore_patterns("my-app", ".ipynb_checkpoints")
    )
    return target
