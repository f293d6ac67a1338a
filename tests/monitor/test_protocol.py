"""Frames, errors across the socket, and what strangers may not do."""

from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path

import pytest

from tests.monitor.conftest import World
from workbench.errors import BuildFailed, Conflict, Internal, InvalidInput, NotFound
from workbench.monitor import protocol
from workbench.monitor.client import Session


def test_frames_survive_any_cut() -> None:
    data = protocol.frame(protocol.STDOUT, b"abc") + protocol.control(protocol.REPLY, {"a": 1})
    reader = protocol.FrameReader()
    seen = []
    for byte in data:
        reader.feed(bytes([byte]))
        seen += list(reader.frames())
    assert seen == [(protocol.STDOUT, b"abc"), (protocol.REPLY, b'{"a":1}')]


def test_a_frame_that_is_too_long_is_refused_before_it_comes() -> None:
    reader = protocol.FrameReader()
    reader.feed(protocol.HEADER.pack(protocol.STDIN, protocol.LARGEST + 1))
    with pytest.raises(InvalidInput):
        list(reader.frames())


@pytest.mark.parametrize("payload", [b"", b"[]", b"{", b"\xff", b"[" * 100_000])
def test_control_frames_hold_an_object(payload: bytes) -> None:
    with pytest.raises(InvalidInput):
        protocol.parse(payload)


def test_errors_travel_by_name() -> None:
    raw = protocol.failure(Conflict("taken", hint="choose another"))
    error = protocol.raised(raw[protocol.HEADER.size :])
    assert type(error) is Conflict
    assert (error.message, error.hint) == ("taken", "choose another")
    assert type(protocol.raised(protocol.failure(BuildFailed("x"))[5:])) is BuildFailed
    assert type(protocol.raised(b'{"kind": "Exception", "message": "x"}')) is Internal
    assert type(protocol.raised(b'{"kind": "annotations"}')) is Internal


def test_paths_may_be_longer_than_a_socket_address(tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*["d" * 50] * 5)
    deep.mkdir(parents=True)
    listener = protocol.listen(deep / "monitor.sock")
    client = protocol.connect(deep / "monitor.sock")
    accepted, _ = listener.accept()
    assert protocol.check_peer(accepted) == os.getpid()
    assert (deep / "monitor.sock").stat().st_mode & 0o777 == 0o600
    for sock in (listener, client, accepted):
        sock.close()


def raw(world: World) -> tuple[socket.socket, Path]:
    directory = world.container("sleep", "60")
    world.spawn(directory).run()
    return protocol.connect(directory / "monitor.sock"), directory


@pytest.mark.parametrize(
    "data",
    [
        b"\x00" * 5,
        protocol.frame(protocol.REQUEST, b"nonsense"),
        protocol.control(protocol.REQUEST, {"op": "explode"}),
        protocol.control(protocol.REQUEST, {"op": "signal", "number": "nine"}),
        protocol.control(protocol.REQUEST, {"op": "signal", "number": 65}),
        protocol.control(protocol.REQUEST, {"op": "stop", "timeout": "long"}),
        protocol.control(protocol.REQUEST, {"op": "execute", "process": {"args": []}}),
        protocol.control(protocol.REQUEST, {"op": "execute", "process": {"args": ["a\0b"]}}),
        protocol.control(protocol.HELLO, {"version": 99}),
        protocol.frame(protocol.RESIZE, b"x"),
        protocol.frame(protocol.SIGNAL, b""),
        protocol.HEADER.pack(protocol.STDIN, 2**32 - 1),
        os.urandom(1000),
    ],
)
def test_nonsense_harms_nobody(world: World, data: bytes) -> None:
    sock, directory = raw(world)
    sock.sendall(data)
    sock.settimeout(0.2)
    with contextlib.suppress(TimeoutError):
        sock.recv(1000)
    sock.close()
    with Session.connect(directory) as session:
        assert session.status()["status"] == "running"
        session.stop(0)


def test_no_monitor_is_not_found(world: World, tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        Session.connect(tmp_path)
