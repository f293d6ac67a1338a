"""Several clients on one container, replay of its log, and clients that do not read."""

from __future__ import annotations

import threading
import time

import pytest

from tests.monitor.conftest import World, eventually
from workbench.errors import Conflict, NotFound
from workbench.monitor.client import Session
from workbench.monitor.record import read_exit

TICK = "i=0; while [ $i -lt 20 ]; do echo $i; i=$((i+1)); sleep 0.01; done"


def text(attachment: object) -> bytes:
    return b"".join(chunk.data for chunk in attachment)  # type: ignore[attr-defined]


def test_every_client_sees_all_of_the_output(world: World) -> None:
    session = world.spawn(world.shell(TICK))
    session.create()
    attachments = [session.attach() for _ in range(5)]
    session.start()
    expected = b"".join(b"%d\n" % number for number in range(20))
    assert [text(attachment) for attachment in attachments] == [expected] * 5
    assert {attachment.wait().code for attachment in attachments} == {0}


def test_a_client_chooses_its_streams(world: World) -> None:
    session = world.spawn(world.shell("echo out; echo err >&2"))
    session.create()
    out, err = session.attach(stderr=False), session.attach(stdout=False)
    session.start()
    assert (text(out), text(err)) == (b"out\n", b"err\n")


def test_replay_and_live_output_join_without_gap_or_repetition(world: World) -> None:
    count = 3000
    directory = world.container("seq", "1", str(count))
    loop = f"for i in $(seq 1 {count}); do echo $i; done; printf unfinished; sleep 0.4"
    directory = world.shell(loop)
    session = world.spawn(directory)
    session.run()
    seen = []
    readers = []
    for _ in range(4):
        attachment = session.attach(logs=True)
        reader = threading.Thread(target=lambda item=attachment: seen.append(text(item)))
        reader.start()
        readers.append(reader)
        time.sleep(0.03)
    for reader in readers:
        reader.join()
    expected = b"".join(b"%d\n" % number for number in range(1, count + 1)) + b"unfinished"
    assert seen == [expected] * 4


def test_replay_is_longer_than_the_buffer(world: World) -> None:
    size = 4 * 1024**2
    directory = world.shell(f"head -c {size} /dev/zero | tr '\\0' x; echo; sleep 1")
    session = world.spawn(directory)
    session.run()
    eventually(lambda: (directory / "c1-json.log").stat().st_size > size)
    attachment = session.attach(logs=True)
    time.sleep(0.2)
    assert len(text(attachment)) == size + 1


def test_a_client_that_does_not_read_is_dropped_and_harms_nobody(world: World) -> None:
    size = 8 * 1024**2
    directory = world.shell(f"head -c {size} /dev/zero", log={"driver": "none"})
    session = world.spawn(directory)
    session.create()
    slow, good = session.attach(), session.attach()
    session.start()
    assert len(text(good)) == size
    assert len(text(slow)) < size


def test_a_tied_client_that_reads_slowly_makes_the_container_wait(world: World) -> None:
    size = 8 * 1024**2
    directory = world.shell(f"head -c {size} /dev/zero", log={"driver": "none"})
    attachment = world.spawn(directory).run_attached(tie=True)
    time.sleep(0.3)
    assert read_exit(directory) is None
    assert len(text(attachment)) == size
    assert attachment.wait().code == 0


def test_output_waits_for_a_reader_that_comes_after_the_end(world: World) -> None:
    directory = world.shell("head -c 100000 /dev/zero", log={"driver": "none"})
    attachment = world.spawn(directory).run_attached()
    eventually(lambda: read_exit(directory))
    time.sleep(0.1)
    assert len(text(attachment)) == 100000


def test_detaching_leaves_the_container_alone(world: World) -> None:
    directory = world.shell(TICK + "; exit 5")
    session = world.spawn(directory)
    session.run()
    session.attach().close()
    assert session.wait().code == 5


def test_open_stdin_outlives_a_client_and_stdin_once_does_not(world: World) -> None:
    keeps = world.container("cat", stdin=True)
    settings = world.settings(keeps, stdin_once=False)
    assert not settings.stdin_once
    session = world.spawn(keeps)
    session.run()
    with session.attach(stdin=True) as first:
        first.write(b"one\n")
        assert next(iter(first)).data == b"one\n"
        first.close_stdin()
    with session.attach(stdin=True) as second:
        second.write(b"two\n")
        assert next(iter(second)).data == b"two\n"
    session.stop(0)

    once = world.container("cat", stdin=True)
    session = world.spawn(once)
    session.run()
    session.attach(stdin=True).close()
    assert session.wait().code == 0


def test_attach_to_what_has_ended_is_refused(world: World) -> None:
    directory = world.shell("exit 0")
    session = world.spawn(directory)
    session.run()
    session.wait()
    with pytest.raises((Conflict, NotFound)):
        session.attach()


def test_many_requests_on_many_connections_at_once(world: World) -> None:
    directory = world.container("sleep", "60")
    session = world.spawn(directory)
    pid = session.run()
    found = []

    def ask() -> None:
        with Session.connect(directory) as mine:
            found.extend(mine.status()["pid"] for _ in range(50))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [pid] * 400
    session.stop(0)
