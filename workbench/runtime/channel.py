"""The socket between a parent and the init that it made: small JSON messages, one per datagram.

Both ends are close-on-exec, so that the end of the stream tells the parent of a good execve(2).

    child  -> parent   child(pid)   hooks   console (+ descriptor)   created   error
    parent -> child    proceed   state(state)   filter (F and the raw program)   start

After "start" the trampoline may send eight raw bytes: minus the errno of its execve(2).
"""

from __future__ import annotations

import array
import errno
import json
import os
import socket
import struct
from typing import Any, Final

from workbench import errors
from workbench.errors import CommandNotFound, CommandNotRunnable, Internal, WorkbenchError

Message = dict[str, Any]
_LARGEST: Final = 1 << 17


class Channel:
    """One end. ``receive`` returns None at the end of the stream."""

    __slots__ = ("descriptors", "socket")

    def __init__(self, end: socket.socket) -> None:
        self.socket = end
        self.descriptors: list[int] = []

    @classmethod
    def of(cls, number: int) -> Channel:
        """The end that a descriptor is."""
        return cls(socket.socket(fileno=number))

    def send(self, kind: str, **values: Any) -> None:
        self.socket.send(json.dumps({"type": kind, **values}).encode())

    def send_filter(self, program: bytes) -> None:
        self.socket.send(b"F" + program)

    def send_descriptor(self, kind: str, descriptor: int) -> None:
        data = json.dumps({"type": kind}).encode()
        socket.send_fds(self.socket, [data], [descriptor])

    def receive(self) -> Message | None:
        """The next message. Descriptors that come along are kept in ``descriptors``."""
        data = self._receive_bytes()
        return _decode(data) if data else None

    def _receive_bytes(self) -> bytes:
        try:
            data, extra, _, _ = self.socket.recvmsg(
                _LARGEST, socket.CMSG_SPACE(4), socket.MSG_CMSG_CLOEXEC
            )
        except ConnectionResetError:
            return b""
        for level, kind, packed in extra:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                found = array.array("i")
                found.frombytes(packed)
                self.descriptors.extend(found)
        return data

    def fileno(self) -> int:
        return self.socket.fileno()

    def close(self) -> None:
        self.socket.close()


def pair() -> tuple[Channel, Channel]:
    """Two connected ends, close-on-exec, that keep message boundaries."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    return Channel(ours), Channel(theirs)


def _decode(data: bytes) -> Message:
    if data.startswith(b"F"):
        return {"type": "filter", "program": data[1:]}
    if len(data) == 8 and not data.startswith(b"{"):
        return {"type": "errno", "number": -struct.unpack("=q", data)[0]}
    message: Message = json.loads(data)
    return message


def error_message(error: BaseException, doing: str) -> Message:
    """What the child sends of an exception; ``doing`` is the step that was performed."""
    if isinstance(error, WorkbenchError):
        return {"class": type(error).__name__, "message": error.message, "hint": error.hint}
    if isinstance(error, OSError):
        kind = _class_of(error.errno or 0)
        return {"class": kind.__name__, "message": f"{doing}: {_text(error)}", "hint": ""}
    text = f"{doing}: {type(error).__name__}: {error}"
    return {"class": "Internal", "message": text, "hint": ""}


def _text(error: OSError) -> str:
    named = f": {error.filename}" if error.filename else ""
    return f"{error.strerror or error}{named}"


def _class_of(number: int) -> type[WorkbenchError]:
    """What a caller can do about a failed system call."""
    if number in (errno.EPERM, errno.EACCES, errno.ENOSYS, errno.ENODEV, errno.EOPNOTSUPP):
        return errors.Unsupported
    if number in (errno.ENOENT, errno.ENOTDIR, errno.EINVAL, errno.ELOOP, errno.EROFS):
        return errors.InvalidInput
    if number in (errno.ENOSPC, errno.ENOMEM, errno.EAGAIN, errno.EMFILE, errno.ENFILE):
        return errors.Unavailable
    return Internal


def to_error(message: Message, program: str) -> WorkbenchError:
    """The exception that a message of the child stands for."""
    if message["type"] == "errno":
        return exec_error(program, int(message["number"]))
    kind = getattr(errors, str(message.get("class")), Internal)
    if not (isinstance(kind, type) and issubclass(kind, WorkbenchError)):
        kind = Internal
    return kind(str(message.get("message")), hint=str(message.get("hint", "")))


def exec_error(program: str, number: int) -> WorkbenchError:
    """The error of a failed execve(2), in Docker's words."""
    text = f'exec: "{program}": {os.strerror(number).lower()}'
    if number == errno.ENOENT:
        return CommandNotFound(text, hint="the program or its interpreter is not in the image")
    if number == errno.ENOEXEC:
        text = f"exec {program}: exec format error"
        return CommandNotRunnable(text, hint="it may be built for another machine, or lack '#!'")
    return CommandNotRunnable(text)
