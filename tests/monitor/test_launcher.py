"""The launcher: one per root, replaced when it dies or is old, and many monitors at once."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.monitor.conftest import FAKE, World, eventually
from workbench.errors import InvalidInput, NotFound, Unavailable
from workbench.monitor.client import Launcher, Session
from workbench.monitor.record import monitor_pid, read_exit
from workbench.monitor.settings import MonitorSettings

MOST_MEMORY = 5 * 1024**2


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_many_engines_start_one_launcher(world: World) -> None:
    def ensure() -> None:
        Launcher(world.root, command=[sys.executable, str(FAKE)]).ensure()

    threads = [threading.Thread(target=ensure) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    pid = world.launcher_pid()
    world.launcher.ensure()
    assert world.launcher_pid() == pid
    second = subprocess.run([sys.executable, FAKE, world.root], timeout=20, check=False)
    assert second.returncode == 0 and alive(pid)


def test_a_killed_launcher_is_replaced_and_its_monitors_live_on(world: World) -> None:
    directory = world.container("sleep", "60")
    world.spawn(directory).run()
    old = world.launcher_pid()
    os.kill(old, signal.SIGKILL)
    eventually(lambda: not alive(old))
    assert world.spawn(world.shell("exit 3")).run_attached().wait().code == 3
    assert world.launcher_pid() != old
    with Session.connect(directory) as session:
        assert session.status()["status"] == "running"
        session.stop(0)


def test_a_launcher_of_other_code_is_replaced_and_ends_with_its_last_monitor(world: World) -> None:
    directory = world.container("sleep", "60")
    world.spawn(directory).run()
    old = world.launcher_pid()
    facts = world.root / "run/launcher.json"
    facts.write_text(json.dumps({"pid": old, "version": "older"}))
    world.launcher.ensure()
    assert world.launcher_pid() != old
    assert alive(old)
    Session.connect(directory).stop(0)
    eventually(lambda: not alive(old))
    assert world.spawn(world.shell("exit 0")).run_attached().wait().code == 0


def test_it_ends_when_its_root_vanishes(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.launcher.ensure()
    pid = world.launcher_pid()
    shutil.rmtree(world.root)
    eventually(lambda: not alive(pid), 8)


def test_a_launcher_that_cannot_start_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=r"launcher\.log"):
        Launcher(tmp_path, command=["false"]).ensure()


def test_only_directories_below_the_root_get_a_monitor(world: World, tmp_path: Path) -> None:
    other = tmp_path / "elsewhere"
    other.mkdir()
    MonitorSettings(id="x").write(other)
    (world.root / "containers").mkdir(parents=True)
    (world.root / "containers/link").symlink_to(other)
    for path in (other, world.root / "containers/link", world.root / "../elsewhere"):
        with world.spawn(path) as session, pytest.raises(InvalidInput):
            session.create()
    empty = world.root / "containers/none"
    empty.mkdir()
    with world.spawn(empty) as session, pytest.raises(NotFound):
        session.create()


def test_clients_that_say_nothing_do_not_stop_it_for_long(world: World) -> None:
    from workbench.monitor import protocol

    world.launcher.ensure()
    silent = protocol.connect(world.root / "run/launcher.sock")
    began = time.monotonic()
    assert world.spawn(world.shell("exit 0")).run_attached().wait().code == 0
    assert time.monotonic() - began < 5
    silent.close()


def test_fifty_monitors_at_once_stay_small(world: World) -> None:
    directories = [world.shell("read x; exit 7", stdin=True) for _ in range(50)]
    sessions = [world.spawn(directory) for directory in directories]
    for session in sessions:
        session.run()
    pids = [monitor_pid(directory) or 0 for directory in directories]
    assert len(set(pids)) == 50 and all(pids)
    memory = [_pss(pid) for pid in pids]
    assert sum(memory) / 50 < MOST_MEMORY, f"{sum(memory) / 50 / 1024:.0f} KiB each"
    for directory in directories:
        with Session.connect(directory).attach(stdin=True) as attachment:
            attachment.write(b"\n")
            assert attachment.wait().code == 7
    eventually(lambda: not any(alive(pid) for pid in pids))


def _pss(pid: int) -> int:
    """Proportional share of memory in bytes. Source: proc(5), smaps_rollup."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no Pss")


