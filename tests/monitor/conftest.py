"""A root directory with a launcher of the fake runtime, and containers in it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from workbench.monitor import version
from workbench.monitor.client import Launcher, Session
from workbench.monitor.record import monitor_pid, process_start
from workbench.monitor.settings import LogSettings, MonitorSettings, RestartSettings
from workbench.oci.runtime_spec import Process, Spec

FAKE = Path(__file__).with_name("fake_launcher.py")
HOME = Path(version.__file__).resolve().parents[2]
PATH = "PATH=/usr/local/bin:/usr/bin:/bin"


def eventually(condition: Callable[[], Any], seconds: float = 5.0) -> Any:
    """The condition's value once it is true; fails after ``seconds``."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.005)
    return value


class World:
    """Everything below one root."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.launcher = Launcher(root, command=[sys.executable, str(FAKE)])
        self._count = 0

    def container(self, *args: str, stdin: bool = False, **settings: Any) -> Path:
        """A container's directory, ready for a monitor."""
        self._count += 1
        name = f"c{self._count}"
        directory = self.root / "containers" / name
        directory.mkdir(parents=True)
        process = Process(args=args, env=(PATH,), terminal=bool(settings.get("tty")))
        (directory / "config.json").write_bytes(Spec(process=process).to_bytes())
        if "log" in settings:
            settings["log"] = LogSettings(**settings["log"])
        if "restart" in settings:
            settings["restart"] = RestartSettings(**settings["restart"])
        MonitorSettings(id=name, open_stdin=stdin, stdin_once=stdin, **settings).write(directory)
        return directory

    def settings(self, directory: Path, **changes: Any) -> MonitorSettings:
        """Change ``monitor.json``."""
        settings = replace(MonitorSettings.read(directory), **changes)
        settings.write(directory)
        return settings

    def shell(self, script: str, **settings: Any) -> Path:
        return self.container("sh", "-c", script, **settings)

    def spawn(self, directory: Path) -> Session:
        return self.launcher.spawn(directory)

    def launcher_pid(self) -> int:
        return int(json.loads((self.root / "run/launcher.json").read_text())["pid"])

    def close(self) -> None:
        pids = [monitor_pid(path) for path in (self.root / "containers").glob("*")]
        with contextlib.suppress(FileNotFoundError):
            pids.append(self.launcher_pid())
        for path in (self.root / "containers").glob("*/state.json"):
            try:
                facts = json.loads(path.read_text())
            except FileNotFoundError:
                continue  # its monitor has tidied up meanwhile
            if process_start(facts["pid"]) == facts.get("start", facts.get("start_time")):
                pids.append(facts["pid"])
        for pid in pids:
            if pid:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setenv("PYTHONPATH", str(HOME))
    here = World(tmp_path / "root")
    yield here
    here.close()
