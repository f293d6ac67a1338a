"""Run one more process in a container that runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from workbench.oci.runtime_spec import Process
from workbench.runtime.create import Stdio


@dataclass(frozen=True, slots=True, kw_only=True)
class Executed:
    """A process that runs: a child of the caller, who must wait for ``pid``.

    ``pidfd`` and ``console_fd`` (None without a terminal) belong to the caller.
    """

    pid: int
    pidfd: int
    console_fd: int | None


def execute(
    directory: Path,
    process: Process,
    *,
    stdio: Stdio | None = None,
    preserved_fds: Sequence[int] = (),
) -> Executed:
    """Join all namespaces and the cgroup of the container in ``directory`` and run ``process``.

    Returns after execve(2). Seccomp filter and apparmor label are those of the container's own
    specification; user, capabilities, limits and no_new_privs those of ``process``. Call from a
    single-threaded process.

    Raises ContainerNotFound, Conflict (not running, paused), CommandNotFound,
    CommandNotRunnable, Unsupported.
    """
    raise NotImplementedError
