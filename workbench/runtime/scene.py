"""What init has in its hands while it performs steps."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from workbench.runtime.channel import Channel
from workbench.runtime.steps import Step


@dataclass(slots=True)
class Scene:
    """Changes as steps are performed.

    ``proc`` is a descriptor of the host's procfs, opened before anything of the container's could
    stand in its place. ``root`` is the new root (O_PATH), -1 before and after. ``filters`` are
    compiled programs in the order in which they are installed. ``console`` is (master, slave).
    ``state`` is what hooks read.
    ``program`` is the path that FindProgram found, ``home`` the directory of the user.
    ``step`` is what is being done, ``doing`` that where it is no step; ``listener`` the socket on
    which another process than the parent says start.
    """

    channel: Channel
    proc: int
    root: int = -1
    console: tuple[int, int] = (-1, -1)
    filters: list[bytes] = field(default_factory=list)
    state: Mapping[str, Any] = field(default_factory=dict)
    program: str = ""
    home: str = ""
    in_directory: bool = False
    doing: str = ""
    step: Step | None = None
    listener: socket.socket | None = None

    def close_root(self) -> None:
        if self.root >= 0:
            os.close(self.root)
            self.root = -1

    def close_proc(self) -> None:
        if self.proc >= 0:
            os.close(self.proc)
            self.proc = -1
