"""Further processes in a container: streams, terminals, exit codes, and clients that go."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest

from tests.monitor.conftest import PATH, World, eventually
from workbench.errors import CommandNotFound
from workbench.monitor.client import Session
from workbench.oci.runtime_spec import Process


@pytest.fixture
def session(world: World) -> Session:
    session = world.spawn(world.container("sleep", "60"))
    session.run()
    return session


def shell(script: str) -> Process:
    return Process(args=("sh", "-c", script), env=(PATH,))


def test_streams_and_code(session: Session) -> None:
    with session.execute(shell("echo out; echo err >&2; exit 42")) as execution:
        chunks = list(execution)
        assert execution.wait() == 42
    assert {chunk.stream: chunk.data for chunk in chunks} == {
        "stdout": b"out\n",
        "stderr": b"err\n",
    }


def test_input_and_its_half_close(session: Session) -> None:
    data = os.urandom(2 * 1024**2)
    execution = session.execute(Process(args=("cat",), env=(PATH,)), stdin=True)

    def feed() -> None:
        execution.write(data)
        execution.close_stdin()

    feeder = threading.Thread(target=feed)
    feeder.start()
    assert b"".join(chunk.data for chunk in execution) == data
    feeder.join()
    assert execution.wait() == 0


def test_a_terminal_can_be_resized(session: Session) -> None:
    execution = session.execute(shell("read x; stty size"), terminal=True, stdin=True)
    execution.resize(12, 34)
    execution.write(b"\n")
    assert b"12 34" in b"".join(chunk.data for chunk in execution)


def test_several_at_once_do_not_mix(session: Session) -> None:
    executions = [session.execute(shell(f"seq {n} {n + 2000}")) for n in range(1, 9)]
    for first, execution in enumerate(executions, 1):
        out = b"".join(chunk.data for chunk in execution)
        assert out == b"".join(b"%d\n" % number for number in range(first, first + 2001))
        assert execution.wait() == 0


def test_a_missing_program_and_a_death_by_signal(session: Session) -> None:
    with pytest.raises(CommandNotFound):
        session.execute(Process(args=("no-such",), env=(PATH,)))
    execution = session.execute(shell("sleep 60"))
    execution.signal(signal.SIGTERM)
    assert execution.wait() == 143


def test_a_slow_reader_holds_up_only_its_own(session: Session) -> None:
    size = 6 * 1024**2
    slow = session.execute(shell(f"head -c {size} /dev/zero"))
    assert session.execute(shell("exit 3")).wait() == 3
    time.sleep(0.2)
    assert sum(len(chunk.data) for chunk in slow) == size


def test_a_tied_one_dies_with_its_client_and_another_does_not(session: Session) -> None:
    tied = session.execute(shell("sleep 60"), tie=True)
    loose = session.execute(shell("sleep 60"))
    tied.close()
    loose.close()
    eventually(lambda: not _lives(tied.pid), 2)
    time.sleep(0.1)
    assert _lives(loose.pid)
    os.kill(loose.pid, signal.SIGKILL)


def test_a_process_left_behind_with_open_pipes_is_not_waited_for(session: Session) -> None:
    began = time.monotonic()
    assert session.execute(shell("sleep 5 & exit 0")).wait() == 0
    assert time.monotonic() - began < 2


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
