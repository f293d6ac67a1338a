"""What engine and monitor say to each other: frames on a Unix stream socket.

A frame is one byte of kind, four bytes of length (big endian) and the payload: JSON for control,
raw bytes for stdin and output. A client opens with HELLO and its protocol version; nothing comes
back unless the version does not fit. Requests on one connection are answered in order.
"""

from __future__ import annotations

import json
import os
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from workbench import errors
from workbench.errors import Denied, Internal, InvalidInput, WorkbenchError

VERSION: Final = 1

HELLO: Final = 1
REQUEST: Final = 2
REPLY: Final = 3
ERROR: Final = 4
STDIN: Final = 5
STDIN_END: Final = 6
STDOUT: Final = 7
STDERR: Final = 8
EXIT: Final = 9
RESIZE: Final = 10
SIGNAL: Final = 11

HEADER: Final = struct.Struct(">BI")
SIZE: Final = struct.Struct(">HH")
LARGEST: Final = 4 * 1024**2
CHUNK: Final = 64 * 1024

Stream = Literal["stdout", "stderr"]
STREAM_KINDS: Final[dict[str, int]] = {"stdout": STDOUT, "stderr": STDERR}
STREAM_NAMES: Final[dict[int, Stream]] = {STDOUT: "stdout", STDERR: "stderr"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """Bytes that a process of the container wrote, as they came."""

    stream: Stream
    data: bytes


class FrameReader:
    """Bytes in as they come, whole frames out."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> None:
        self._buffer += data

    def frames(self) -> Iterator[tuple[int, bytes]]:
        """Every whole frame so far. Raises InvalidInput for one longer than LARGEST."""
        while len(self._buffer) >= HEADER.size:
            kind, length = HEADER.unpack_from(self._buffer)
            if length > LARGEST:
                raise InvalidInput(f"a frame of {length} bytes is too long")
            end = HEADER.size + length
            if len(self._buffer) < end:
                return
            payload = bytes(self._buffer[HEADER.size : end])
            del self._buffer[:end]
            yield kind, payload


def frame(kind: int, payload: bytes = b"") -> bytes:
    return HEADER.pack(kind, len(payload)) + payload


def document(tree: Any) -> bytes:
    return json.dumps(tree, separators=(",", ":")).encode()


def control(kind: int, tree: Any) -> bytes:
    """A frame whose payload is the JSON of ``tree``."""
    return frame(kind, document(tree))


def receive(connection: socket.socket) -> tuple[int, bytes]:
    """One frame from a blocking socket, and not a byte more. Raises OSError, InvalidInput."""
    kind, length = HEADER.unpack(_exactly(connection, HEADER.size))
    if length > LARGEST:
        raise InvalidInput(f"a frame of {length} bytes is too long")
    return kind, _exactly(connection, length)


def _exactly(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = connection.recv(size - len(data))
        if not part:
            raise ConnectionResetError("the connection ended within a frame")
        data += part
    return data


def parse(payload: bytes) -> dict[str, Any]:
    """The JSON object of a control frame. Raises InvalidInput."""
    try:
        tree = json.loads(payload)
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"a control frame is not JSON: {error}") from error
    if not isinstance(tree, dict):
        raise InvalidInput("a control frame must hold an object")
    return tree


def hello() -> bytes:
    return control(HELLO, {"version": VERSION})


def check_hello(payload: bytes) -> None:
    """Raises InvalidInput for a client that speaks another version."""
    version = parse(payload).get("version")
    if version != VERSION:
        raise InvalidInput(f"the monitor speaks protocol version {VERSION}, not {version}")


def failure(error: WorkbenchError) -> bytes:
    """An ERROR frame: the class travels by name."""
    kind = type(error).__name__
    return control(ERROR, {"kind": kind, "message": error.message, "hint": error.hint})


def raised(payload: bytes) -> WorkbenchError:
    """The error that an ERROR frame carries; an unknown class becomes Internal."""
    tree = parse(payload)
    known = getattr(errors, str(tree.get("kind")), None)
    if not (isinstance(known, type) and issubclass(known, WorkbenchError)):
        known = Internal
    return known(str(tree.get("message", "")), hint=str(tree.get("hint", "")))


def check_peer(connection: socket.socket) -> int:
    """The pid of who is connected. Raises Denied unless it is our own user or root.

    Source: unix(7), SO_PEERCRED.
    """
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    pid, uid, _gid = struct.unpack("3i", raw)
    if uid not in (0, os.geteuid()):
        raise Denied(f"user {uid} may not speak to a monitor of user {os.geteuid()}")
    return int(pid)


def listen(path: Path) -> socket.socket:
    """A listening socket at ``path``, mode 0600; one that lies there is replaced.

    The path may be longer than the 108 bytes of unix(7): it is bound relative to its directory.
    """
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        listener.bind(f"/proc/self/fd/{directory}/{path.name}")
        path.chmod(0o600)
        listener.listen(64)
    except OSError:
        listener.close()
        raise
    finally:
        os.close(directory)
    return listener


def connect(path: Path) -> socket.socket:
    """A connection to the socket at ``path``. Raises OSError as connect(2) does."""
    directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        connection.connect(f"/proc/self/fd/{directory}/{path.name}")
    except OSError:
        connection.close()
        raise
    finally:
        os.close(directory)
    return connection
