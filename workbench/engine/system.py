"""The engine as a whole: what the host gives, and cleaning up."""

from __future__ import annotations

from pathlib import Path

from workbench.engine.doctor import diagnose
from workbench.engine.values import Diagnosis
from workbench.linux.host import Host


class System:
    """``doctor``."""

    def __init__(self, host: Host, root: Path) -> None:
        self._host = host
        self._root = root

    def doctor(self) -> Diagnosis:
        """What this host gives to containers, what is missing, and the mend."""
        return diagnose(self._host, self._root)
