"""A container in the foreground: its streams exactly, and its end."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import threading
import time

import pytest

from tests.monitor.conftest import World, eventually
from workbench.errors import CommandNotFound, Conflict, NotFound, Unsupported
from workbench.monitor.client import Attachment, Session
from workbench.monitor.record import monitor_pid, read_exit, read_run


def collect(attachment: Attachment) -> tuple[bytes, bytes]:
    chunks = list(attachment)
    return (
        b"".join(chunk.data for chunk in chunks if chunk.stream == "stdout"),
        b"".join(chunk.data for chunk in chunks if chunk.stream == "stderr"),
    )


def test_both_streams_and_the_exit_code_come_through(world: World) -> None:
    directory = world.shell("echo out; echo err >&2; exit 3")
    with world.spawn(directory).run_attached() as attachment:
        assert collect(attachment) == (b"out\n", b"err\n")
        record = attachment.wait()
    assert record.code == 3
    assert 0 < record.started <= record.finished
    assert read_exit(directory) == record


def test_bytes_are_exact_without_last_newline_and_across_split_characters(world: World) -> None:
    script = r"printf 'a\000\377\303'; sleep 0.05; printf '\251\nno end'"
    directory = world.shell(script)
    out, _ = collect(world.spawn(directory).run_attached())
    assert out == b"a\x00\xff\xc3\xa9\nno end"


def test_fifty_megabytes_come_through_whole(world: World) -> None:
    size = 50 * 1024**2
    script = f"head -c {size} /dev/urandom | tee {world.root}/copy"
    directory = world.shell(script, log={"driver": "none"})
    seen = hashlib.sha256()
    total = 0
    with world.spawn(directory).run_attached() as attachment:
        for chunk in attachment:
            seen.update(chunk.data)
            total += len(chunk.data)
        assert attachment.wait().code == 0
    assert total == size
    assert seen.digest() == hashlib.sha256((world.root / "copy").read_bytes()).digest()


def test_fast_output_of_a_short_program_is_never_lost(world: World) -> None:
    for _ in range(20):
        directory = world.container("seq", "1", "3000", log={"driver": "none"})
        out, _err = collect(world.spawn(directory).run_attached())
        assert out.endswith(b"\n3000\n") and out.count(b"\n") == 3000


def test_input_ends_with_the_half_close_and_output_goes_on(world: World) -> None:
    data = os.urandom(3 * 1024**2)
    attachment = world.spawn(world.container("cat", stdin=True)).run_attached(stdin=True)

    def feed() -> None:
        attachment.write(data)
        attachment.close_stdin()

    feeder = threading.Thread(target=feed)
    feeder.start()
    out, _ = collect(attachment)
    feeder.join()
    assert out == data
    assert attachment.wait().code == 0


def test_a_program_that_closes_its_input_does_not_hurt(world: World) -> None:
    attachment = world.spawn(
        world.shell("exec <&-; sleep 0.1; echo done", stdin=True)
    ).run_attached(stdin=True)
    attachment.write(b"x" * 200_000)
    attachment.close_stdin()
    assert collect(attachment)[0] == b"done\n"


def test_without_open_stdin_the_program_reads_the_end_at_once(world: World) -> None:
    assert collect(world.spawn(world.container("cat")).run_attached())[0] == b""


def test_death_by_signal_is_128_and_the_number(world: World) -> None:
    attachment = world.spawn(world.shell("kill -TERM $$")).run_attached()
    assert attachment.wait().code == 128 + signal.SIGTERM


def test_a_program_that_is_not_there_is_127_and_a_class_of_error(world: World) -> None:
    directory = world.container("no-such-program")
    with world.spawn(directory) as session, pytest.raises(CommandNotFound, match="not found in"):
        session.create()
    record = eventually(lambda: read_exit(directory))
    assert record.code == 127
    assert "no-such-program" in record.error


def test_an_error_keeps_its_hint_across_the_socket(world: World) -> None:
    with world.spawn(world.container("unsupported")) as session:
        with pytest.raises(Unsupported) as caught:
            session.run()
        assert caught.value.hint == "another could"


def test_create_then_attach_then_start_misses_nothing(world: World) -> None:
    directory = world.shell("echo first")
    with world.spawn(directory) as session:
        pid = session.create()
        assert session.status() == {"status": "created", "pid": pid, "restarts": 0}
        attachment = session.attach()
        session.start()
        assert collect(attachment)[0] == b"first\n"
        assert session.wait().code == 0


def test_a_second_monitor_for_a_running_container_is_refused(world: World) -> None:
    directory = world.container("sleep", "60")
    with world.spawn(directory) as session:
        session.run()
        with world.spawn(directory) as second, pytest.raises(Conflict, match="running already"):
            second.run()
        session.stop(5)


def test_a_container_can_be_run_again_at_once(world: World) -> None:
    directory = world.shell("exit 4")
    for _ in range(10):
        assert world.spawn(directory).run_attached().wait().code == 4


def test_nothing_remains_of_the_monitor_after_the_end(world: World) -> None:
    directory = world.shell("exit 0")
    world.spawn(directory).run_attached().wait()
    eventually(lambda: monitor_pid(directory) is None)
    assert not (directory / "monitor.sock").exists()
    assert not (directory / "state.json").exists()
    with pytest.raises(NotFound):
        Session.connect(directory)


def test_wait_after_the_end_reads_the_record(world: World) -> None:
    directory = world.shell("exit 9")
    session = world.spawn(directory)
    session.run()
    eventually(lambda: read_exit(directory))
    assert session.wait().code == 9
    assert Session(directory).wait().code == 9


def test_stop_sends_the_stop_signal_and_kills_after_the_timeout(world: World) -> None:
    polite = world.shell(
        "trap 'exit 7' USR1; echo up; while :; do sleep 0.01; done", stop_signal=10
    )
    session = world.spawn(polite)
    attachment = session.run_attached()
    next(iter(attachment))
    record = Session.connect(polite).stop(10)
    assert (record.code, record.stopped) == (7, True)

    stubborn = world.shell("trap '' TERM; echo up; while :; do sleep 0.01; done")
    attachment = world.spawn(stubborn).run_attached()
    next(iter(attachment))
    began = time.monotonic()
    assert Session.connect(stubborn).stop(0.3).code == 137
    assert 0.3 <= time.monotonic() - began < 2


def test_signals_reach_the_program(world: World) -> None:
    directory = world.shell("trap 'echo got; exit 0' HUP; echo up; while :; do sleep 0.01; done")
    attachment = world.spawn(directory).run_attached()
    output = iter(attachment)
    assert next(output).data == b"up\n"
    Session.connect(directory).signal(signal.SIGHUP)
    assert next(output).data == b"got\n"


def test_a_signal_to_what_is_over_is_a_conflict(world: World) -> None:
    directory = world.shell("exit 0")
    session = world.spawn(directory)
    session.run()
    eventually(lambda: read_exit(directory))
    with pytest.raises((Conflict, NotFound)):
        session.signal(15)


def test_pause_stops_and_resume_goes_on(world: World) -> None:
    directory = world.shell("while :; do echo tick; sleep 0.01; done", log={"driver": "none"})
    attachment = world.spawn(directory).run_attached()
    next(iter(attachment))
    with Session.connect(directory) as session:
        session.pause()
        with pytest.raises(Conflict):
            session.pause()
        record = read_run(directory)
        assert record is not None and record.status == "paused"
        session.resume()
        assert session.status()["status"] == "running"
        session.pause()
        assert session.stop(5).code in (137, 143)


def test_an_oom_kill_is_told(world: World) -> None:
    directory = world.shell("kill -9 $$")
    (directory / "oom").touch()
    record = world.spawn(directory).run_attached().wait()
    assert (record.code, record.oom_killed) == (137, True)


def test_the_program_gets_default_signal_handling(world: World) -> None:
    directory = world.container("grep", "-E", "^Sig(Ign|Blk)", "/proc/self/status")
    out, _ = collect(world.spawn(directory).run_attached())
    assert [line.split()[1] for line in out.splitlines()] == [b"0" * 16] * 2


def test_the_program_inherits_no_descriptor_of_ours(world: World) -> None:
    directory = world.container("ls", "/proc/self/fd")
    out, _ = collect(world.spawn(directory).run_attached())
    assert out.split() == [b"0", b"1", b"2", b"3"]


def test_what_on_exit_names_runs_once_when_nobody_cleans_up(world: World) -> None:
    mark = world.root / "mark"
    command = ("sh", "-c", f"echo ran >> {mark}")
    session = world.spawn(world.shell("exit 0", on_exit=command))
    session.run()
    session.wait()
    eventually(mark.exists)
    time.sleep(0.1)
    assert mark.read_text() == "ran\n"


def test_what_on_exit_names_is_left_to_a_client_that_adopts(world: World) -> None:
    mark = world.root / "mark"
    directory = world.shell("exit 0", on_exit=("touch", str(mark)))
    world.spawn(directory).run_attached(adopt_exit=True).wait()
    eventually(lambda: monitor_pid(directory) is None)
    time.sleep(0.1)
    assert not mark.exists()


def test_the_run_record_names_the_process_and_its_start(world: World) -> None:
    directory = world.container("sleep", "60")
    session = world.spawn(directory)
    pid = session.run()
    record = read_run(directory)
    assert record is not None
    assert (record.status, record.pid) == ("running", pid)
    assert record.pid_start > 0
    assert json.loads((directory / "monitor.pid").read_text())["pid"] == monitor_pid(directory)
    session.stop(0)
