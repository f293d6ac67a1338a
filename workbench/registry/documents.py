"""What kind of document an answer holds, and its digest. Pure."""

from __future__ import annotations

import hashlib
import json
from typing import Final

from workbench.errors import Corrupt, Unsupported
from workbench.oci.descriptor import INDEXES, MANIFESTS
from workbench.oci.digest import Digest

DOCUMENTS: Final = MANIFESTS | INDEXES
ACCEPT: Final = ", ".join([*sorted(DOCUMENTS), "*/*;q=0.1"])
_SCHEMA_1: Final = "application/vnd.docker.distribution.manifest.v1"


def digest_like(expected: str, raw: bytes) -> Digest:
    """The digest of ``raw`` by the algorithm of ``expected``; sha256 where that says nothing."""
    if expected.startswith("sha512:"):
        return Digest(f"sha512:{hashlib.sha512(raw).hexdigest()}")
    return Digest.of(raw)


def kind(raw: bytes, content_type: str, subject: str) -> str:
    """The media type that the document gives itself, else that of the header.

    Raises Corrupt for what is no JSON object, Unsupported for what we cannot read.
    """
    try:
        tree = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise Corrupt(f"{subject} is not valid JSON") from error
    if not isinstance(tree, dict):
        raise Corrupt(f"{subject} is no JSON object")
    own = tree.get("mediaType")
    if isinstance(own, str) and own in DOCUMENTS:
        return own
    if content_type in DOCUMENTS and not own:
        return content_type
    if content_type.startswith(_SCHEMA_1) or "fsLayers" in tree:
        raise Unsupported(
            f"{subject} is of schema version 1, which is no longer supported",
            hint="push the image again with a current tool",
        )
    raise Unsupported(f"{subject} has the unknown media type {str(own or content_type)[:100]!r}")
