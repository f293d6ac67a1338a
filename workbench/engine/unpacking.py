"""Images as trees: unpacked layers, their sizes and the files inside. Nothing is mounted."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from workbench.build.merged import MergedTree, split_path
from workbench.config import Limits
from workbench.errors import NotFound
from workbench.events import Report
from workbench.linux.host import Host
from workbench.oci.digest import Digest
from workbench.oci.image import Image, Layer
from workbench.store.content import ContentStore
from workbench.store.options import ApplyOptions
from workbench.store.snapshots import Snapshotter
from workbench.store.sweep import sweep
from workbench.store.unpack import unpack

_TEXT_LIMIT: Final = 4 * 1024**2


class Unpacking:
    """The snapshots of images. Threads and processes may share it."""

    def __init__(
        self, content: ContentStore, snapshotter: Snapshotter, host: Host, limits: Limits
    ) -> None:
        self._content = content
        self._snapshotter = snapshotter
        # Only root may give files away and make devices.
        self._options = ApplyOptions(
            owners=not host.rootless,
            devices=not host.rootless,
            max_entries=limits.layer_entries,
            max_bytes=limits.layer_bytes,
        )

    def unpack(self, image: Image, *, report: Report) -> None:
        """Make the layers snapshots that are not. Raises Corrupt, LimitExceeded, BlobNotFound."""
        unpack(image, self._content, self._snapshotter, report=report, options=self._options)

    def size(self, chain: Digest, layer: Layer) -> int:
        """Bytes of a layer's files; those of its blob while it is not unpacked."""
        try:
            return self._snapshotter.usage(chain).bytes
        except NotFound:
            return layer.descriptor.size

    def text_file(self, image: Image, path: str) -> str:
        """A small text file of an unpacked image, "" where there is none; links are followed."""
        raw = self._tree(image).read(path, _TEXT_LIMIT)
        return raw.decode("utf-8", "replace") if raw else ""

    def copy_tree(self, image: Image, path: str, target: Path) -> None:
        """Copy what an unpacked image has below ``path`` into ``target``, with owners and modes."""
        tree = self._tree(image)
        base = tree.resolve(split_path(path))
        status = tree.status(base)
        if status is None:
            return
        _like(target, status)
        directories = []
        for found in tree.walk(base):
            place = target.joinpath(*found.path[len(base) :])
            if place == target:
                continue
            if found.is_dir:
                place.mkdir(exist_ok=True)
                directories.append((place, found.status))
            elif found.is_link:
                place.symlink_to(found.readlink())
            elif found.is_file:
                _copy_file(found.open(), place)
                _like(place, found.status)
        for place, status in reversed(directories):
            _like(place, status)

    def _tree(self, image: Image) -> MergedTree:
        chain = image.chain_id
        if chain is None:
            return MergedTree(())
        return MergedTree((self._snapshotter.changes(chain), *self._snapshotter.lowers(chain)))

    def sweep(self, *, chains: frozenset[str] = frozenset()) -> None:
        """Remove blobs and snapshots that nothing needs any more; ``chains`` are needed."""
        roots = [descriptor for descriptor, _ in self._content.images()]
        sweep(self._content, self._snapshotter, roots=roots, chains=chains)


def _copy_file(source: int, target: Path) -> None:
    with open(source, "rb") as reader, target.open("wb") as writer:
        while data := reader.read(1 << 20):
            writer.write(data)


def _like(path: Path, status: os.stat_result) -> None:
    """Give a copy the owner, mode and times of what it was copied from."""
    if os.geteuid() == 0:
        os.chown(path, status.st_uid, status.st_gid, follow_symlinks=False)
    path.chmod(status.st_mode & 0o7777)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
