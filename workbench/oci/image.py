"""An image as a value: configuration, history, layers, and the functions that derive new images.

Source: image-spec ``config.md``; Docker's image configuration for the fields beyond it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from workbench.errors import Corrupt, InvalidInput
from workbench.oci.codec import dumps, key, loads
from workbench.oci.descriptor import (
    DOCKER_CONFIG,
    DOCKER_MANIFEST,
    OCI_CONFIG,
    OCI_MANIFEST,
    Descriptor,
    Platform,
)
from workbench.oci.digest import Digest, chain_id
from workbench.oci.manifest import Manifest

EPOCH: Final = "1970-01-01T00:00:00Z"


@dataclass(frozen=True, slots=True, kw_only=True)
class Healthcheck:
    """How a container's health is tested. Durations are nanoseconds; 0 means the default."""

    test: tuple[str, ...] = key("Test", default=())
    interval: int = key("Interval", default=0)
    timeout: int = key("Timeout", default=0)
    start_period: int = key("StartPeriod", default=0)
    start_interval: int = key("StartInterval", default=0)
    retries: int = key("Retries", default=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerConfig:
    """What a container of the image starts with: the ``config`` object of an image."""

    user: str = key("User", default="")
    exposed_ports: Mapping[str, Mapping[str, Any]] = key("ExposedPorts", factory=dict)
    env: tuple[str, ...] = key("Env", default=())
    entrypoint: tuple[str, ...] = key("Entrypoint", default=())
    cmd: tuple[str, ...] = key("Cmd", default=())
    volumes: Mapping[str, Mapping[str, Any]] = key("Volumes", factory=dict)
    working_dir: str = key("WorkingDir", default="")
    labels: Mapping[str, str] = key("Labels", factory=dict)
    stop_signal: str = key("StopSignal", default="")
    healthcheck: Healthcheck | None = key("Healthcheck", default=None)
    shell: tuple[str, ...] = key("Shell", default=())
    on_build: tuple[str, ...] = key("OnBuild", default=())
    args_escaped: bool = key("ArgsEscaped", default=False)
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class RootFS:
    """The stack of layers by the digests of their uncompressed tars, bottom first."""

    diff_ids: tuple[Digest, ...] = key("diff_ids", default=(), keep=True)
    type: str = key("type", default="layers", keep=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """One line of an image's history; ``empty_layer`` marks a step that added no layer."""

    created: str = ""
    created_by: str = key("created_by", default="")
    author: str = ""
    comment: str = ""
    empty_layer: bool = key("empty_layer", default=False)
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageConfig:
    """The configuration of an image. ``created`` is RFC 3339 text."""

    architecture: str
    os: str
    rootfs: RootFS
    created: str = ""
    author: str = ""
    variant: str = ""
    os_version: str = key("os.version", default="")
    config: ContainerConfig = key("config", factory=ContainerConfig)
    history: tuple[History, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def parse(cls, raw: bytes) -> ImageConfig:
        """Raises InvalidInput for what is no image configuration."""
        return loads(cls, raw, what="image configuration")

    @classmethod
    def empty(cls, platform: Platform, *, created: str = EPOCH) -> ImageConfig:
        """The configuration that every chain starts from: no layers, no history."""
        return cls(
            architecture=platform.architecture,
            os=platform.os,
            variant=platform.variant,
            rootfs=RootFS(),
            created=created,
        )

    def to_bytes(self) -> bytes:
        return dumps(self)

    @property
    def platform(self) -> Platform:
        return Platform(architecture=self.architecture, os=self.os, variant=self.variant)


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """A layer: the descriptor of its blob, and the digest of its uncompressed tar."""

    descriptor: Descriptor
    diff_id: Digest


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """One image for one platform. ``raw_*`` are the bytes whose digests count."""

    descriptor: Descriptor
    raw_manifest: bytes
    raw_config: bytes
    config: ImageConfig
    layers: tuple[Layer, ...]

    @classmethod
    def parse(cls, descriptor: Descriptor, raw_manifest: bytes, raw_config: bytes) -> Image:
        """Put an image together from its documents. Raises Corrupt where they disagree."""
        manifest = Manifest.parse(raw_manifest)
        config = ImageConfig.parse(raw_config)
        diff_ids = config.rootfs.diff_ids
        if len(diff_ids) != len(manifest.layers):
            raise Corrupt(
                f"image {descriptor.digest}: the manifest has {len(manifest.layers)} layers, "
                f"the configuration {len(diff_ids)}"
            )
        layers = tuple(
            Layer(descriptor=blob, diff_id=diff_id)
            for blob, diff_id in zip(manifest.layers, diff_ids, strict=True)
        )
        return cls(
            descriptor=descriptor,
            raw_manifest=raw_manifest,
            raw_config=raw_config,
            config=config,
            layers=layers,
        )

    @classmethod
    def build(
        cls, config: ImageConfig, layers: tuple[Layer, ...], *, docker: bool = False
    ) -> Image:
        """An image of our own making; ``docker`` chooses Docker's media types over OCI's."""
        if tuple(layer.diff_id for layer in layers) != config.rootfs.diff_ids:
            raise InvalidInput("the layers are not those that the configuration lists")
        raw_config = config.to_bytes()
        manifest = Manifest(
            media_type=DOCKER_MANIFEST if docker else OCI_MANIFEST,
            config=Descriptor.of(DOCKER_CONFIG if docker else OCI_CONFIG, raw_config),
            layers=tuple(layer.descriptor for layer in layers),
        )
        raw = manifest.to_bytes()
        return cls(
            descriptor=Descriptor.of(manifest.media_type, raw),
            raw_manifest=raw,
            raw_config=raw_config,
            config=config,
            layers=layers,
        )

    @classmethod
    def scratch(cls, platform: Platform | None = None) -> Image:
        """The image without layers that ``FROM scratch`` means."""
        return cls.build(ImageConfig.empty(platform or Platform.host()), ())

    @property
    def id(self) -> Digest:
        """Docker's image id: the digest of the configuration."""
        return Digest.of(self.raw_config)

    @property
    def chain_id(self) -> Digest | None:
        """The id of the whole stack of layers; None for an image without layers."""
        diff_ids = self.config.rootfs.diff_ids
        return chain_id(diff_ids) if diff_ids else None

    def blobs(self) -> tuple[Descriptor, ...]:
        """Every blob below the manifest: the configuration, then the layers."""
        return (
            Manifest.parse(self.raw_manifest).config,
            *(item.descriptor for item in self.layers),
        )


def append_layer(image: Image, layer: Layer, history: History) -> Image:
    """``image`` with one more layer on top and a line of history for it."""
    config = dataclasses.replace(
        image.config,
        rootfs=dataclasses.replace(
            image.config.rootfs, diff_ids=(*image.config.rootfs.diff_ids, layer.diff_id)
        ),
        history=(*image.config.history, history),
        created=history.created or image.config.created,
    )
    return Image.build(config, (*image.layers, layer))


def with_config(image: Image, config: ContainerConfig, history: History | None = None) -> Image:
    """``image`` with another ``config`` object and, if given, a line of history (no layer)."""
    lines = image.config.history if history is None else (*image.config.history, history)
    created = history.created if history and history.created else image.config.created
    return Image.build(
        dataclasses.replace(image.config, config=config, history=lines, created=created),
        image.layers,
    )
