"""Image manifests and indexes. The raw bytes that were read stay beside the parsed form, so that a
digest is never computed from JSON that we encoded anew.

Source: image-spec ``manifest.md``, ``image-index.md``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from workbench.errors import InvalidInput
from workbench.oci.codec import dumps, key, loads
from workbench.oci.descriptor import (
    INDEXES,
    MANIFESTS,
    OCI_INDEX,
    OCI_MANIFEST,
    Descriptor,
    Platform,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """One image for one platform: its configuration and its layers, bottom first."""

    config: Descriptor
    layers: tuple[Descriptor, ...] = key("layers", default=(), keep=True)
    schema_version: int = key("schemaVersion", default=2, keep=True)
    media_type: str = key("mediaType", default=OCI_MANIFEST, keep=True)
    artifact_type: str = ""
    subject: Descriptor | None = None
    annotations: Mapping[str, str] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def parse(cls, raw: bytes) -> Manifest:
        """Raises InvalidInput for what is no manifest of schema version 2."""
        manifest = loads(cls, raw, what="manifest")
        if manifest.schema_version != 2:
            raise InvalidInput(f"manifest of schema version {manifest.schema_version}, not 2")
        return manifest

    def to_bytes(self) -> bytes:
        return dumps(self)

    @property
    def descriptor(self) -> Descriptor:
        """The descriptor of our own encoding; for a manifest that was read use its source's."""
        return Descriptor.of(self.media_type, self.to_bytes())


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """Several manifests: one image for many platforms, or the table of contents of a layout."""

    manifests: tuple[Descriptor, ...] = key("manifests", default=(), keep=True)
    schema_version: int = key("schemaVersion", default=2, keep=True)
    media_type: str = key("mediaType", default=OCI_INDEX, keep=True)
    artifact_type: str = ""
    subject: Descriptor | None = None
    annotations: Mapping[str, str] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def parse(cls, raw: bytes) -> Index:
        """Raises InvalidInput for what is no index."""
        return loads(cls, raw, what="index")

    def to_bytes(self) -> bytes:
        return dumps(self)

    @property
    def descriptor(self) -> Descriptor:
        return Descriptor.of(self.media_type, self.to_bytes())

    def select(self, platform: Platform) -> Descriptor | None:
        """The first entry that runs on ``platform``, exact variants first; else None."""
        candidates = [
            item
            for item in self.manifests
            if item.media_type in MANIFESTS | INDEXES
            and (item.platform is None or platform.accepts(item.platform))
        ]
        exact = [item for item in candidates if item.platform == platform]
        return next(iter(exact + candidates), None)
