"""What every test may use: a clean environment, and ``require`` for what a machine may lack."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from workbench.config import Config
from workbench.engine import Engine
from workbench.network.addresses import parse_subnet
from workbench.network.bridge import BridgeDriver
from workbench.network.driver import Network
from workbench.network.gate import Gate


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


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A skip that did not go through ``require`` breaks WORKBENCH_REQUIRE=all as well."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = reporter.stats.get("skipped", []) if reporter else []
    if skipped and os.environ.get("WORKBENCH_REQUIRE") == "all":
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No test reads the user's own configuration, or writes the machine's own state directory."""
    monkeypatch.setenv("WORKBENCH_ROOT", str(tmp_path / "workbench-root"))
    monkeypatch.setenv("WORKBENCH_CONFIG", str(tmp_path / "no-config.toml"))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker-config"))
    monkeypatch.delenv("DOCKER_HOST", raising=False)


@pytest.fixture
def real_root(_clean_environment: None, tmp_path: Path) -> Iterator[Path]:
    """The state directory of a test that runs the real engine in processes of its own.

    What would outlive them goes with the test: containers, bridges, the launcher and the warden.
    """
    root = tmp_path / "workbench-root"
    yield root
    if not root.exists():
        return
    with Engine.open(Config.load(root=root, environment={})) as engine:
        for info in engine.containers.list(all=True):
            engine.containers.remove(info.id, force=True)
        _remove_bridges(engine)
    if (root / "run" / "warden.sock").exists():
        Gate(root).ask({"op": "stop"})
    _end_launcher(root)


def _remove_bridges(engine: Engine) -> None:
    """Also the default one, which the engine itself keeps for the next container."""
    driver = BridgeDriver(engine.config.root, Gate(engine.config.root))
    for info in engine.networks.list():
        pairs = zip(info.subnets, info.gateways, strict=False)
        subnets = tuple(parse_subnet(subnet, gateway=gateway) for subnet, gateway in pairs)
        if info.driver == "bridge" and subnets:
            driver.delete(
                Network(id=info.id, name=info.name, subnets=subnets, options=info.options)
            )
    driver.tidy()
    driver.close()


def _end_launcher(root: Path) -> None:
    try:
        pid = int(json.loads((root / "run" / "launcher.json").read_text("utf-8"))["pid"])
        os.kill(pid, signal.SIGKILL)
    except (FileNotFoundError, ProcessLookupError):
        return
    deadline = time.monotonic() + 5
    while Path(f"/proc/{pid}/exe").is_symlink() and time.monotonic() < deadline:
        time.sleep(0.01)
