"""The parent's side of a new container: clone, id maps, cgroup, hooks, hand-shake, state.json.

Call from a single-threaded process: the child is a fork of the caller and becomes its child, so
the caller waits for ``Created.pid``. Nothing else is spawned except hooks and newuidmap.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from workbench.linux.host import Host
from workbench.runtime.bundle import Bundle


@dataclass(frozen=True, slots=True)
class Stdio:
    """Descriptors of the caller that become 0, 1 and 2 of the container. They stay the caller's."""

    stdin: int
    stdout: int
    stderr: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Created:
    """A container whose program waits to be started.

    ``pid`` is a child of the caller: the caller must wait for it. ``pidfd`` and ``console_fd``
    (the pty's master where ``process.terminal`` is set, else None) belong to the caller from now
    on. ``channel`` is the socket to init; closing it before ``start`` ends the container.
    """

    pid: int
    pidfd: int
    console_fd: int | None
    channel: int
    directory: Path

    def start(self) -> None:
        """Let the program run; returns after its execve(2), and runs the poststart hooks.

        Raises CommandNotFound or CommandNotRunnable where execve fails, and whatever a
        startContainer hook causes; the process has ended then and must be waited for.
        """


def create(
    bundle: Bundle,
    container_id: str,
    *,
    stdio: Stdio | None = None,
    host: Host | None = None,
    directory: Path | None = None,
    detached: bool = False,
    console_socket: Path | None = None,
    preserved_fds: Sequence[int] = (),
    no_pivot: bool = False,
) -> Created:
    """Make a container: everything but the execve(2) of its program, which was found already.

    ``stdio`` None inherits 0, 1 and 2; it is ignored where ``process.terminal`` is set.
    ``host`` None probes. ``directory`` is where state.json goes, by default the bundle.
    ``detached`` makes init wait on ``start.sock`` in ``directory`` for ``start(directory)`` of any
    process; without it, init ends when the caller does before ``Created.start``.
    ``console_socket`` receives the pty's master (as runc's ``--console-socket``).
    ``preserved_fds`` become 3, 4, ... of the program.

    Raises CommandNotFound (127), CommandNotRunnable (126), InvalidInput, Unsupported (namespaces
    or mounts that this host refuses), Conflict (the directory has a container). After an error
    nothing is left: child reaped, cgroup removed, no state.json.
    """
    raise NotImplementedError


def start(directory: Path) -> None:
    """Start a container that was created ``detached``. Raises as ``Created.start``, and Conflict."""
