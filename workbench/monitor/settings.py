"""What a monitor must know of its container beyond the bundle: ``monitor.json``."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from workbench.errors import InvalidInput, NotFound
from workbench.oci.codec import dumps, loads
from workbench.oci.image import Healthcheck

FILE: Final = "monitor.json"
RESTART_POLICIES: Final = ("no", "always", "unless-stopped", "on-failure")


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSettings:
    """Where output is kept. ``driver`` is json-file, local (the same here) or none.

    ``path`` is absolute or relative to the container's directory; empty means ``<id>-json.log``.
    ``max_size`` is bytes, 0 for no bound; ``max_file`` counts the files that rotation keeps.
    """

    driver: str = "json-file"
    path: str = ""
    max_size: int = 0
    max_file: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class RestartSettings:
    """When a container that ended is started again.

    ``policy`` is one of RESTART_POLICIES; ``maximum`` bounds on-failure (0: no bound). The pause
    before a start is ``delay`` seconds, doubles up to ``longest_delay`` and is back at ``delay``
    after a run of ``reset_after`` seconds.
    """

    policy: str = "no"
    maximum: int = 0
    delay: float = 0.1
    longest_delay: float = 60.0
    reset_after: float = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitorSettings:
    """Everything about one container that is the monitor's business.

    ``open_stdin`` keeps stdin open without a client; ``stdin_once`` ends it with the first client
    that ends its own. ``stop_signal`` is a number, ``stop_timeout`` seconds. ``on_exit`` is a
    command run once after the container has ended, unless a client has said that it cleans up.
    ``on_restart`` is run, with the new pid as its last argument, between creation and start of a
    restart (networks are joined by pid). ``tty`` gives it a terminal of ``rows`` by ``columns``
    (0: the kernel's default).
    """

    id: str
    log: LogSettings = LogSettings()
    tty: bool = False
    rows: int = 0
    columns: int = 0
    open_stdin: bool = False
    stdin_once: bool = False
    stop_signal: int = 15
    stop_timeout: float = 10.0
    restart: RestartSettings = RestartSettings()
    healthcheck: Healthcheck | None = None
    on_exit: tuple[str, ...] = ()
    on_restart: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.restart.policy not in RESTART_POLICIES:
            raise InvalidInput(f"invalid restart policy: unknown policy {self.restart.policy!r}")

    @classmethod
    def read(cls, directory: Path) -> MonitorSettings:
        """Of the container in ``directory``. Raises NotFound, InvalidInput."""
        path = directory / FILE
        try:
            raw = path.read_bytes()
        except FileNotFoundError:
            raise NotFound(f"there is no container in {directory}") from None
        return loads(cls, raw, what=str(path))

    def write(self, directory: Path) -> None:
        write_atomically(directory / FILE, dumps(self))

    def log_path(self, directory: Path) -> Path | None:
        """The current log file; None where the driver keeps none."""
        if self.log.driver == "none":
            return None
        return directory / (self.log.path or f"{self.id}-json.log")


def write_atomically(path: Path, data: bytes) -> None:
    """Readers see the old content or the new. Not forced to the disk: a power loss ends all."""
    temporary = path.with_name(f".{path.name}.new")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.write(fd, data)
    finally:
        os.close(fd)
    temporary.replace(path)
