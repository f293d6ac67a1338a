"""What can be reached from given descriptors: the marking half of a sweep, and of a check."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from workbench.errors import BlobNotFound, Corrupt, InvalidInput, LimitExceeded
from workbench.oci.descriptor import CONFIGS, INDEXES, MANIFESTS, Descriptor
from workbench.oci.digest import Digest, chain_id
from workbench.oci.image import ImageConfig
from workbench.oci.manifest import Index, Manifest
from workbench.store.content import ContentStore

LIMIT: Final = 4 << 20


@dataclass(slots=True)
class Reached:
    """``blobs`` and ``chains`` that are needed; ``missing`` what is needed but cannot be read."""

    blobs: set[Digest] = field(default_factory=set)
    chains: set[str] = field(default_factory=set)
    missing: dict[Digest, str] = field(default_factory=dict)


def reach(content: ContentStore, roots: Iterable[Descriptor]) -> Reached:
    """Everything below ``roots``, and the chain ids of the images among them."""
    reached = Reached()
    pending = list(roots)
    while pending:
        item = pending.pop()
        if item.digest in reached.blobs:
            continue
        reached.blobs.add(item.digest)
        try:
            pending += _below(content, item)
            reached.chains.update(_chains(content, item))
        except (BlobNotFound, Corrupt, InvalidInput, LimitExceeded) as error:
            reached.missing[item.digest] = str(error)
    return reached


def _below(content: ContentStore, item: Descriptor) -> list[Descriptor]:
    if item.media_type in INDEXES:
        return list(Index.parse(content.read(item, LIMIT)).manifests)
    if item.media_type in MANIFESTS:
        manifest = Manifest.parse(content.read(item, LIMIT))
        return [manifest.config, *manifest.layers]
    if not content.path(item.digest).exists():
        raise BlobNotFound(f"no blob {item.digest}")
    return []


def _chains(content: ContentStore, item: Descriptor) -> Iterator[str]:
    if item.media_type not in CONFIGS:
        return
    diff_ids = ImageConfig.parse(content.read(item, LIMIT)).rootfs.diff_ids
    for index in range(len(diff_ids)):
        yield chain_id(diff_ids[: index + 1])
