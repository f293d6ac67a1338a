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


# These fork inside the test's own process, as the runtime may only do without other threads; later
# tests leave some behind (pools, servers of sessions).
_FORKING = ("tests/linux/", "tests/runtime/", "tests/store/")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What forks comes first; the order stays as it was otherwise."""
    root = Path(__file__).resolve().parents[1]

    def late(item: pytest.Item) -> bool:
        return not item.path.relative_to(root).as_posix().startswith(_FORKING)

    items.sort(key=late)


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No test reads the user's own configuration, or writes the machine's own state directory."""
    monkeypatch.setenv("WORKBENCH_ROOT", str(tmp_path / "workbench-root"))
    monkeypatch.setenv("WORKBENCH_CONFIG", str(tmp_path / "no-config.toml"))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker-config"))
    monkeypatch.delenv("DOCKER_HOST", raising=False)
