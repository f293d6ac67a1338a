"""How a process with many threads gets into a network namespace: it asks the warden.

``setns`` binds the calling thread, so that neither a notebook's kernel nor a daemon may call it,
and neither may they fork. The warden opens sockets inside and passes them over a Unix socket; a
netlink socket stays in the namespace in which it was opened, whoever uses it.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from workbench.errors import Conflict, ContainerNotFound, Internal, Unavailable, Unsupported
from workbench.network.names import Names, remove, write
from workbench.network.netlink import NETFILTER, ROUTE, Channel

SOCKET: Final = "warden.sock"
LOG: Final = "warden.log"
LARGEST: Final = 65536
_PATIENCE: Final = 10.0
_ERRORS: Final = {"conflict": Conflict, "unsupported": Unsupported}


class Gate:
    """The client of the warden of one state directory. May be used by several threads at once."""

    def __init__(self, root: Path) -> None:
        self._run = root / "run"
        self._root = root

    def ensure(self) -> None:
        """Start the warden where there is none, and wait until it listens."""
        if (connection := self._connect()) is not None:
            connection.close()
        else:
            self._start()

    def ask(
        self, request: dict[str, Any], descriptors: Sequence[int] = ()
    ) -> tuple[dict[str, Any], list[int]]:
        """One question; the answer and the descriptors that came with it.

        Raises what the warden answered with, or Unavailable where it does not answer.
        """
        with contextlib.closing(self._connection()) as connection:
            connection.settimeout(_PATIENCE)
            try:
                socket.send_fds(connection, [json.dumps(request).encode()], list(descriptors))
                data, received, _, _ = socket.recv_fds(connection, LARGEST, 8)
            except OSError as error:
                raise Unavailable(f"the network warden does not answer: {error}") from error
        if not data:
            raise Unavailable("the network warden hung up")
        answer: dict[str, Any] = json.loads(data)
        if failure := answer.get("error"):
            kind = _ERRORS.get(answer.get("kind", ""), Internal)
            raise kind(failure, hint=answer.get("hint", ""))
        return answer, received

    def route_channel(self, namespace: int) -> Channel:
        """A netlink socket for links, addresses and routes inside the namespace of this fd."""
        return self._channel(namespace, ROUTE)

    def filter_channel(self, namespace: int) -> Channel:
        """A netlink socket for nftables inside the namespace of this fd."""
        return self._channel(namespace, NETFILTER)

    def publish(self, names: Names) -> None:
        """Make a container's names known and be its name server, before it starts.

        For containers in user networks; again when its networks have changed.
        """
        write(self._root, names)
        self.ask({"op": "serve", "container": names.container_id})

    def withdraw(self, container_id: str) -> None:
        """Let the names of a container be forgotten; without a warden there is nothing to tell."""
        remove(self._root, container_id)
        if (connection := self._connect()) is not None:
            connection.close()
            self.ask({"op": "forget", "container": container_id})

    def _channel(self, namespace: int, family: int) -> Channel:
        _, received = self.ask({"op": "netlink", "family": family}, [namespace])
        if len(received) != 1:
            raise Internal("the network warden sent no socket")
        return Channel(family, opened=socket.socket(fileno=received[0]))

    def _connection(self) -> socket.socket:
        connection = self._connect()
        if connection is None:
            self._start()
            connection = self._connect()
        if connection is None:
            raise Unavailable(
                "the network warden does not start", hint=f"see {self._run / LOG} for its words"
            )
        return connection

    def _connect(self) -> socket.socket | None:
        try:
            folder = os.open(self._run, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            connection.connect(f"/proc/self/fd/{folder}/{SOCKET}")
        except (FileNotFoundError, ConnectionRefusedError):
            connection.close()
            return None
        finally:
            os.close(folder)
        return connection

    def _start(self) -> None:
        """Returns when a warden listens, be it ours or one that somebody else started."""
        self._run.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (self._run / LOG).open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, *module_arguments("workbench.network.warden"), str(self._root)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=home(),
                start_new_session=True,
            )
        assert process.stdout is not None
        with process.stdout as ready:
            select.select([ready], [], [], _PATIENCE)
        process.wait(_PATIENCE)
        deadline = time.monotonic() + _PATIENCE
        while time.monotonic() < deadline:
            if (connection := self._connect()) is not None:
                connection.close()
                return
            time.sleep(0.005)


def home() -> Path:
    """Where ``python -m`` finds this package: the folder above it, unless it is installed."""
    above = Path(__file__).resolve().parents[2]
    return Path("/") if above.name in ("site-packages", "dist-packages") else above


def module_arguments(module: str) -> tuple[str, ...]:
    """The arguments for an interpreter that runs a module of ours from ``home()``."""
    safe = ("-P",) if home() == Path("/") else ()
    return (*safe, "-m", module)


@contextlib.contextmanager
def namespace_of(pid: int) -> Iterator[int]:
    """A descriptor of the network namespace of a process. Raises ContainerNotFound."""
    try:
        descriptor = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, ProcessLookupError) as error:
        raise ContainerNotFound(f"process {pid} has ended: it has no network to join") from error
    try:
        yield descriptor
    finally:
        os.close(descriptor)
