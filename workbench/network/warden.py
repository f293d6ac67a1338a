"""The warden: ``python -m workbench.network.warden ROOT``, one small process per state directory.

It stands inside the network namespaces of containers on behalf of engines, which must not enter
them: it opens sockets there and passes them on, and it is the name server of user networks. It
outlives every engine; killed, the next engine that needs it starts another, which finds all it
must know in files below ``ROOT/run/names``. It goes by itself when it has nothing to do for long.
"""

from __future__ import annotations

import contextlib
import fcntl
import gc
import json
import os
import socket
import struct
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from workbench.linux import libc
from workbench.network.loop import Loop

SOCKET: Final = "warden.sock"
LOCK: Final = "warden.lock"
LARGEST: Final = 65536
CHECK_EVERY: Final = 30.0
IDLE: Final = 300.0
_CLONE_NEWNET: Final = 0x40000000

Answer = tuple[dict[str, Any], list[int]]


class Doorway:
    """Enters network namespaces and always comes home again."""

    def __init__(self) -> None:
        self._home = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)

    @contextlib.contextmanager
    def inside(self, namespace: int) -> Iterator[None]:
        """Be in the namespace of this fd. Ends the process where there is no way back."""
        libc.call("setns", namespace, _CLONE_NEWNET)
        try:
            yield
        finally:
            try:
                libc.call("setns", self._home, _CLONE_NEWNET)
            except OSError:
                os._exit(70)


class Warden:
    """Answers requests, one datagram each, from processes of the same user."""

    def __init__(self, run: Path) -> None:
        self.loop = Loop()
        self._run = run
        self._doorway = Doorway()
        self._listener = _listen(run)
        self._inode = (run / SOCKET).stat().st_ino
        self._quiet = 0.0
        self._operations: dict[str, Callable[[dict[str, Any], list[int]], Answer]] = {
            "netlink": self._netlink,
            "ping": lambda _request, _descriptors: ({"pid": os.getpid()}, []),
            "stop": self._stop,
        }

    def run(self) -> None:
        self.loop.watch(self._listener.fileno(), self._accept)
        self.loop.after(CHECK_EVERY, self._check)
        self.loop.run()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            connection, _ = self._listener.accept()
            with connection:
                connection.settimeout(2.0)
                if _same_user(connection):
                    self._answer(connection)
        self._quiet = 0.0

    def _answer(self, connection: socket.socket) -> None:
        data, descriptors, _, _ = socket.recv_fds(connection, LARGEST, 8)
        passed: list[int] = []
        try:
            request = json.loads(data)
            answer, passed = self._operations[request["op"]](request, descriptors)
        except OSError as error:
            answer = {"error": f"{error.strerror}: {error.filename or error}", "kind": "system"}
        except (KeyError, ValueError, TypeError) as error:
            answer = {"error": f"the request makes no sense: {error!r}", "kind": "request"}
        socket.send_fds(connection, [json.dumps(answer).encode()], passed)
        for descriptor in (*descriptors, *passed):
            os.close(descriptor)

    def _netlink(self, request: dict[str, Any], descriptors: list[int]) -> Answer:
        """Open a netlink socket inside a namespace."""
        with self._doorway.inside(descriptors[0]):
            opened = socket.socket(
                socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, int(request["family"])
            )
        return {}, [opened.detach()]

    def _stop(self, _request: dict[str, Any], _descriptors: list[int]) -> Answer:
        self.loop.stopped = True
        return {}, []

    def _check(self) -> None:
        """Go when idle for long, or when the socket is gone or that of another warden."""
        self._quiet += CHECK_EVERY
        try:
            ours = (self._run / SOCKET).stat().st_ino == self._inode
        except OSError:
            ours = False
        if ours and self._quiet < IDLE:
            self.loop.after(CHECK_EVERY, self._check)
        else:
            self.loop.stopped = True


def _listen(run: Path) -> socket.socket:
    """Bound by a relative name: paths of sockets are short."""
    os.chdir(run)
    with contextlib.suppress(FileNotFoundError):
        (run / SOCKET).unlink()
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(SOCKET)
    (run / SOCKET).chmod(0o600)
    listener.listen(256)
    return listener


def _same_user(connection: socket.socket) -> bool:
    facts = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    _, uid, _ = struct.unpack("=3i", facts)
    return uid in (0, os.geteuid())


def main() -> None:
    """Become the warden of the root in ``argv``; returns at once where it has one.

    The parent ends when the socket listens, so that a starter need only wait for its child.
    """
    run = Path(sys.argv[1]).absolute() / "run"
    run.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = os.open(run / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return
    warden = Warden(run)
    if os.fork():
        os._exit(0)
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1):
        os.dup2(null, descriptor)
    gc.collect()
    gc.freeze()
    warden.run()


if __name__ == "__main__":
    main()
