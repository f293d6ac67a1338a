"""What a container mounts: binds, volumes and tmpfs, from options to places on this host."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from workbench.engine.options import MountOption, RunOptions
from workbench.engine.settled import Settled
from workbench.engine.spec.inputs import ResolvedMount
from workbench.engine.values import MountInfo
from workbench.engine.volumes import Volumes
from workbench.errors import InvalidInput
from workbench.oci import codec
from workbench.oci.image import Image
from workbench.state.containers import Containers


@dataclass(frozen=True, slots=True, kw_only=True)
class MountPlan:
    """``resolved`` goes into the specification, ``shown`` into inspect; ``volumes`` are names."""

    resolved: tuple[ResolvedMount, ...] = ()
    shown: tuple[MountInfo, ...] = ()
    volumes: tuple[str, ...] = ()


class Mounting:
    """Turns mount options into mounts, with the volumes of this engine."""

    def __init__(self, volumes: Volumes, containers: Containers) -> None:
        self._volumes = volumes
        self._containers = containers

    def plan(self, options: RunOptions, image: Image) -> MountPlan:
        """Raises InvalidInput where a source is missing or two mounts have one target.

        The image's VOLUMEs become anonymous volumes unless something is mounted there.
        """
        asked = self._asked(options, image)
        resolved, shown, volumes = [], [], []
        for mount in asked:
            if mount.type == "volume":
                name = self._volumes.for_mount(mount, image)
                volumes.append(name)
                source = str(self._volumes.path(name, mount.subpath))
                shown.append(_shown(mount, source, name))
                resolved.append(_bind(mount, source))
            elif mount.type == "tmpfs":
                resolved.append(_tmpfs(mount))
                shown.append(_shown(mount, ""))
            else:
                _check_source(mount)
                resolved.append(_bind(mount, mount.source))
                shown.append(_shown(mount, mount.source))
        return MountPlan(
            resolved=tuple(resolved),
            shown=tuple(shown),
            volumes=tuple(volumes),
        )

    def _asked(self, options: RunOptions, image: Image) -> list[MountOption]:
        by_target: dict[str, MountOption] = {}
        for target in image.config.config.volumes:
            by_target[_target(target)] = MountOption(type="volume", target=target)
        for mount in self._inherited(options.volumes_from):
            by_target[_target(mount.target)] = mount
        own: set[str] = set()
        for mount in options.mounts:
            target = _target(mount.target)
            if target in own:
                raise InvalidInput(f"Duplicate mount point: {mount.target}")
            own.add(target)
            by_target[target] = mount
        return list(by_target.values())

    def _inherited(self, names: tuple[str, ...]) -> list[MountOption]:
        found = []
        for entry in names:
            name, _, mode = entry.partition(":")
            if mode not in ("", "ro", "rw"):
                raise InvalidInput(f"invalid mode: {mode}")
            settled = codec.loads(Settled, self._containers.find(name).settled)
            for mount in settled.mounts:
                found.append(
                    MountOption(
                        type=mount.type,
                        source=mount.name or mount.source,
                        target=mount.target,
                        readonly=mount.readonly or mode == "ro",
                        nocopy=True,
                    )
                )
        return found

    def use(self, plan: MountPlan, container_id: str) -> None:
        """Write down that the container uses the plan's volumes."""
        for name in plan.volumes:
            self._volumes.use(name, container_id)

    def anonymous(self, container_id: str) -> tuple[str, ...]:
        """The anonymous volumes of a container, which ``rm -v`` and ``--rm`` remove with it."""
        return self._volumes.anonymous(container_id)

    def drop(self, names: tuple[str, ...]) -> None:
        """Remove volumes that nobody uses any more; those still in use stay."""
        self._volumes.drop(names)


def _target(path: str) -> str:
    if not path.startswith("/"):
        raise InvalidInput(f"invalid mount path: '{path}' mount path must be absolute")
    plain = "/" + path.strip("/")
    if plain == "/":
        raise InvalidInput("invalid specification: destination can't be '/'")
    return plain


def _check_source(mount: MountOption) -> None:
    if not mount.source.startswith("/"):
        raise InvalidInput(
            f"invalid mount config for type \"bind\": invalid mount path: '{mount.source}'"
            " mount path must be absolute"
        )
    source = Path(mount.source)
    if mount.create_source and not source.exists():
        source.mkdir(parents=True)
    if not source.exists():
        raise InvalidInput(
            f'invalid mount config for type "bind": bind source path does not exist: {source}'
        )


def _bind(mount: MountOption, source: str) -> ResolvedMount:
    access = ("ro",) if mount.readonly else ()
    propagation = mount.propagation or "rprivate"
    return ResolvedMount(
        type="bind", target=mount.target, source=source, options=("rbind", propagation, *access)
    )


def _tmpfs(mount: MountOption) -> ResolvedMount:
    options = ["nosuid", "nodev", "noexec"]
    options += ["ro"] if mount.readonly else []
    options += [f"size={mount.size}"] if mount.size is not None else []
    options += [f"mode={mount.mode:o}"] if mount.mode is not None else ["mode=1777"]
    return ResolvedMount(type="tmpfs", target=mount.target, source="tmpfs", options=tuple(options))


def _shown(mount: MountOption, source: str, name: str = "") -> MountInfo:
    return MountInfo(
        type=mount.type, source=source, target=mount.target, name=name, readonly=mount.readonly
    )
