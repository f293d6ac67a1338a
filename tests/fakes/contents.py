"""What the fake registry holds."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

INDEX = "application/vnd.oci.image.index.v1+json"


@dataclass
class Contents:
    """What the registry holds. ``blobs`` are shared, ``names`` says which repository has which."""

    blobs: dict[str, bytes] = field(default_factory=dict)
    names: set[tuple[str, str]] = field(default_factory=set)
    manifests: dict[tuple[str, str], tuple[str, bytes]] = field(default_factory=dict)
    uploads: dict[str, bytearray] = field(default_factory=dict)

    def add_blob(self, name: str, data: bytes) -> str:
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        self.blobs[digest] = data
        self.names.add((name, digest))
        return digest

    def add_manifest(self, name: str, media_type: str, raw: bytes, tag: str | None = None) -> str:
        digest = "sha256:" + hashlib.sha256(raw).hexdigest()
        for reference in filter(None, (digest, tag)):
            self.manifests[name, reference] = (media_type, raw)
        return digest

    def known(self, name: str) -> bool:
        return any(item[0] == name for item in (*self.manifests, *self.names))


def referrers(contents: Contents, name: str, digest: str) -> Iterator[dict[str, Any]]:
    for (owner, reference), (media_type, raw) in list(contents.manifests.items()):
        tree = json.loads(raw)
        if owner != name or ":" not in reference:
            continue
        if (tree.get("subject") or {}).get("digest") == digest:
            yield {
                "mediaType": media_type,
                "digest": reference,
                "size": len(raw),
                "artifactType": tree.get("artifactType") or tree["config"]["mediaType"],
            }
