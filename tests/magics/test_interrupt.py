"""Interrupting the kernel stops what runs, on the real engine, and leaves nothing behind."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager, start_new_kernel

ROOT = Path(__file__).resolve().parents[2]
CGROUPS = Path("/sys/fs/cgroup")
# Of this run of the tests alone: another one may go on beside it.
SLEEP = f"sleep {10_000_000 + os.getpid()}"
RUN = f"%run_container --rm --network none toolbox {SLEEP}"
BUILD = f"%%dockerfile -t never\nFROM toolbox\nRUN {SLEEP}"


@pytest.fixture
def kernel(
    real_root: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[KernelManager, BlockingKernelClient]]:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    manager, client = start_new_kernel(kernel_name="python3")
    client.execute_interactive("%load_ext magics", timeout=180)
    reply = client.execute_interactive("%base toolbox", timeout=180)
    assert reply["content"]["status"] == "ok", reply["content"]
    yield manager, client
    client.stop_channels()
    manager.shutdown_kernel(now=True)


def processes_with(word: str) -> list[str]:
    """Command lines that hold a word; processes come and go while we look."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
        except OSError:
            continue
        if word in line:
            found.append(line)
    return found


def identities(root: Path) -> list[str]:
    """Containers and steps of builds that have a run directory."""
    folders = [root / "containers", root / "builds"]
    paths = [path for folder in folders if folder.is_dir() for path in folder.iterdir()]
    return [path.name for path in paths if len(path.name) == 64]


def traces(id: str) -> list[str]:
    """Processes, mounts and cgroups that bear a container's id."""
    mounts = Path("/proc/self/mountinfo").read_text("utf-8").splitlines()
    found = [line for line in mounts if id in line] + processes_with(id)
    for top in (CGROUPS, *CGROUPS.iterdir()):
        places = (top / parent / id for parent in ("workbench", "workbench/builds"))
        found += [str(path) for path in places if path.exists()]
    return found


@pytest.mark.kernel
@pytest.mark.parametrize("cell", [RUN, BUILD], ids=["run", "build"])
def test_an_interrupt_stops_it_within_two_seconds(
    kernel: tuple[KernelManager, BlockingKernelClient], real_root: Path, cell: str
) -> None:
    manager, client = kernel
    client.execute(cell)
    deadline = time.monotonic() + 120
    while not processes_with(SLEEP) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert processes_with(SLEEP), "it never began"
    running = identities(real_root)
    assert len(running) == 1
    assert traces(running[0]) != [], "a running container has a cgroup"
    began = time.monotonic()
    manager.interrupt_kernel()
    reply = client.get_shell_msg(timeout=10)
    spent = time.monotonic() - began
    assert reply["content"]["status"] == "error"
    assert reply["content"]["ename"] == "KeyboardInterrupt"
    assert spent < 2
    assert processes_with(SLEEP) == []
    assert identities(real_root) == []
    # What settles the container's end in the background takes a moment more.
    deadline = time.monotonic() + 30
    while traces(running[0]) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert traces(running[0]) == []
