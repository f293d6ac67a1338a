"""Volumes: directories that outlive containers."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from workbench.engine.happenings import Happenings
from workbench.engine.images import Images
from workbench.engine.names import new_id
from workbench.engine.observe import moment
from workbench.engine.options import MountOption
from workbench.engine.values import VolumeInfo
from workbench.errors import Conflict, InvalidInput, VolumeNotFound
from workbench.linux.safe_path import resolve_in_root
from workbench.oci.image import Image
from workbench.state.volumes import VolumeRecord
from workbench.state.volumes import Volumes as Records

_NAME: Final = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*")


class Volumes:
    """``volume create``, ``ls``, ``inspect``, ``rm``, ``prune``, and their use by containers.

    The files of a volume lie in ``ROOT/volumes/NAME/_data``. A volume is there when its row is;
    a directory without a row is what a crash left, and is taken over or removed.
    """

    def __init__(
        self, root: Path, records: Records, images: Images, happenings: Happenings
    ) -> None:
        self._root = root
        self._records = records
        self._images = images
        self._happenings = happenings

    def create(
        self,
        name: str = "",
        *,
        driver: str = "local",
        options: Mapping[str, str] | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> VolumeInfo:
        """Make a volume; one of that name that is there already is returned as it is.

        Raises InvalidInput for a bad name, driver or option, Conflict where the volume exists
        with another driver.
        """
        if driver != "local":
            raise InvalidInput(
                f'error looking up volume plugin {driver}: plugin "{driver}" not found'
            )
        if options:
            raise InvalidInput(f'invalid option: "{next(iter(options))}"')
        record = VolumeRecord(
            name=_check(name) if name else new_id(),
            created_ns=time.time_ns(),
            labels=labels or {},
            anonymous=not name,
        )
        self._add(record)
        return self.get(record.name)

    def _add(self, record: VolumeRecord) -> bool:
        (self._root / record.name / "_data").mkdir(mode=0o755, parents=True, exist_ok=True)
        made = self._records.add(record)
        if made:
            self._happenings.add("volume", "create", record.name, {"driver": record.driver})
        return made

    def list(self) -> tuple[VolumeInfo, ...]:
        """All volumes by name."""
        return tuple(self._info(record) for record in self._records.all())

    def get(self, name: str) -> VolumeInfo:
        """Raises VolumeNotFound."""
        return self._info(self._records.find(name))

    def remove(self, name: str, *, force: bool = False) -> None:
        """Raises VolumeNotFound (unless ``force``), Conflict while a container uses it."""
        try:
            self._records.remove(name)
        except VolumeNotFound:
            if not force:
                raise
            return
        shutil.rmtree(self._root / name, ignore_errors=True)
        self._happenings.add("volume", "destroy", name, {"driver": "local"})

    def prune(self, *, all: bool = False) -> tuple[str, ...]:
        """Remove unused anonymous volumes, or with ``all`` every unused one; their names."""
        removed = []
        for record in self._records.all():
            if not (all or record.anonymous):
                continue
            with suppress(Conflict, VolumeNotFound):
                self.remove(record.name)
                removed.append(record.name)
        return tuple(removed)

    # -- used by containers

    def for_mount(self, mount: MountOption, image: Image) -> str:
        """The name of the volume that a mount means, made where it is missing.

        A volume that is used for the first time takes what the image has at the target, unless
        ``nocopy``; as in Docker, only while it is empty.
        """
        name = _check(mount.source) if mount.source else new_id()
        self._add(
            VolumeRecord(
                name=name,
                created_ns=time.time_ns(),
                labels=mount.labels,
                anonymous=not mount.source,
            )
        )
        record = self._records.find(name)
        if not record.populated and not mount.nocopy:
            data = self._root / name / "_data"
            if not any(data.iterdir()):
                self._images.copy_tree(image, mount.target, data)
            self._records.populated(name)
        return name

    def path(self, name: str, subpath: str = "") -> Path:
        """Where the files lie. ``subpath`` cannot leave the volume. Raises InvalidInput."""
        data = self._root / name / "_data"
        if not subpath:
            return data
        inner = Path(resolve_in_root(data, subpath))
        if not inner.exists():
            raise InvalidInput(f"cannot access path {subpath} in volume {name}: no such file")
        return inner

    def use(self, name: str, container_id: str) -> None:
        self._records.use(name, container_id)

    def anonymous(self, container_id: str) -> tuple[str, ...]:
        """The anonymous volumes that a container uses."""
        found = self._records.of_container(container_id)
        return tuple(record.name for record in found if record.anonymous)

    def drop(self, names: tuple[str, ...]) -> None:
        """Remove those that nobody uses any more."""
        for name in names:
            with suppress(Conflict, VolumeNotFound):
                self.remove(name)

    def _info(self, record: VolumeRecord) -> VolumeInfo:
        return VolumeInfo(
            name=record.name,
            driver=record.driver,
            mountpoint=str(self._root / record.name / "_data"),
            created=moment(record.created_ns),
            labels=record.labels,
            options=record.options,
            anonymous=record.anonymous,
            users=tuple(self._records.users(record.name)),
        )


def _check(name: str) -> str:
    if not _NAME.fullmatch(name) or len(name) > 255:
        raise InvalidInput(
            f'create {name}: "{name}" includes invalid characters for a local volume name, only'
            ' "[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed. If you intended to pass a host directory,'
            " use absolute path"
        )
    return name
