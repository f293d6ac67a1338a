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
import resource
import socket
import struct
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from workbench.linux import libc
from workbench.network import dns, nft, rewrite
from workbench.network.dns import HostResolvers, NameServer, Post
from workbench.network.files import SERVER
from workbench.network.loop import Loop
from workbench.network.names import Names, Table, start_time
from workbench.network.netlink import NETFILTER, Channel

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
        self._table = Table(run.parent)
        self._server = NameServer(self.loop, self._table, HostResolvers())
        self._posts: dict[str, Post] = {}
        self._operations: dict[str, Callable[[dict[str, Any], list[int]], Answer]] = {
            "netlink": self._netlink,
            "serve": self._serve,
            "forget": self._forget,
            "ping": lambda _request, _descriptors: ({"pid": os.getpid()}, []),
            "stop": self._stop,
        }

    def recover(self) -> None:
        """Stand in the containers that run already."""
        self._table.refresh()
        for names in tuple(self._table.containers.values()):
            try:
                self._take_post(names)
            except OSError:
                self._table.forget(names.container_id)

    def run(self) -> None:
        """Wait for requests."""
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

    def _serve(self, request: dict[str, Any], _descriptors: list[int]) -> Answer:
        """Be the name server of a container whose file of names is written."""
        names = self._table.reload(str(request["container"]))
        if names is None:
            raise ValueError("there is no file of names for this container")
        self._take_post(names)
        return {}, []

    def _forget(self, request: dict[str, Any], _descriptors: list[int]) -> Answer:
        """Stand in a container no longer."""
        self._leave_post(str(request["container"]))
        self._table.refresh()
        return {}, []

    def _take_post(self, names: Names) -> None:
        """Open both sockets inside. Raises OSError where the container is gone."""
        post = self._posts.get(names.container_id)
        if post is not None and post.process == (names.pid, names.started):
            return
        self._leave_post(names.container_id)
        life = os.pidfd_open(names.pid)
        try:
            if start_time(names.pid) != names.started:
                raise ProcessLookupError(3, "the container has ended")
            namespace = os.open(f"/proc/{names.pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
            try:
                udp, tcp = self._open_inside(namespace)
            finally:
                os.close(namespace)
        except OSError:
            os.close(life)
            raise
        post = Post(self.loop, self._server, names, udp, tcp, life, self._ended)
        self._posts[names.container_id] = post

    def _open_inside(self, namespace: int) -> tuple[socket.socket, socket.socket]:
        """Sockets at 127.0.0.11, to which port 53 is brought; at 53 where nothing can bring it."""
        with self._doorway.inside(namespace):
            try:
                udp, tcp = _sockets(0)
                ports = udp.getsockname()[1], tcp.getsockname()[1]
                with Channel(NETFILTER) as channel:
                    known = channel.ask(nft.get_table(rewrite.TABLE)) is not None
                    batch = rewrite.again(*ports) if known else rewrite.first(*ports)
                    channel.transact(batch, "bring port 53 to the name server")
            except OSError:
                udp, tcp = _sockets(dns.PORT)
        return udp, tcp

    def _ended(self, container_id: str) -> None:
        self._leave_post(container_id)
        self._table.forget(container_id)

    def _leave_post(self, container_id: str) -> None:
        post = self._posts.pop(container_id, None)
        if post is not None:
            post.close()

    def _stop(self, _request: dict[str, Any], _descriptors: list[int]) -> Answer:
        self.loop.stopped = True
        return {}, []

    def _check(self) -> None:
        """Go when idle for long, or when the socket is gone or that of another warden."""
        self._quiet = 0.0 if self._posts else self._quiet + CHECK_EVERY
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


def _sockets(port: int) -> tuple[socket.socket, socket.socket]:
    """A UDP and a listening TCP socket at the name server's address. Raises OSError."""
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    tcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        udp.bind((SERVER, port))
        tcp.bind((SERVER, port))
        tcp.listen(64)
    except OSError:
        udp.close()
        tcp.close()
        raise
    return udp, tcp


def _same_user(connection: socket.socket) -> bool:
    facts = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    _, uid, _ = struct.unpack("=3i", facts)
    return uid in (0, os.geteuid())


def _raise_limit() -> None:
    """Three descriptors for each container soon pass the usual 1024."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


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
    _raise_limit()
    warden = Warden(run)
    warden.recover()
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
