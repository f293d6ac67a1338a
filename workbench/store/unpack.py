"""An image becomes a stack of committed snapshots, each named by the chain id up to it."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from workbench.errors import Conflict, Corrupt
from workbench.events import LayerProgress, Notice, Report, silent
from workbench.oci.descriptor import layer_compression
from workbench.oci.digest import Digest, Readable, chain_id
from workbench.oci.image import Image, Layer
from workbench.store.compression import unpacked
from workbench.store.content import ContentStore
from workbench.store.layer import AppliedLayer, apply
from workbench.store.options import ApplyOptions
from workbench.store.snapshots import Kind, Snapshotter

KEY: Final = "unpack "
_STEP: Final = 8 << 20


def unpack(
    image: Image,
    content: ContentStore,
    snapshotter: Snapshotter,
    *,
    report: Report = silent,
    options: ApplyOptions | None = None,
) -> Digest | None:
    """Unpack the layers that are not there yet; the chain id of the whole, None without layers.

    Each blob is verified against its digest, each tar against its diff id. Two callers may unpack
    the same image: one works, the other waits. Raises Corrupt, BlobNotFound, and what ``apply``
    raises; layers that were finished stay.
    """
    diff_ids = image.config.rootfs.diff_ids
    if not diff_ids:
        return None
    top = chain_id(diff_ids)
    if snapshotter.exists(top):
        return top
    parent: Digest | None = None
    for index, layer in enumerate(image.layers):
        chain = chain_id(diff_ids[: index + 1])
        if not snapshotter.exists(chain):
            with snapshotter.exclusive(chain):
                if not snapshotter.exists(chain):
                    task = _Task(content, snapshotter, report, options or ApplyOptions())
                    task.run(layer, parent, chain)
        parent = chain
    return top


class _Task:
    """The unpacking of one layer, while nobody else unpacks it."""

    def __init__(
        self,
        content: ContentStore,
        snapshotter: Snapshotter,
        report: Report,
        options: ApplyOptions,
    ) -> None:
        self._content = content
        self._snapshotter = snapshotter
        self._report = report
        self._options = options

    def run(self, layer: Layer, parent: Digest | None, chain: Digest) -> None:
        key = f"{KEY}{chain}"
        self._discard(key)
        self._snapshotter.prepare(key, parent)
        try:
            applied = self._apply(layer, key)
            if applied.diff_id != layer.diff_id:
                raise Corrupt(
                    f"layer {layer.descriptor.digest}: the configuration promises the content "
                    f"{layer.diff_id}, but it has {applied.diff_id}"
                )
            self._snapshotter.commit(key, chain)
        except Conflict:
            # Somebody committed the same chain by another way; theirs is as good.
            self._discard(key)
            if not self._snapshotter.exists(chain):
                raise
        except BaseException:
            self._discard(key)
            raise
        self._report(LayerProgress(id=layer.descriptor.digest, state="Pull complete"))

    def _discard(self, key: str) -> None:
        if self._snapshotter.exists(key):
            self._snapshotter.remove(key, wait=False)

    def _apply(self, layer: Layer, key: str) -> AppliedLayer:
        descriptor = layer.descriptor
        with self._content.open(descriptor) as blob:
            watched = _Watched(blob, descriptor.digest, descriptor.size, self._report)
            stream = unpacked(watched, layer_compression(descriptor.media_type))
            applied = apply(stream, self._snapshotter.changes(key), self._choices(key))
            # What follows the packed data counts for the blob's digest too.
            while blob.read(1 << 20):
                pass
        return applied

    def _choices(self, key: str) -> ApplyOptions:
        given = self._options
        return ApplyOptions(
            whiteouts=self._snapshotter.whiteouts,
            user_attributes=self._snapshotter.user_attributes,
            lowers=self._lowers(key),
            owners=given.owners,
            devices=given.devices,
            max_entries=given.max_entries,
            max_bytes=given.max_bytes,
            observe=given.observe,
            notice=lambda text: self._report(Notice(message=text)),
        )

    def _lowers(self, key: str) -> tuple[Path, ...]:
        return self._snapshotter.lowers(key)


class _Watched:
    """Passes bytes through and reports how far the reading has come."""

    def __init__(self, source: Readable, blob: str, total: int, report: Report) -> None:
        self._source = source
        self._blob = blob
        self._total = total
        self._report = report
        self._count = 0
        self._next = 0

    def read(self, size: int = -1, /) -> bytes:
        data = self._source.read(size)
        self._count += len(data)
        if self._count >= self._next:
            self._next = self._count + _STEP
            self._report(
                LayerProgress(
                    id=self._blob, state="Extracting", current=self._count, total=self._total
                )
            )
        return data


def drop_abandoned(snapshotter: Snapshotter) -> int:
    """Remove unfinished unpacking of processes that died; its number."""
    dropped = 0
    for info in list(snapshotter.walk()):
        if info.kind is not Kind.ACTIVE or not info.key.startswith(KEY):
            continue
        with snapshotter.try_exclusive(info.key.removeprefix(KEY)) as held:
            if held is not None and snapshotter.exists(info.key):
                snapshotter.remove(info.key)
                dropped += 1
    return dropped
