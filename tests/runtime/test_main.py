"""``python -m workbench.runtime``, spelled as runc spells it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from workbench.errors import InvalidInput
from workbench.oci.runtime_spec import Spec
from workbench.runtime.__main__ import main
from workbench.runtime.commands import signal_number

from .conftest import make_lower

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(("text", "number"), [("9", 9), ("KILL", 9), ("sigterm", 15), ("INT", 2)])
def test_signal_names(text: str, number: int) -> None:
    assert signal_number(text) == number


@pytest.mark.parametrize("text", ["", "0", "99", "NOTHING", "-1"])
def test_what_is_no_signal(text: str) -> None:
    with pytest.raises(InvalidInput):
        signal_number(text)


def test_features_are_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["features"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert {"prestart", "poststop"} <= set(document["hooks"])
    assert {"rro", "rbind", "idmap"} <= set(document["mountOptions"])


def test_spec_writes_a_valid_config_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["spec", "-b", str(tmp_path)]) == 0
    assert Spec.parse((tmp_path / "config.json").read_bytes()).process
    assert main(["spec", "-b", str(tmp_path)]) == 1
    assert "exists" in capsys.readouterr().err


def test_errors_go_to_the_log_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = tmp_path / "log"
    arguments = ["--root", str(tmp_path), "--log", str(log), "--log-format", "json"]
    assert main([*arguments, "state", "none"]) == 1
    assert json.loads(log.read_text())["level"] == "error"
    assert "container none does not exist" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["../x", "a/b", "..", ""])
def test_container_names_are_no_paths(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--root", str(tmp_path), "state", name]) == 1
    assert "invalid container ID" in capsys.readouterr().err


class Runtime:
    """The command line with a bundle and a root of its own."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.names: list[str] = []

    def __call__(self, *arguments: str, detach: bool = False) -> subprocess.CompletedProcess[str]:
        """``detach``: what is left running would keep pipes open, so there are none."""
        command = [sys.executable, "-m", "workbench.runtime", "--root", str(self.place / "state")]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        return subprocess.run(
            [*command, *arguments], text=True, env=environment, cwd=self.place, timeout=60,
            stdin=subprocess.DEVNULL, check=False,
            stdout=subprocess.DEVNULL if detach else subprocess.PIPE,
            stderr=subprocess.DEVNULL if detach else subprocess.PIPE,
        )  # fmt: skip

    def configure(self, *args: str, terminal: bool = False) -> None:
        path = self.place / "config.json"
        path.unlink(missing_ok=True)
        assert self("spec").returncode == 0
        tree = json.loads(path.read_text())
        tree["process"].update(args=args, terminal=terminal, env=["PATH=/bin"])
        path.write_text(json.dumps(tree))


@pytest.fixture
def runtime(tmp_path: Path) -> Iterator[Runtime]:
    make_lower(tmp_path / "rootfs")
    made = Runtime(tmp_path)
    yield made
    for state in (tmp_path / "state").glob("*"):
        made("delete", "--force", state.name)


@pytest.mark.kernel
def test_the_life_of_a_container(runtime: Runtime, require: Callable[..., None]) -> None:
    runtime.configure("sleep", "60")
    made = runtime("create", "--bundle", str(runtime.place), "--pid-file", "pid", "c1", detach=True)
    assert made.returncode == 0
    shown = json.loads(runtime("state", "c1").stdout)
    assert shown["status"] == "created"
    assert shown["pid"] == int((runtime.place / "pid").read_text())
    assert runtime("create", "c1", detach=True).returncode == 1
    assert runtime("start", "c1").returncode == 0
    assert runtime("start", "c1").returncode == 1
    assert json.loads(runtime("state", "c1").stdout)["status"] == "running"
    assert runtime("list", "-q").stdout == "c1\n"
    assert runtime("exec", "c1", "hostname").stdout == "workbench\n"
    assert runtime("exec", "c1", "sh", "-c", "exit 5").returncode == 5
    assert runtime("delete", "c1").returncode == 1
    assert runtime("kill", "c1", "KILL").returncode == 0
    until = time.monotonic() + 5
    while json.loads(runtime("state", "c1").stdout)["status"] != "stopped":
        assert time.monotonic() < until
    assert runtime("kill", "c1", "KILL").returncode == 1
    assert runtime("delete", "c1").returncode == 0
    assert runtime("delete", "c1").returncode == 1
    assert runtime("state", "c1").returncode == 1
    assert list((runtime.place / "state").iterdir()) == []


@pytest.mark.kernel
def test_run_returns_output_and_exit_code(runtime: Runtime) -> None:
    runtime.configure("sh", "-c", "echo hello; exit 4")
    run = runtime("run", "c1")
    assert (run.returncode, run.stdout) == (4, "hello\n"), run.stderr
    assert not (runtime.place / "state/c1").exists()


@pytest.mark.kernel
def test_run_with_a_terminal(runtime: Runtime) -> None:
    runtime.configure("sh", "-c", "test -t 0 && echo terminal", terminal=True)
    run = runtime("run", "c1")
    assert (run.returncode, run.stdout) == (0, "terminal\n"), run.stderr


@pytest.mark.kernel
def test_an_unknown_program_leaves_nothing(runtime: Runtime) -> None:
    runtime.configure("nothing-here")
    run = runtime("run", "c1")
    assert run.returncode == 127
    assert "executable file not found in $PATH" in run.stderr
    assert not (runtime.place / "state/c1").exists()


@pytest.mark.kernel
def test_figures_pause_and_update(runtime: Runtime) -> None:
    runtime.configure("sleep", "60")
    assert runtime("run", "-d", "c1", detach=True).returncode == 0
    try:
        stats = runtime("events", "--stats", "c1")
        if "no cgroup" in stats.stderr:
            pytest.skip("no cgroup may be written here")
        assert json.loads(stats.stdout)["type"] == "stats"
        assert runtime("update", "--pids-limit", "33", "c1").returncode == 0
        assert json.loads(runtime("events", "--stats", "c1").stdout)["data"]["pidsLimit"] == 33
        assert runtime("pause", "c1").returncode == 0
        assert json.loads(runtime("state", "c1").stdout)["status"] == "paused"
        assert runtime("resume", "c1").returncode == 0
        assert len(json.loads(runtime("ps", "--format", "json", "c1").stdout)) == 1
    finally:
        runtime("kill", "c1", str(int(signal.SIGKILL)))
