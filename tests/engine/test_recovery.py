"""Engines that are killed in the middle of their work, and the next one that repairs."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from workbench.config import Config
from workbench.engine import Engine

pytestmark = pytest.mark.kernel
TREE = Path(__file__).resolve().parents[2]

PROGRAM = """
import os, sys
from pathlib import Path
from workbench.config import Config
from workbench.engine import Engine, creation
from workbench.engine.options import RunOptions
from workbench.runtime.bundle import Bundle

engine = Engine.open(Config.load(root=Path(sys.argv[1]), environment={}))
if sys.argv[2] == "row":
    creation.Creator._make = lambda *_: os.kill(os.getpid(), 9)
if sys.argv[2] == "files":
    Bundle.write = lambda *_: os.kill(os.getpid(), 9)
if sys.argv[2] == "build":
    engine.builds.build(
        None, dockerfile="FROM toolbox\\nRUN echo go; sleep 6541\\n",
        report=lambda event: print(type(event).__name__, flush=True),
    )
engine.containers.run(
    RunOptions(image="toolbox", command=("sh", "-c", "echo go; sleep 60"), network="none",
               name="victim", remove=True),
    report=lambda event: print("Output", flush=True),
)
"""


def _program(root: Path, place: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(root), place],
        cwd=TREE,
        stdout=subprocess.PIPE,
        text=True,
    )


def _killed_at(root: Path, place: str, word: str = "") -> None:
    """Let it come to a place and die there by SIGKILL."""
    with _program(root, place) as process:
        assert process.stdout is not None
        if word:
            for line in process.stdout:
                if word in line:
                    break
            process.send_signal(signal.SIGKILL)
        process.wait(20)
    assert process.returncode == -signal.SIGKILL


def _left(engine: Engine) -> list[str]:
    """Rows, directories, active snapshots, cgroups and mounts of what is gone."""
    root = engine.config.root
    rows = [info.id for info in engine.containers.list(all=True)]
    files = [path.name for name in ("containers", "builds") for path in (root / name).iterdir()]
    snapshots = [
        path.name
        for path in (root / "snapshots").rglob("*")
        if path.name.startswith("build ") or len(path.name) == 64
        if path.parent.name in ("active", "snapshots")
    ]
    mounts = Path("/proc/self/mountinfo").read_text()
    return rows + files + snapshots + ([str(root)] if str(root) in mounts else [])


def _until(condition: Callable[[], object], seconds: float = 5.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to that in time"
        time.sleep(0.05)


def _actives(engine: Engine) -> list[str]:
    return [info.key for info in engine._recovery._snapshotter.walk() if info.kind.name == "ACTIVE"]


@pytest.mark.parametrize("place", ["row", "files"])
def test_a_creation_that_was_cut_off_is_undone(engine: Engine, place: str) -> None:
    _killed_at(engine.config.root, place)
    assert [info.name for info in engine.containers.list(all=True)] == ["victim"]
    with Engine.open(Config.load(root=engine.config.root, environment={})) as fresh:
        assert _left(fresh) == []
        assert _actives(fresh) == []


def test_a_foreground_run_dies_with_its_engine(
    engine: Engine, traces: Callable[[str], list[str]]
) -> None:
    _killed_at(engine.config.root, "run", "Output")
    ids = [path.name for path in (engine.config.root / "containers").iterdir()]
    _until(lambda: engine.containers.list() == ())
    with Engine.open(Config.load(root=engine.config.root, environment={})):
        _until(lambda: not [trace for id in ids for trace in traces(id)])


def test_a_build_dies_with_its_engine(engine: Engine) -> None:
    _killed_at(engine.config.root, "build", "StepOutput")
    _until(lambda: b"sleep\x006541" not in _commands())
    with Engine.open(Config.load(root=engine.config.root, environment={})) as fresh:
        assert _left(fresh) == []
        assert _actives(fresh) == []


def _commands() -> bytes:
    found = b""
    for entry in os.listdir("/proc"):  # noqa: PTH208
        if entry.isdecimal():
            with contextlib.suppress(OSError):
                found += Path("/proc", entry, "cmdline").read_bytes()
    return found


def test_one_that_is_being_made_is_left_alone(engine: Engine) -> None:
    slow = PROGRAM.replace(
        "lambda *_: os.kill(os.getpid(), 9)",
        "lambda *_: (print('Making', flush=True), sys.stdin.read(), os._exit(0))",
    )
    command = [sys.executable, "-c", slow, str(engine.config.root), "row"]
    with subprocess.Popen(
        command, cwd=TREE, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "Making\n"
        with Engine.open(Config.load(root=engine.config.root, environment={})) as fresh:
            assert [info.name for info in fresh.containers.list(all=True)] == ["victim"]
    with Engine.open(Config.load(root=engine.config.root, environment={})) as fresh:
        assert fresh.containers.list(all=True) == ()
