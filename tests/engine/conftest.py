"""An engine on a state directory of its own with the toolbox image, and what watches it leave."""

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
from workbench.engine.options import RunOptions
from workbench.engine.values import ContainerInfo
from workbench.events import Event, Output
from workbench.network.gate import Gate

Run = Callable[..., tuple[ContainerInfo, bytes, bytes]]


def end_launcher(root: Path) -> None:
    """Kill the launcher that serves this state directory, and wait until it has gone."""
    try:
        pid = int(json.loads((root / "run" / "launcher.json").read_text())["pid"])
        os.kill(pid, signal.SIGKILL)
    except (FileNotFoundError, ProcessLookupError):
        return
    deadline = time.monotonic() + 5
    while _lives(pid) and time.monotonic() < deadline:
        time.sleep(0.01)


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def end_warden(root: Path) -> None:
    """Let the network warden stop where one was started."""
    if (root / "run" / "warden.sock").exists():
        Gate(root).ask({"op": "stop"})


@pytest.fixture(scope="session")
def engine_root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A state directory whose processes end with the tests."""
    root = tmp_path_factory.mktemp("engine") / "root"
    yield root
    end_launcher(root)
    end_warden(root)


@pytest.fixture(scope="session")
def shared(engine_root: Path) -> Iterator[Engine]:
    """One engine for all tests, with the toolbox image."""
    with Engine.open(Config.load(root=engine_root, environment={})) as engine:
        engine.images.base("toolbox")
        yield engine


@pytest.fixture
def engine(shared: Engine) -> Iterator[Engine]:
    """The shared engine; containers that a test leaves are removed behind it."""
    yield shared
    for info in shared.containers.list(all=True):
        shared.containers.remove(info.id, force=True, volumes=True)


@pytest.fixture
def run(engine: Engine) -> Run:
    """Run a command in the toolbox without a network: how it ended, and its two streams."""

    def call(*command: str, **options: object) -> tuple[ContainerInfo, bytes, bytes]:
        said = {"stdout": b"", "stderr": b""}

        def report(event: Event) -> None:
            if isinstance(event, Output):
                said[event.stream] += event.data

        settings = {"image": "toolbox", "network": "none", **options}
        info = engine.containers.run(RunOptions(command=command, **settings), report=report)  # type: ignore[arg-type]
        return info, said["stdout"], said["stderr"]

    return call


def cgroups_of(id: str) -> list[Path]:
    """Every cgroup directory that bears a container's id."""
    found = []
    for top in Path("/sys/fs/cgroup").iterdir():
        found += [path for path in (top / "workbench" / id, top / id) if path.exists()]
    single = Path("/sys/fs/cgroup/workbench") / id
    return found + ([single] if single.exists() else [])


@pytest.fixture
def traces(engine: Engine) -> Callable[[str], list[str]]:
    """What is left of a container, by kind; empty when it has gone without a trace."""

    def look(id: str) -> list[str]:
        root = engine.config.root
        left = [f"row {info.id}" for info in engine.containers.list(all=True) if info.id == id]
        # os.walk, since Path.rglob stumbles over what vanishes while it looks.
        for folder, folders, files in os.walk(root):
            found = [f"{folder}/{name}" for name in (*folders, *files) if id in name]
            left += [path for path in found if "/locks/" not in path]
        left += [str(path) for path in cgroups_of(id)]
        mounts = Path("/proc/self/mountinfo").read_text().splitlines()
        return left + [line for line in mounts if id in line]

    return look
