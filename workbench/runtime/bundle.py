"""A bundle: the directory that holds everything the runtime is told about one container."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from workbench.errors import InvalidInput, NotFound
from workbench.linux.mount import Mount
from workbench.oci.codec import dumps, loads
from workbench.oci.runtime_spec import Spec

CONFIG: Final = "config.json"
ROOTFS_MOUNTS: Final = "rootfs.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class _RootfsMounts:
    """The JSON form of ``rootfs.json``."""

    mounts: tuple[Mount, ...] = ()


@dataclass(frozen=True, slots=True)
class Bundle:
    """The directory ``path`` with ``config.json`` and, where we made it, ``rootfs.json``."""

    path: Path

    def spec(self) -> Spec:
        """The runtime specification. Raises NotFound, or InvalidInput with the place."""
        try:
            return Spec.parse((self.path / CONFIG).read_bytes())
        except FileNotFoundError as error:
            raise NotFound(f"{self.path} is no bundle: it has no {CONFIG}") from error

    def rootfs_mounts(self) -> tuple[Mount, ...]:
        """The mounts that make the root file system; none where ``root.path`` is used as it is."""
        path = self.path / ROOTFS_MOUNTS
        try:
            return loads(_RootfsMounts, path.read_bytes(), what=str(path)).mounts
        except FileNotFoundError:
            return ()

    def rootfs(self, spec: Spec) -> Path:
        """Where the root file system is, or is mounted. Raises InvalidInput without ``root``."""
        if spec.root is None or not spec.root.path:
            raise InvalidInput(f"{self.path / CONFIG}: root.path is missing")
        return self.path / spec.root.path

    @classmethod
    def write(cls, path: Path, spec: Spec, rootfs_mounts: tuple[Mount, ...] = ()) -> Bundle:
        """Make the directory (mode 0700) where it is missing, and write both files atomically."""
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        replace(path / CONFIG, spec.to_bytes())
        replace(path / ROOTFS_MOUNTS, dumps(_RootfsMounts(mounts=rootfs_mounts)))
        return cls(path)


def replace(path: Path, data: bytes) -> None:
    """Write a file so that a reader sees all of the old or all of the new content."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_bytes(data)
    partial.replace(path)
