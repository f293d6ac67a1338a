"""Interrupting the kernel stops what runs, on the real engine, and leaves nothing behind."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager, start_new_kernel

ROOT = Path(__file__).resolve().parents[2]
BUILD = "%%dockerfile -t never\nFROM toolbox\nRUN sleep 97531"


@pytest.fixture
def kernel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[KernelManager, BlockingKernelClient]]:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("WORKBENCH_ROOT", str(tmp_path / "root"))
    manager, client = start_new_kernel(kernel_name="python3")
    client.execute_interactive("%load_ext magics", timeout=60)
    reply = client.execute_interactive("%base toolbox", timeout=60)
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


@pytest.mark.kernel
@pytest.mark.parametrize(
    "cell", ["%run_container --rm --network none toolbox sleep 97531", BUILD], ids=["run", "build"]
)
def test_an_interrupt_stops_it_within_two_seconds(
    kernel: tuple[KernelManager, BlockingKernelClient], tmp_path: Path, cell: str
) -> None:
    manager, client = kernel
    client.execute(cell)
    deadline = time.monotonic() + 30
    while not processes_with("sleep 97531") and time.monotonic() < deadline:
        time.sleep(0.05)
    assert processes_with("sleep 97531"), "it never began"
    began = time.monotonic()
    manager.interrupt_kernel()
    reply = client.get_shell_msg(timeout=10)
    spent = time.monotonic() - began
    assert reply["content"]["status"] == "error"
    assert reply["content"]["ename"] == "KeyboardInterrupt"
    assert spent < 2
    assert processes_with("sleep 97531") == []
    for folder in ("containers", "builds"):
        left = [path for path in (tmp_path / "root" / folder).iterdir() if len(path.name) == 64]
        assert left == []
