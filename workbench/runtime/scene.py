"""What init has in its hands while it performs steps."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from workbench.runtime.channel import Channel


@dataclass(slots=True)
class Scene:
    """Changes as steps are performed.

    ``proc`` is a descriptor of the host's procfs, opened before anything of the container's could
    stand in its place. ``root`` is the new root (O_PATH), -1 before and after. ``filters`` are
    compiled programs in the order in which they are installed. ``state`` is what hooks read.
    ``program`` is the path that FindProgram found, ``home`` the directory of the user.
    """

    channel: Channel
    proc: int
    stdio: tuple[int, int, int] | None = None
    first_free: int = 3
    root: int = -1
    filters: list[bytes] = field(default_factory=list)
    state: Mapping[str, Any] = field(default_factory=dict)
    program: str = ""
    home: str = ""
    in_directory: bool = False
    doing: str = "init"

    def close_root(self) -> None:
        if self.root >= 0:
            os.close(self.root)
            self.root = -1

    def close_proc(self) -> None:
        if self.proc >= 0:
            os.close(self.proc)
            self.proc = -1
