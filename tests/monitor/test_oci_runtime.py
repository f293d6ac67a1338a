"""The monitor over the true runtime: namespaces and a root file system of busybox."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.monitor.conftest import World, eventually
from workbench.errors import CommandNotFound
from workbench.linux import cgroup
from workbench.linux.mount import Mount
from workbench.monitor.client import Launcher, Session
from workbench.monitor.record import monitor_pid, read_exit, read_run
from workbench.monitor.settings import MonitorSettings
from workbench.oci.runtime_spec import (
    Linux,
    MemoryLimits,
    MountPoint,
    Namespace,
    Process,
    Resources,
    Root,
    Spec,
)
from workbench.runtime import state
from workbench.runtime.bundle import Bundle

pytestmark = pytest.mark.kernel
BUSYBOX = shutil.which("busybox")
NAMESPACES = ("pid", "mount", "ipc", "uts", "network")


class TrueWorld(World):
    """As World, with the launcher of the product."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.launcher = Launcher(root, command=[sys.executable, "-m", "workbench.monitor.launcher"])
        self.tree = root / "tree"
        (self.tree / "bin").mkdir(parents=True)
        for name in ("proc", "dev", "tmp", "upper", "work"):
            (self.tree / name).mkdir()
        assert BUSYBOX is not None
        shutil.copy(BUSYBOX, self.tree / "bin/busybox")
        for name in ("sh", "true", "cat", "sleep", "echo", "stty", "seq"):
            (self.tree / "bin" / name).symlink_to("busybox")

    def bundle(
        self, *args: str, tty: bool = False, stdin: bool = False, memory: int | None = None
    ) -> Path:
        self._count += 1
        name = f"true{os.getpid()}-{self._count}"
        directory = self.root / "containers" / name
        spec = Spec(
            root=Root(path="rootfs"),
            process=Process(args=args, env=("PATH=/bin",), terminal=tty),
            mounts=(
                MountPoint(destination="/proc", type="proc", source="proc"),
                MountPoint(destination="/dev", type="tmpfs", source="tmpfs"),
                MountPoint(
                    destination="/dev/pts",
                    type="devpts",
                    source="devpts",
                    options=("newinstance", "ptmxmode=0666", "mode=0620"),
                ),
            ),
            linux=Linux(
                namespaces=tuple(Namespace(type=kind) for kind in NAMESPACES),
                resources=Resources(memory=MemoryLimits(limit=memory)) if memory else None,
            ),
        )
        bind = Mount(type="bind", source=str(self.tree), options=("rbind",))
        Bundle.write(directory, spec, (bind,))
        (directory / "rootfs").mkdir()
        MonitorSettings(id=name, tty=tty, open_stdin=stdin, stdin_once=stdin).write(directory)
        return directory


@pytest.fixture
def real(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, require: Callable[[object, str], None]
) -> Iterator[TrueWorld]:
    require(BUSYBOX, "needs a static busybox")
    here = TrueWorld(tmp_path / "root")
    yield here
    for directory in (here.root / "containers").glob("*"):
        with contextlib.suppress(Exception), Session.connect(directory) as session:
            session.signal(signal.SIGKILL)
        eventually(lambda where=directory: monitor_pid(where) is None)
        state.delete(directory, force=True)
    here.close()


def test_a_container_runs_in_the_foreground(real: TrueWorld) -> None:
    directory = real.bundle("sh", "-c", "echo $$; exit 3")
    attachment = real.spawn(directory).run_attached()
    assert [chunk.data for chunk in attachment] == [b"1\n"]
    assert attachment.wait().code == 3
    eventually(lambda: monitor_pid(directory) is None)
    assert not (directory / "state.json").exists()


def test_a_missing_program_is_told_by_create(real: TrueWorld) -> None:
    with real.spawn(real.bundle("nothing")) as session, pytest.raises(CommandNotFound):
        session.create()


def test_exec_joins_it_and_a_terminal_has_a_size(real: TrueWorld) -> None:
    session = real.spawn(real.bundle("sleep", "60"))
    session.run()
    process = Process(args=("sh", "-c", "stty size; cat; exit 6"), env=("PATH=/bin",))
    with session.execute(process, terminal=True, stdin=True, rows=40, columns=99) as execution:
        output = iter(execution)
        assert next(output).data.startswith(b"40 99")
        execution.write(b"hello\n\x04")
        assert b"hello" in b"".join(chunk.data for chunk in output)
        assert execution.wait() == 6
    assert session.stop(0).code == 137


def test_a_terminal_of_the_container(real: TrueWorld) -> None:
    session = real.spawn(real.bundle("sh", tty=True, stdin=True))
    attachment = session.run_attached(stdin=True)
    attachment.resize(33, 77)
    attachment.write(b"stty size; exit 4\n")
    assert b"33 77" in b"".join(chunk.data for chunk in attachment)
    assert attachment.wait().code == 4


def test_pause_and_resume(real: TrueWorld) -> None:
    session = real.spawn(real.bundle("sleep", "60"))
    session.run()
    session.pause()
    assert session.status()["status"] == "paused"
    session.resume()
    assert session.stop(0).code == 137


def test_want_of_memory_is_told_apart(
    real: TrueWorld, require: Callable[[object, str], None]
) -> None:
    driver = cgroup.driver()
    require(driver and "memory" in driver.controllers, "needs the memory controller")
    greedy = "x=0123456789abcdef; while :; do x=$x$x; done"
    record = real.spawn(real.bundle("sh", "-c", greedy, memory=16 * 1024**2)).run_attached().wait()
    assert (record.code, record.oom_killed) == (137, True)
    plain = real.spawn(real.bundle("sh", "-c", "kill -9 1; exit 137", memory=16 * 1024**2))
    assert plain.run_attached().wait().oom_killed is False


def test_a_tied_client_that_vanishes_takes_the_container_along(real: TrueWorld) -> None:
    directory = real.bundle("sleep", "60")
    real.spawn(directory).run_attached(tie=True).close()
    record = eventually(lambda: read_exit(directory), 2)
    assert record.code == 137
    eventually(lambda: not (directory / "state.json").exists(), 2)


def test_a_killed_monitor_leaves_a_detached_container_running(real: TrueWorld) -> None:
    directory = real.bundle("sleep", "60")
    pid = real.spawn(directory).run()
    os.kill(monitor_pid(directory) or 0, signal.SIGKILL)
    time.sleep(0.2)
    os.kill(pid, 0)


def test_a_killed_monitor_takes_a_tied_container_along(real: TrueWorld) -> None:
    directory = real.bundle("sleep", "60")
    attachment = real.spawn(directory).run_attached(tie=True)
    record = read_run(directory)
    assert record is not None and record.tied
    os.kill(monitor_pid(directory) or 0, signal.SIGKILL)
    end = eventually(lambda: read_exit(directory), 2)
    assert end.code == 137
    assert not Path(f"/proc/{attachment.pid}/fd/0").exists()
