"""A shell in this process and a real kernel, both with the engine in memory."""

from __future__ import annotations

import queue
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell
from jupyter_client.manager import KernelManager

ROOT = Path(__file__).resolve().parents[2]
FAKES = Path(__file__).parent / "fakes"
sys.path.insert(0, str(FAKES))

from fake_engine import FakeEngine  # noqa: E402 - its folder is no package


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch) -> Iterator[InteractiveShell]:
    """A shell of IPython with the extension loaded; not a kernel, so as in a terminal."""
    monkeypatch.setattr("workbench.Engine", FakeEngine, raising=False)
    InteractiveShell.clear_instance()
    made = InteractiveShell.instance()
    made.history_manager.enabled = False
    made.run_line_magic("load_ext", "magics")
    yield made
    made.run_line_magic("unload_ext", "magics")
    InteractiveShell.clear_instance()


@pytest.fixture
def engine(shell: InteractiveShell) -> FakeEngine:
    """The engine of the shell's session, with one base image in it."""
    from magics.install import session_of

    session = session_of(shell)
    assert session is not None
    found: Any = session.engine
    found.images.base("toolbox")
    return found


class Kernel:
    """A real kernel: ``run`` a cell and get what the notebook would show."""

    def __init__(self, *setup: str) -> None:
        self.manager = KernelManager(kernel_name="python3")
        self.manager.start_kernel(cwd=str(ROOT))
        self.client = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=60)
        for code in setup:
            assert self.run(code).error is None

    def run(self, code: str, *, interrupt_after: str = "", timeout: float = 60) -> SimpleNamespace:
        """Run a cell. ``interrupt_after`` interrupts once that text has been shown."""
        message = self.client.execute(code)
        seen = SimpleNamespace(
            stdout="", stderr="", shown=[], updates=[], result=None, error=None, interrupted=0.0,
            order=[],
        )  # fmt: skip
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            try:
                found = self.client.get_iopub_msg(timeout=1)
            except queue.Empty:
                continue
            if found["parent_header"].get("msg_id") != message:
                continue
            if self._take(seen, found["msg_type"], found["content"]):
                seen.after = time.monotonic() - seen.interrupted
                return seen
            if interrupt_after and not seen.interrupted and interrupt_after in repr(seen):
                seen.interrupted = time.monotonic()
                self.manager.interrupt_kernel()
        raise AssertionError(f"the cell did not end in {timeout} s: {code}")

    def _take(self, seen: SimpleNamespace, kind: str, content: dict[str, Any]) -> bool:
        if kind == "stream":
            setattr(seen, content["name"], getattr(seen, content["name"]) + content["text"])
            seen.order.append((content["name"], content["text"]))
        elif kind == "display_data":
            seen.shown.append(content["data"])
        elif kind == "update_display_data":
            seen.updates.append(content["data"])
        elif kind == "execute_result":
            seen.result = content["data"]
        elif kind == "error":
            seen.error = content
        return kind == "status" and content["execution_state"] == "idle"

    def complete(self, code: str) -> list[str]:
        """What the cell would hold for each completion at its end."""
        message = self.client.complete(code)
        while True:
            reply = self.client.get_shell_msg(timeout=20)
            if reply["parent_header"].get("msg_id") == message:
                content = reply["content"]
                return [code[: content["cursor_start"]] + text for text in content["matches"]]

    def close(self) -> None:
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=False)


@pytest.fixture(scope="session")
def setup_code() -> str:
    """What a cell runs to put the engine in memory into its kernel."""
    return (
        f"import sys; sys.path[:0] = [{str(ROOT)!r}, {str(FAKES)!r}]\n"
        "import fake_engine; fake_engine.install()"
    )


@pytest.fixture(scope="module")
def kernel(setup_code: str) -> Iterator[Kernel]:
    """One kernel for a module's tests."""
    made = Kernel(
        setup_code,
        "%load_ext magics",
        "%base toolbox -q",
    )
    yield made
    made.close()
