"""Stacks of layers while a build runs: unpacked only when their files are needed."""

from __future__ import annotations

from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import Final
from uuid import uuid4

from workbench.build.merged import MergedTree
from workbench.errors import Conflict
from workbench.events import Report
from workbench.oci.descriptor import Platform
from workbench.oci.digest import Digest, chain_id
from workbench.oci.image import Image, ImageConfig, Layer, RootFS
from workbench.store.content import ContentStore
from workbench.store.snapshots import Kind, Snapshotter
from workbench.store.unpack import unpack

KEY: Final = "build "


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """Layers, bottom first. ``chain`` names the snapshot of all of them; None for no layers."""

    layers: tuple[Layer, ...] = ()

    @property
    def chain(self) -> Digest | None:
        return chain_id(layer.diff_id for layer in self.layers) if self.layers else None

    def with_layer(self, layer: Layer) -> Stack:
        return Stack(layers=(*self.layers, layer))


class Trees:
    """Makes stacks into snapshots. Safe for many threads."""

    def __init__(self, content: ContentStore, snapshotter: Snapshotter, report: Report) -> None:
        self._content = content
        self.snapshotter = snapshotter
        self._report = report
        self._locks: dict[str, ExitStack] = {}

    def ready(self, stack: Stack) -> Digest | None:
        """The name of the stack's snapshot, which is there afterwards; None for no layers."""
        chain = stack.chain
        if chain is None or self.snapshotter.exists(chain):
            return chain
        # unpack() wants an image; of ours only the layers count.
        config = ImageConfig(
            architecture=Platform.host().architecture,
            os="linux",
            rootfs=RootFS(diff_ids=tuple(layer.diff_id for layer in stack.layers)),
        )
        image = Image.build(config, stack.layers)
        return unpack(image, self._content, self.snapshotter, report=self._report)

    def view(self, stack: Stack) -> MergedTree:
        """The files of a stack."""
        chain = self.ready(stack)
        if chain is None:
            return MergedTree([])
        snapshotter = self.snapshotter
        return MergedTree([snapshotter.changes(chain), *snapshotter.lowers(chain)])

    def begin(self, stack: Stack) -> str:
        """A new active snapshot on top of a stack; its key, which stays locked to the end.

        The lock tells ``drop_abandoned`` that whoever fills the snapshot is alive.
        """
        key = f"{KEY}{uuid4().hex}"
        parent = self.ready(stack)
        with ExitStack() as opened:
            opened.enter_context(self.snapshotter.exclusive(key))
            self.snapshotter.prepare(key, parent)
            self._locks[key] = opened.pop_all()
        return key

    def drop(self, key: str) -> None:
        """Remove an active snapshot, whatever it holds."""
        with self._locks.pop(key, ExitStack()):
            self.snapshotter.remove(key, wait=False)

    def finish(self, key: str, stack: Stack) -> None:
        """Commit an active snapshot as the top of ``stack``, unless that is there already."""
        chain = stack.chain
        assert chain is not None
        with self._locks.pop(key, ExitStack()):
            try:
                self.snapshotter.commit(key, chain)
            except Conflict:
                # An equal layer on the same parent came about before; one of the two is enough.
                with suppress(Conflict):
                    self.snapshotter.remove(key, wait=False)


def drop_abandoned(snapshotter: Snapshotter) -> int:
    """Remove the unfinished snapshots of builds that died; their number."""
    dropped = 0
    for info in list(snapshotter.walk()):
        if info.kind is not Kind.ACTIVE or not info.key.startswith(KEY):
            continue
        with snapshotter.try_exclusive(info.key) as held:
            if held is not None and snapshotter.exists(info.key):
                snapshotter.remove(info.key, wait=False)
                dropped += 1
    return dropped
