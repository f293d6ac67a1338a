"""Descriptors, platforms and media types.

Source: image-spec ``descriptor.md`` and ``media-types.md``; Docker's image manifest v2, schema 2.
"""

from __future__ import annotations

import platform as _host
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from workbench.errors import InvalidInput
from workbench.oci.codec import key
from workbench.oci.digest import Digest

OCI_MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX: Final = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG: Final = "application/vnd.oci.image.config.v1+json"
OCI_LAYER: Final = "application/vnd.oci.image.layer.v1.tar"
OCI_LAYER_GZIP: Final = OCI_LAYER + "+gzip"
OCI_LAYER_ZSTD: Final = OCI_LAYER + "+zstd"
OCI_EMPTY: Final = "application/vnd.oci.empty.v1+json"

DOCKER_MANIFEST: Final = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_INDEX: Final = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_CONFIG: Final = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER: Final = "application/vnd.docker.image.rootfs.diff.tar"
DOCKER_LAYER_GZIP: Final = DOCKER_LAYER + ".gzip"
DOCKER_LAYER_ZSTD: Final = DOCKER_LAYER + ".zstd"
DOCKER_FOREIGN: Final = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"

MANIFESTS: Final = frozenset({OCI_MANIFEST, DOCKER_MANIFEST})
INDEXES: Final = frozenset({OCI_INDEX, DOCKER_INDEX})
CONFIGS: Final = frozenset({OCI_CONFIG, DOCKER_CONFIG})

_COMPRESSIONS: Final = {
    OCI_LAYER: "",
    OCI_LAYER_GZIP: "gzip",
    OCI_LAYER_ZSTD: "zstd",
    DOCKER_LAYER: "",
    DOCKER_LAYER_GZIP: "gzip",
    DOCKER_LAYER_ZSTD: "zstd",
    DOCKER_FOREIGN: "gzip",
    "application/vnd.oci.image.layer.nondistributable.v1.tar": "",
    "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip": "gzip",
    "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd": "zstd",
}

# Go's names for what uname(2) calls the machine.
_ARCHITECTURES: Final = {
    "x86_64": ("amd64", ""),
    "aarch64": ("arm64", "v8"),
    "armv7l": ("arm", "v7"),
    "i686": ("386", ""),
    "ppc64le": ("ppc64le", ""),
    "riscv64": ("riscv64", ""),
    "s390x": ("s390x", ""),
}


def layer_compression(media_type: str) -> str:
    """How a layer of this media type is packed: "gzip", "zstd" or "". Raises InvalidInput."""
    try:
        return _COMPRESSIONS[media_type]
    except KeyError:
        raise InvalidInput(f"{media_type!r} is not the media type of a layer") from None


def is_layer(media_type: str) -> bool:
    """Whether the media type names a file-system layer."""
    return media_type in _COMPRESSIONS


@dataclass(frozen=True, slots=True, kw_only=True)
class Platform:
    """What an image runs on, in Go's names."""

    architecture: str
    os: str = key("os", default="linux", keep=True)
    variant: str = ""
    os_version: str = key("os.version", default="")
    os_features: tuple[str, ...] = key("os.features", default=())
    extra: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str) -> Platform:
        """``os/architecture[/variant]``, as for ``--platform``. Raises InvalidInput."""
        parts = text.lower().split("/")
        if not 1 <= len(parts) <= 3 or not all(parts):
            raise InvalidInput(f"invalid platform {text!r}", hint="write it as linux/amd64")
        if len(parts) == 1:
            return cls(architecture=_normal(parts[0])[0], variant=_normal(parts[0])[1])
        architecture, variant = _normal(parts[1])
        return cls(
            os=parts[0],
            architecture=architecture,
            variant=parts[2] if len(parts) == 3 else variant,
        )

    @classmethod
    def host(cls) -> Platform:
        """The platform of this machine."""
        architecture, variant = _normal(_host.machine())
        return cls(architecture=architecture, variant=variant)

    def accepts(self, other: Platform) -> bool:
        """Whether an image for ``other`` runs here. A missing variant of arm64 counts as v8."""
        if (self.os, self.architecture) != (other.os, other.architecture):
            return False
        return self._variant == other._variant or not other.variant or not self.variant

    @property
    def _variant(self) -> str:
        return "v8" if self.architecture == "arm64" and not self.variant else self.variant

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)


def _normal(machine: str) -> tuple[str, str]:
    return _ARCHITECTURES.get(machine, (machine, "v8" if machine == "arm64" else ""))


@dataclass(frozen=True, slots=True, kw_only=True)
class Descriptor:
    """A typed, sized pointer to content. ``size`` is bytes."""

    media_type: str
    digest: Digest
    size: int
    platform: Platform | None = None
    artifact_type: str = ""
    annotations: Mapping[str, str] = field(default_factory=dict)
    urls: tuple[str, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.size < 0:
            raise InvalidInput(f"{self.digest} has the negative size {self.size}")

    @classmethod
    def of(cls, media_type: str, data: bytes) -> Descriptor:
        """The descriptor of ``data``."""
        return cls(media_type=media_type, digest=Digest.of(data), size=len(data))
