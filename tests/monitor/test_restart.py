"""Restart policies, as rules and with real processes and short pauses."""

from __future__ import annotations

import itertools
import os
import signal
import time

import pytest

from tests.monitor.conftest import World, eventually
from workbench.errors import InvalidInput
from workbench.monitor import restart
from workbench.monitor.client import Session
from workbench.monitor.record import read_exit, read_run
from workbench.monitor.settings import MonitorSettings, RestartSettings

QUICK = {"delay": 0.02, "longest_delay": 0.1, "reset_after": 10.0}


@pytest.mark.parametrize(
    ("policy", "maximum", "code", "restarts", "stopped", "cancelled", "expected"),
    [
        ("no", 0, 1, 0, False, False, False),
        ("always", 0, 0, 9, False, False, True),
        ("always", 0, 0, 9, True, False, True),
        ("always", 0, 1, 0, True, True, False),
        ("unless-stopped", 0, 0, 3, False, False, True),
        ("unless-stopped", 0, 0, 3, True, False, False),
        ("on-failure", 0, 0, 0, False, False, False),
        ("on-failure", 0, 1, 50, False, False, True),
        ("on-failure", 3, 1, 2, False, False, True),
        ("on-failure", 3, 1, 3, False, False, False),
    ],
)
def test_when(
    policy: str, maximum: int, code: int, restarts: int, stopped: bool, cancelled: bool,
    expected: bool,
) -> None:  # fmt: skip
    settings = RestartSettings(policy=policy, maximum=maximum)
    assert expected == restart.wanted(
        settings, code=code, restarts=restarts, stopped=stopped, cancelled=cancelled
    )


def test_pauses_double_to_a_minute_and_start_again_after_ten_seconds() -> None:
    settings = RestartSettings(policy="always")
    pauses = [0.0]
    for _ in range(12):
        pauses.append(restart.pause(settings, previous=pauses[-1], ran_for=0.5))
    assert pauses[1:5] == [0.1, 0.2, 0.4, 0.8]
    assert pauses[-1] == 60.0
    assert restart.pause(settings, previous=60.0, ran_for=10.0) == 0.1


def test_an_unknown_policy_is_refused() -> None:
    with pytest.raises(InvalidInput, match="sometimes"):
        MonitorSettings(id="x", restart=RestartSettings(policy="sometimes"))


def test_on_failure_tries_so_often_and_pauses_longer_each_time(world: World) -> None:
    mark = world.root / "starts"
    directory = world.container(
        "sh", "-c", f"date +%s%N >> {mark}; exit 3",
        restart={"policy": "on-failure", "maximum": 3} | QUICK,
    )  # fmt: skip
    session = world.spawn(directory)
    session.run()
    record = session.wait()
    assert (record.code, record.restarts) == (3, 3)
    starts = [int(line) / 1e9 for line in mark.read_text().split()]
    gaps = [after - before for before, after in itertools.pairwise(starts)]
    assert len(starts) == 4
    assert gaps[0] >= 0.02 and gaps[1] >= 0.04 and gaps[2] >= 0.08
    assert sum(gaps) < 2


def test_always_goes_on_until_it_is_stopped_and_the_log_goes_on_too(world: World) -> None:
    directory = world.shell("echo again; exit 0", restart={"policy": "always"} | QUICK)
    session = world.spawn(directory)
    session.run()
    eventually(lambda: (read_run(directory) or _none()).restarts >= 3)
    assert read_exit(directory) is None
    record = Session.connect(directory).stop(5)
    assert record.restarts >= 3
    assert session.wait() == record
    lines = (directory / f"{directory.name}-json.log").read_text().splitlines()
    assert len(lines) >= record.restarts


def test_stop_during_a_long_pause_ends_at_once(world: World) -> None:
    slow = {"policy": "always", "delay": 60.0, "longest_delay": 60.0}
    directory = world.shell("sleep 0.3; exit 5", restart=slow)
    session = world.spawn(directory)
    session.run()
    assert session.wait(next_exit=True).code == 5
    with Session.connect(directory) as other:
        assert other.status()["status"] == "restarting"
        assert (read_run(directory) or _none()).exit_code == 5
        began = time.monotonic()
        assert other.stop().code == 5
        assert time.monotonic() - began < 1


def test_a_kill_ends_always_and_another_death_does_not(world: World) -> None:
    directory = world.shell("sleep 60", restart={"policy": "always"} | QUICK)
    session = world.spawn(directory)
    pid = session.run()
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: (read_run(directory) or _none()).restarts == 1)
    eventually(lambda: session.status()["status"] == "running")
    session.signal(signal.SIGKILL)
    assert session.wait().code == 137


def test_a_foreground_client_sees_the_first_end_and_restarts_go_on(world: World) -> None:
    directory = world.shell("exit 5", restart={"policy": "on-failure", "maximum": 2} | QUICK)
    assert world.spawn(directory).run_attached(tie=True).wait().code == 5
    assert eventually(lambda: read_exit(directory)).restarts == 2


def test_the_policy_can_be_changed_while_it_runs(world: World) -> None:
    directory = world.shell("exit 1", restart={"policy": "always"} | QUICK)
    session = world.spawn(directory)
    session.run()
    world.settings(directory, restart=RestartSettings(policy="no"))
    session.reload()
    assert session.wait().code == 1


def test_networks_are_joined_before_a_restart(world: World) -> None:
    mark = world.root / "joined"
    directory = world.shell(
        "exit 1",
        restart={"policy": "on-failure", "maximum": 1} | QUICK,
        on_restart=(
            "sh",
            "-c",
            f"echo $0 $(stat -c %Y /proc/$0 > /dev/null && echo lives) > {mark}",
        ),
    )
    session = world.spawn(directory)
    session.run()
    assert session.wait().restarts == 1
    assert mark.read_text().endswith(" lives\n")


def test_a_restart_that_cannot_join_its_networks_is_the_end(world: World) -> None:
    directory = world.shell("exit 1", restart={"policy": "always"} | QUICK, on_restart=("false",))
    session = world.spawn(directory)
    session.run()
    record = session.wait()
    assert "could not be prepared" in record.error
    assert record.restarts == 1


def _none() -> object:
    raise AssertionError("there is no run record")
