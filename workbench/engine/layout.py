"""Where everything of a state directory lies: the one place that knows its names."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from workbench.errors import Unsupported


@dataclass(frozen=True, slots=True, kw_only=True)
class StateDirectory:
    """The paths below ``root`` (mode 0700; the tree is drawn in ``workbench/README.md``)."""

    root: Path

    @property
    def store(self) -> Path:
        return self.root / "store"

    @property
    def snapshots(self) -> Path:
        return self.root / "snapshots"

    @property
    def database(self) -> Path:
        return self.root / "state.db"

    @property
    def run(self) -> Path:
        return self.root / "run"

    @property
    def volumes(self) -> Path:
        return self.root / "volumes"

    @property
    def builds(self) -> Path:
        return self.root / "builds"

    @property
    def containers(self) -> Path:
        return self.root / "containers"

    def container(self, id: str) -> Path:
        return self.containers / id

    def lock(self, name: str) -> Path:
        return self.run / "locks" / name

    def make(self) -> None:
        """Make what is missing. Raises Unsupported where the user may not."""
        folders = (self.root, self.run, self.run / "locks", self.volumes, self.builds)
        try:
            for folder in (*folders, self.containers):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise Unsupported(
                f"cannot make the state directory {self.root}: {error.strerror}",
                hint="name a directory that you may write in WORKBENCH_ROOT",
            ) from error