def test_idle_monitors_use_no_time(world: World) -> None:
    directory = world.container("sleep", "60")
    session = world.spawn(directory)
    session.run()
    pid = monitor_pid(directory)
    time.sleep(0.2)
    before = _ticks(pid)
    time.sleep(0.5)
    assert _ticks(pid) == before
    session.stop(0)


def _ticks(pid: int | None) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return int(fields[11]) + int(fields[12])


def test_a_tied_client_that_is_killed_takes_the_container_along(world: World) -> None:
    mark = world.root / "reaped"
    directory = world.container("sleep", "60", on_exit=("touch", str(mark)))
    script = (
        "import sys; from pathlib import Path; from workbench.monitor.client import Launcher\n"
        "import os, time\n"
        f"launcher = Launcher(Path({str(world.root)!r}), command=[sys.executable, {str(FAKE)!r}])\n"
        f"a = launcher.spawn(Path({str(directory)!r})).run_attached(tie=True)\n"
        "if os.fork() == 0: time.sleep(60)\n"  # a child that keeps the socket open
        "print(a.pid, flush=True); time.sleep(60)"
    )
    client = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, start_new_session=True
    )
    assert client.stdout is not None
    pid = int(client.stdout.readline())
    assert alive(pid)
    os.kill(client.pid, signal.SIGKILL)
    record = eventually(lambda: read_exit(directory), 2)
    assert record.code == 137
    assert not alive(pid)
    eventually(lambda: monitor_pid(directory) is None, 2)
    eventually(mark.exists, 2)
    os.killpg(client.pid, signal.SIGKILL)
    client.wait()
    client.stdout.close()


def test_a_killed_client_leaves_a_detached_container_alone(world: World) -> None:
    directory = world.container("sleep", "60")
    session = world.spawn(directory)
    pid = session.run()
    session.close()
    time.sleep(0.2)
    assert alive(pid)
    Session.connect(directory).stop(0)


def test_what_was_created_and_forgotten_goes_away(world: World) -> None:
    directory = world.container("sleep", "60")
    with world.spawn(directory) as session:
        pid = session.create()
    eventually(lambda: not alive(pid), 2)
    eventually(lambda: monitor_pid(directory) is None, 2)

    never = world.container("sleep", "60")
    world.spawn(never).close()
    eventually(lambda: monitor_pid(never) is None and not (never / "monitor.sock").exists(), 2)


def test_a_killed_monitor_is_noticed_and_says_what_is_known(world: World) -> None:
    directory = world.container("sleep", "60")
    session = world.spawn(directory)
    pid = session.run()
    os.kill(monitor_pid(directory) or 0, signal.SIGKILL)
    with pytest.raises(Unavailable, match="monitor was killed"):
        session.wait()
    assert monitor_pid(directory) is None
    assert alive(pid)
    eventually(lambda: _refused(directory), 2)
    os.kill(pid, signal.SIGKILL)


def _refused(directory: Path) -> bool:
    """Whether nobody listens: the kernel closes a killed process's sockets one by one."""
    try:
        Session.connect(directory).close()
    except NotFound:
        return True
    return False


def test_a_killed_monitor_of_a_tied_container_is_cleaned_up_after(world: World) -> None:
    mark = world.root / "reaped"
    directory = world.container("sleep", "60", on_exit=("touch", str(mark)))
    attachment = world.spawn(directory).run_attached(tie=True)
    os.kill(monitor_pid(directory) or 0, signal.SIGKILL)
    record = eventually(lambda: read_exit(directory), 2)
    assert (record.code, record.error) == (137, "its monitor was killed")
    eventually(mark.exists, 2)
    assert not alive(attachment.pid)
    assert attachment.wait() == record


def test_a_termination_of_the_monitor_stops_the_container(world: World) -> None:
    directory = world.shell("trap 'exit 8' TERM; echo up; while :; do sleep 0.01; done")
    attachment = world.spawn(directory).run_attached()
    next(iter(attachment))
    os.kill(monitor_pid(directory) or 0, signal.SIGTERM)
    assert attachment.wait().code == 8
