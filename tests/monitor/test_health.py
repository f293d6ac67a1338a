"""Health checks: the rules, and probes in a container."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.monitor.conftest import World, eventually
from workbench.monitor.client import Session
from workbench.monitor.record import Health, Probe, read_health
from workbench.oci.image import Healthcheck

MS = 1_000_000


def probe(code: int) -> Probe:
    return Probe(start="", end="", exit_code=code, output="")


def test_it_takes_so_many_failures_in_a_row() -> None:
    health = Health()
    seen = []
    for code in (1, 1, 0, 1, 1, 1, 1, 0):
        health = health.after(probe(code), retries=3, grace=False)
        seen.append((health.status, health.failing_streak))
    assert seen == [
        ("starting", 1), ("starting", 2), ("healthy", 0), ("healthy", 1), ("healthy", 2),
        ("unhealthy", 3), ("unhealthy", 4), ("healthy", 0),
    ]  # fmt: skip
    assert len(health.log) == 5


def test_failures_of_the_start_period_do_not_count_until_it_was_healthy_once() -> None:
    health = Health().after(probe(1), retries=1, grace=True)
    assert (health.status, health.failing_streak) == ("starting", 0)
    health = health.after(probe(0), retries=1, grace=True).after(probe(1), retries=1, grace=True)
    assert health.status == "unhealthy"


def start(world: World, *test: str, **options: int) -> tuple[Session, Path]:
    check = Healthcheck(test=test, **({"interval": 20 * MS, "retries": 2} | options))
    directory = world.container("sleep", "60", healthcheck=check)
    session = world.spawn(directory)
    session.run()
    return session, directory


def status(directory: Path, wanted: str) -> Health:
    def look() -> Health | None:
        health = read_health(directory)
        return health if health is not None and health.status == wanted else None

    health = eventually(look)
    assert isinstance(health, Health)
    return health


def test_health_follows_what_the_command_says(world: World) -> None:
    mark = world.root.with_name("ok")
    mark.touch()
    session, directory = start(world, "CMD-SHELL", f"echo looked; test -e {mark}")
    health = status(directory, "healthy")
    assert health.log[-1].output == "looked\n"
    mark.unlink()
    assert status(directory, "unhealthy").failing_streak >= 2
    mark.touch()
    status(directory, "healthy")
    session.stop(0)


def test_a_probe_that_hangs_is_killed(world: World) -> None:
    session, directory = start(world, "CMD", "sleep", "50", timeout=50 * MS, retries=1)
    health = status(directory, "unhealthy")
    assert health.log[-1].exit_code == -1
    assert health.log[-1].output == "Health check exceeded timeout (0.05s)"
    session.stop(0)


def test_a_command_that_is_missing_is_unhealthy_with_the_reason(world: World) -> None:
    session, directory = start(world, "CMD", "no-such-check", retries=1)
    assert "no-such-check" in status(directory, "unhealthy").log[-1].output
    session.stop(0)


def test_long_output_is_cut(world: World) -> None:
    session, directory = start(world, "CMD-SHELL", "head -c 100000 /dev/zero | tr '\\0' x")
    assert status(directory, "healthy").log[-1].output == "x" * 4096 + "..."
    session.stop(0)


def test_the_start_interval_holds_within_the_start_period(world: World) -> None:
    session, directory = start(
        world, "CMD", "true", interval=60_000 * MS, start_period=10_000 * MS, start_interval=20 * MS
    )
    status(directory, "healthy")
    session.stop(0)


@pytest.mark.parametrize("test", [("NONE",), ()])
def test_no_check_is_no_file(world: World, test: tuple[str, ...]) -> None:
    session, directory = start(world, *test)
    time.sleep(0.1)
    assert read_health(directory) is None
    session.stop(0)
