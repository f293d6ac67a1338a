"""What every test may use: a clean environment, and ``require`` for what a machine may lack."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest


def _require(condition: object, reason: str) -> None:
    """Skip with the reason; fail instead where WORKBENCH_REQUIRE=all promises everything."""
    if condition:
        return
    if os.environ.get("WORKBENCH_REQUIRE") == "all":
        pytest.fail(f"WORKBENCH_REQUIRE=all, but {reason}", pytrace=False)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def require() -> Callable[[object, str], None]:
    """``require(condition, reason)``: what follows needs the condition."""
    return _require


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("kernel") or item.get_closest_marker("network"):
        _require(os.geteuid() == 0, "needs root for namespaces, mounts and links")


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No test reads the user's own configuration, or writes the machine's own state directory."""
    monkeypatch.setenv("WORKBENCH_ROOT", str(tmp_path / "workbench-root"))
    monkeypatch.setenv("WORKBENCH_CONFIG", str(tmp_path / "no-config.toml"))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker-config"))
    monkeypatch.delenv("DOCKER_HOST", raising=False)
