"""What changed in a snapshot becomes a layer: captured, packed and stored in one pass."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from workbench.oci.descriptor import OCI_LAYER_GZIP
from workbench.oci.image import Layer
from workbench.store.compression import PackingSink
from workbench.store.content import ContentStore
from workbench.store.layer import write_members
from workbench.store.options import ignore
from workbench.store.snapshots import Snapshotter
from workbench.store.tar_entry import TarEntry


@dataclass(frozen=True, slots=True, kw_only=True)
class PackedLayer:
    """``size`` is the bytes of the layer's files, ``entries`` the number of its members."""

    layer: Layer
    size: int
    entries: int


def pack_layer(
    content: ContentStore,
    snapshotter: Snapshotter,
    key: str,
    *,
    observe: Callable[[TarEntry], None] = ignore,
    notice: Callable[[str], None] = ignore,
) -> PackedLayer:
    """Store what the snapshot ``key`` changes as a gzip layer. The snapshot stays as it is.

    Equal changes give equal digests. Raises NotFound, and what ``capture`` raises.
    """
    members = snapshotter.members(key, notice=notice)
    with content.ingest() as writer, PackingSink(writer) as sink:
        captured = write_members(members, sink.write, observe=observe, notice=notice)
        sink.finish()
        descriptor = writer.commit(OCI_LAYER_GZIP)
    layer = Layer(descriptor=descriptor, diff_id=sink.diff_id)
    return PackedLayer(layer=layer, size=captured.size, entries=captured.entries)


def write_layer(
    content: ContentStore,
    snapshotter: Snapshotter,
    key: str,
    *,
    observe: Callable[[TarEntry], None] = ignore,
    notice: Callable[[str], None] = ignore,
) -> Layer:
    """``pack_layer`` for callers that want the layer alone."""
    return pack_layer(content, snapshotter, key, observe=observe, notice=notice).layer
