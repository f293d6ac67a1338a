"""The facts: transactions, threads, processes, crashes."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from workbench.errors import Conflict, ContainerNotFound, Corrupt, InvalidInput, Unavailable
from workbench.state.builds import Builds
from workbench.state.containers import ContainerRecord, Containers
from workbench.state.database import Database
from workbench.state.events import Events
from workbench.state.networks import EndpointRecord, NetworkRecord, Networks, PortRecord
from workbench.state.volumes import VolumeRecord, Volumes


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return Database(tmp_path / "state.db")


def record(id: str, name: str) -> ContainerRecord:
    return ContainerRecord(
        id=id,
        name=name,
        image="toolbox",
        image_id="sha256:" + "0" * 64,
        manifest="{}",
        options="{}",
        settled="{}",
        created_ns=1,
    )


def test_a_failed_transaction_leaves_nothing(database: Database) -> None:
    containers = Containers(database)
    with pytest.raises(RuntimeError), database.transaction():
        containers.add(record("a" * 64, "one"))
        raise RuntimeError
    assert containers.all() == []


def test_a_name_is_given_once(database: Database) -> None:
    containers = Containers(database)
    containers.add(record("a" * 64, "one"))
    with pytest.raises(Conflict, match='The container name "/one" is already in use'):
        containers.add(record("b" * 64, "one"))


def test_names_and_prefixes_resolve_as_dockers_do(database: Database) -> None:
    containers = Containers(database)
    containers.add(record("ab" + "0" * 62, "one"))
    containers.add(record("ac" + "0" * 62, "ab"))
    assert containers.find("one").name == "one"
    assert containers.find("ab").name == "ab"  # a name comes before a prefix
    assert containers.find("ac").name == "ab"
    assert containers.find("/one").name == "one"
    with pytest.raises(InvalidInput, match="multiple IDs"):
        containers.find("a")
    with pytest.raises(ContainerNotFound, match="No such container: nothing"):
        containers.find("nothing")


def test_an_end_is_recorded_once(database: Database) -> None:
    containers = Containers(database)
    containers.add(record("a" * 64, "one"))
    containers.started("a" * 64, 5)
    end = {"time_ns": 9, "exit_code": 3, "oom_killed": True, "error": ""}
    assert containers.finished("a" * 64, **end) is True
    assert containers.finished("a" * 64, **end) is False
    found = containers.get("a" * 64)
    assert found is not None
    assert (found.exit_code, found.oom_killed, found.finished_ns) == (3, True, 9)
    containers.started("a" * 64, 12)
    assert containers.find("one").exit_code is None


def test_an_address_is_handed_out_once(database: Database) -> None:
    containers, networks = Containers(database), Networks(database)
    networks.add(NetworkRecord(id="n", name="net", document="{}", created_ns=1))
    for id in ("a", "b"):
        containers.add(record(id * 64, id))
    networks.add_endpoint(
        EndpointRecord(network_id="n", container_id="a" * 64, ipv4="10.0.0.2", document="{}")
    )
    with pytest.raises(Conflict):
        networks.add_endpoint(
            EndpointRecord(network_id="n", container_id="b" * 64, ipv4="10.0.0.2", document="{}")
        )
    containers.remove("a" * 64)
    assert networks.endpoints(network_id="n") == []


@pytest.mark.parametrize(
    "first,second,clash",
    [
        ("0.0.0.0", "127.0.0.1", True),
        ("127.0.0.1", "127.0.0.2", False),
        ("0.0.0.0", "::", False),
        ("::", "::1", True),
    ],
)
def test_ports_clash_on_overlapping_addresses(
    database: Database, first: str, second: str, clash: bool
) -> None:
    containers, networks = Containers(database), Networks(database)
    containers.add(record("a" * 64, "one"))
    taken = {"host_port": 80, "protocol": "tcp", "container_id": "a" * 64, "container_port": 80}
    networks.take_port(PortRecord(host_ip=first, **taken))
    if clash:
        with pytest.raises(Conflict, match="port is already allocated"):
            networks.take_port(PortRecord(host_ip=second, **taken))
    else:
        networks.take_port(PortRecord(host_ip=second, **taken))


def test_a_volume_in_use_stays(database: Database) -> None:
    containers, volumes = Containers(database), Volumes(database)
    containers.add(record("a" * 64, "one"))
    assert volumes.add(VolumeRecord(name="data", created_ns=1, labels={"x": "y"}))
    assert not volumes.add(VolumeRecord(name="data", created_ns=2))
    volumes.use("data", "a" * 64)
    with pytest.raises(Conflict, match="volume is in use"):
        volumes.remove("data")
    containers.remove("a" * 64)
    volumes.remove("data")
    assert volumes.all() == []


def test_events_are_ordered_and_bounded(database: Database, monkeypatch) -> None:
    monkeypatch.setattr("workbench.state.events.KEPT", 10)
    events = Events(database)
    for number in range(300):
        events.add("container", "start", str(number), {"n": str(number)})
    kept = events.after(0)
    assert [int(item.actor) for item in kept] == list(range(int(kept[0].actor), 300))
    assert len(kept) < 100
    assert events.last() == 300
    assert [item.actor for item in events.after(298)] == ["298", "299"]


def test_the_step_cache_remembers(database: Database) -> None:
    builds = Builds(database)
    assert builds.cached("key") is None
    builds.remember("key", "one")
    builds.remember("key", "two")
    assert builds.cached("key") == "two"
    builds.forget(["key"])
    assert builds.cached("key") is None


def test_threads_share_a_database(database: Database) -> None:
    containers = Containers(database)

    def work(number: int) -> None:
        for index in range(10):
            containers.add(record(f"{number:02x}{index:02x}" + "0" * 60, f"c{number}-{index}"))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(containers.all()) == 80


_WRITER = """
import sys
from pathlib import Path
from workbench.state.database import Database
from workbench.state.events import Events
events = Events(Database(Path(sys.argv[1])))
for number in range(100000):
    events.add("container", "start", str(number), {})
    sys.stdout.write(f"{number}\\n")
    sys.stdout.flush()
"""


def test_a_killed_writer_loses_nothing_that_was_committed(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    writer = subprocess.Popen(
        [sys.executable, "-c", _WRITER, str(path)], stdout=subprocess.PIPE, cwd=Path.cwd()
    )
    assert writer.stdout is not None
    last = b""
    for _ in range(50):
        last = writer.stdout.readline()
    os.kill(writer.pid, signal.SIGKILL)
    rest = writer.stdout.read().split()
    writer.wait()
    actors = {int(item.actor) for item in Events(Database(path)).after(0)}
    assert set(range(int(rest[-1] if rest else last) + 1)) <= actors


def test_a_newer_schema_is_refused_with_the_mend(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(Corrupt, match="newer version"):
        Containers(Database(path)).all()


def test_a_directory_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="nowhere"):
        Containers(Database(tmp_path / "nowhere" / "state.db")).all()
