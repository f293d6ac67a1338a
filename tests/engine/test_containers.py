"""Containers of the toolbox image, run for real through the engine."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from workbench.engine import Engine
from workbench.engine.options import (
    MountOption,
    ResourceOptions,
    RestartPolicy,
    RunOptions,
    SecurityOptions,
)
from workbench.engine.values import ContainerInfo
from workbench.errors import (
    CommandNotFound,
    CommandNotRunnable,
    Conflict,
    ContainerNotFound,
    ImageNotFound,
    InvalidInput,
    NotModified,
    WorkbenchError,
)
from workbench.events import Event, Output

pytestmark = pytest.mark.kernel
Run = Callable[..., tuple[ContainerInfo, bytes, bytes]]
Traces = Callable[[str], list[str]]


def _options(*command: str, **more: object) -> RunOptions:
    settings = {"image": "toolbox", "network": "none", **more}
    return RunOptions(command=command, **settings)  # type: ignore[arg-type]


def _until(condition: Callable[[], object], seconds: float = 5.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to that in time"
        time.sleep(0.02)


# -- ends and output


@pytest.mark.parametrize(
    "command,code",
    [
        (("true",), 0),
        (("false",), 1),
        (("sh", "-c", "exit 42"), 42),
        (("sh", "-c", "sleep 9 & kill -9 $!; wait $!"), 137),
    ],
)
def test_exit_codes_are_those_of_the_command(run: Run, command: tuple[str, ...], code: int) -> None:
    info, _, _ = run(*command)
    assert (info.status, info.exit_code, info.pid) == ("exited", code, 0)
    assert info.started is not None
    assert info.finished is not None
    assert info.started <= info.finished


def test_the_two_streams_arrive_byte_for_byte(run: Run) -> None:
    _, out, err = run("sh", "-c", r"printf 'a\000b\377\r\n'; printf 'oops' >&2")
    assert out == b"a\x00b\xff\r\n"
    assert err == b"oops"


def test_much_output_is_whole_and_in_order(run: Run) -> None:
    _, out, _ = run("seq", "1", "200000")
    assert out == b"".join(b"%d\n" % number for number in range(1, 200_001))


def test_a_missing_program_is_127_and_the_container_stays(engine: Engine, run: Run) -> None:
    with pytest.raises(CommandNotFound) as caught:
        run("nosuch", name="absent")
    assert str(caught.value) == 'exec: "nosuch": executable file not found in $PATH'
    assert caught.value.exit_code == 127
    info = engine.containers.get("absent")
    assert (info.status, info.exit_code, info.error) == ("created", 127, str(caught.value))


def test_a_file_that_cannot_be_executed_is_126(engine: Engine, run: Run) -> None:
    with pytest.raises(CommandNotRunnable) as caught:
        run("/etc/passwd", name="denied")
    assert str(caught.value) == 'exec: "/etc/passwd": permission denied'
    assert caught.value.exit_code == 126
    info = engine.containers.get("denied")
    assert (info.status, info.exit_code) == ("created", 126)


def test_a_missing_program_with_remove_leaves_nothing(engine: Engine, run: Run) -> None:
    with pytest.raises(CommandNotFound):
        run("nosuch", remove=True)
    with pytest.raises(CommandNotFound):
        run("nosuch", remove=True, detach=True)
    assert engine.containers.list(all=True) == ()


# -- what the process sees


def test_environment_directory_and_user(run: Run) -> None:
    _, out, _ = run(
        "sh",
        "-c",
        "echo $GREETING $HOME $PWD; id -u; id -g; hostname",
        env=("GREETING=hello",),
        working_dir="/usr/bin",
        user="1000:1001",
    )
    lines = out.decode().split("\n")
    assert lines[:3] == ["hello / /usr/bin", "1000", "1001"]
    assert len(lines[3]) == 12


def test_a_working_directory_that_is_missing_is_made(run: Run) -> None:
    _, out, _ = run("pwd", working_dir="/a/new/place")
    assert out == b"/a/new/place\n"


def test_an_unknown_user_is_refused_and_leaves_nothing(engine: Engine, run: Run) -> None:
    with pytest.raises(InvalidInput, match="unable to find user nobody-here"):
        run("true", user="nobody-here")
    assert engine.containers.list(all=True) == ()


def test_it_is_the_first_process_and_sees_no_other(run: Run) -> None:
    _, out, _ = run("sh", "-c", "echo $$; ls -d /proc/[0-9]* | wc -l")
    first, count = out.split()
    assert first == b"1"
    assert int(count) <= 3


def test_a_read_only_root_takes_no_writes(run: Run) -> None:
    info, _, err = run("touch", "/x", security=SecurityOptions(readonly_rootfs=True))
    assert info.exit_code == 1
    assert b"Read-only file system" in err


def test_writes_stay_in_the_container(run: Run) -> None:
    run("sh", "-c", "echo mine > /root/file; rm -rf /etc/group")
    info, _, _ = run("sh", "-c", "test ! -e /root/file && test -e /etc/group")
    assert info.exit_code == 0


def test_an_image_that_is_missing_is_named(run: Run) -> None:
    with pytest.raises(ImageNotFound, match="nothing-here"):
        run("true", image="nothing-here", pull="never")


# -- mounts


def test_a_bind_is_shared_and_a_read_only_one_is_not_written(run: Run, tmp_path: Path) -> None:
    (tmp_path / "in").write_text("from outside")
    bind = MountOption(type="bind", source=str(tmp_path), target="/data")
    _, out, _ = run("sh", "-c", "cat /data/in; echo back > /data/out", mounts=(bind,))
    assert out == b"from outside"
    assert (tmp_path / "out").read_text() == "back\n"
    fixed = dataclasses.replace(bind, readonly=True)
    info, _, err = run("sh", "-c", "echo x > /data/never", mounts=(fixed,))
    assert info.exit_code != 0
    assert b"Read-only" in err
    assert not (tmp_path / "never").exists()


def test_a_bind_of_nothing_is_refused(engine: Engine, run: Run, tmp_path: Path) -> None:
    bind = MountOption(type="bind", source=str(tmp_path / "gone"), target="/data")
    with pytest.raises(InvalidInput, match="bind source path does not exist"):
        run("true", mounts=(bind,))
    assert engine.containers.list(all=True) == ()


def test_a_tmpfs_has_its_size_and_mode(run: Run) -> None:
    mount = MountOption(type="tmpfs", target="/scratch", size=1024**2, mode=0o700)
    info, out, _ = run(
        "sh",
        "-c",
        "stat -c %a /scratch; dd if=/dev/zero of=/scratch/f bs=1k count=2048",
        mounts=(mount,),
    )
    assert out == b"700\n"
    assert info.exit_code != 0


def test_a_named_volume_starts_with_the_images_files_and_is_kept(engine: Engine, run: Run) -> None:
    volume = MountOption(type="volume", source="kept", target="/etc")
    run("sh", "-c", "grep -q root /etc/passwd && echo one > /etc/mark", mounts=(volume,))
    for info in engine.containers.list(all=True):
        engine.containers.remove(info.id, volumes=True)
    other = MountOption(type="volume", source="kept", target="/other")
    info, out, _ = run("sh", "-c", "cat /other/mark; test -e /other/passwd", mounts=(other,))
    assert (info.exit_code, out) == (0, b"one\n")
    assert [volume.name for volume in engine.volumes.list()] == ["kept"]
    with pytest.raises(Conflict):
        engine.volumes.remove("kept")
    engine.containers.remove(info.id)
    engine.volumes.remove("kept")


def test_an_anonymous_volume_goes_with_its_container(engine: Engine, run: Run) -> None:
    volume = MountOption(type="volume", target="/data")
    info, _, _ = run("touch", "/data/x", mounts=(volume,))
    assert len(engine.volumes.list()) == 1
    engine.containers.remove(info.id, volumes=True)
    run("true", mounts=(volume,), remove=True)
    assert engine.volumes.list() == ()


# -- a life in the background


def test_a_detached_container_is_started_read_stopped_and_removed(
    engine: Engine, run: Run, traces: Traces
) -> None:
    script = "echo ready; trap 'echo bye; exit 7' TERM; while :; do sleep 0.05; done"
    info, _, _ = run("sh", "-c", script, detach=True, name="worker")
    assert (info.status, info.exit_code) == ("running", None)
    assert info.pid > 1
    _until(lambda: list(engine.containers.logs("worker")))
    with pytest.raises(NotModified):
        engine.containers.start("worker")
    engine.containers.stop("worker")
    assert engine.containers.wait("worker") == 7
    lines = [(line.stream, line.data) for line in engine.containers.logs("worker")]
    assert lines == [("stdout", b"ready\n"), ("stdout", b"bye\n")]
    assert [line.data for line in engine.containers.logs("worker", tail=1)] == [b"bye\n"]
    with pytest.raises(NotModified):
        engine.containers.stop("worker")
    engine.containers.remove("worker")
    assert traces(info.id) == []


def test_stop_kills_what_does_not_listen(engine: Engine, run: Run) -> None:
    run("sh", "-c", "trap '' TERM; while :; do sleep 1; done", detach=True, name="deaf")
    began = time.monotonic()
    engine.containers.stop("deaf", timeout=0.3)
    assert time.monotonic() - began < 3
    assert engine.containers.get("deaf").exit_code == 137


def test_a_running_container_is_removed_only_by_force(
    engine: Engine, run: Run, traces: Traces
) -> None:
    info, _, _ = run("sleep", "60", detach=True, name="busy")
    with pytest.raises(Conflict, match="container is running"):
        engine.containers.remove("busy")
    assert engine.containers.get("busy").status == "running"
    engine.containers.remove("busy", force=True)
    assert traces(info.id) == []
    assert not Path(f"/proc/{info.pid}").exists()


def test_names_are_unique_and_prefixes_of_ids_do(engine: Engine, run: Run) -> None:
    info, _, _ = run("true", name="only")
    with pytest.raises(Conflict, match="only"):
        run("true", name="only")
    assert engine.containers.get(info.id[:6]).name == "only"
    with pytest.raises(ContainerNotFound):
        engine.containers.get("f" * 64)
    with pytest.raises(InvalidInput, match="Invalid container name"):
        run("true", name="-bad")
    assert len(engine.containers.list(all=True)) == 1


def test_statuses_follow_the_life_of_a_container(engine: Engine, run: Run) -> None:
    made = engine.containers.create(_options("sleep", "60", name="life"))
    assert made.status == "created"
    assert engine.containers.list() == ()
    engine.containers.start("life")
    assert [info.status for info in engine.containers.list()] == ["running"]
    engine.containers.pause("life")
    assert engine.containers.get("life").status == "paused"
    engine.containers.unpause("life")
    engine.containers.kill("life", "KILL")
    assert engine.containers.wait("life") == 137
    assert engine.containers.get("life").status == "exited"
    with pytest.raises(Conflict, match="is not running"):
        engine.containers.kill("life")
    engine.containers.start("life")
    assert engine.containers.get("life").status == "running"


def test_remove_leaves_nothing(engine: Engine, run: Run, traces: Traces) -> None:
    info, _, _ = run("touch", "/file", remove=True)
    assert info.exit_code == 0
    assert traces(info.id) == []


def test_a_detached_one_with_remove_goes_by_itself(
    engine: Engine, run: Run, traces: Traces
) -> None:
    info, _, _ = run("sleep", "0.2", remove=True, detach=True)
    _until(lambda: not traces(info.id))


def test_a_failing_container_is_tried_again_as_often_as_asked(engine: Engine, run: Run) -> None:
    policy = RestartPolicy(name="on-failure", maximum=2)
    run("sh", "-c", "echo try; exit 3", detach=True, name="again", restart=policy)
    _until(lambda: engine.containers.get("again").status == "exited", 15)
    info = engine.containers.get("again")
    assert (info.restarts, info.exit_code) == (2, 3)
    assert [line.data for line in engine.containers.logs("again")] == [b"try\n"] * 3


# -- limits and interruption


def test_too_much_memory_kills_and_says_so(
    engine: Engine, run: Run, require: Callable[[object, str], None]
) -> None:
    require("memory" in engine.host.cgroup_writable or engine.host.cgroup == "v2", "needs memcg")
    info, _, _ = run(
        "sh",
        "-c",
        "x=a; while :; do x=$x$x; done",
        resources=ResourceOptions(memory=16 * 1024**2),
    )
    assert (info.exit_code, info.oom_killed) == (137, True)


class _Stop(Exception):
    """What a caller raises to stop a call."""


def test_raising_from_the_report_kills_the_container(engine: Engine, traces: Traces) -> None:
    seen: list[str] = []

    def report(event: Event) -> None:
        if isinstance(event, Output):
            seen.extend(info.id for info in engine.containers.list())
            raise _Stop

    began = time.monotonic()
    with pytest.raises(_Stop):
        engine.containers.run(_options("sh", "-c", "echo go; sleep 60", remove=True), report=report)
    assert time.monotonic() - began < 2
    assert len(seen) == 1
    assert traces(seen[0]) == []


def test_many_threads_may_run_containers_at_once(engine: Engine, run: Run) -> None:
    codes: list[int | None] = []
    errors: list[WorkbenchError] = []

    def one(number: int) -> None:
        try:
            codes.append(run("sh", "-c", f"exit {number}", remove=True)[0].exit_code)
        except WorkbenchError as error:
            errors.append(error)

    threads = [threading.Thread(target=one, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert sorted(codes, key=str) == list(range(8))
    assert engine.containers.list(all=True) == ()


def test_what_happened_is_told_in_order(engine: Engine, run: Run) -> None:
    began = time.time()
    info, _, _ = run("false", remove=True)
    told = [event for event in engine.events(since=began) if event.actor == info.id]
    assert [event.action for event in told] == ["create", "start", "die", "destroy"]
    assert told[2].attributes["exitCode"] == "1"
