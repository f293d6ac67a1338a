"""Removing what nothing needs: blobs, snapshots, partial ingests, remains of crashes.

Mark, then sweep; what was written or asked for within the grace period stays, since somebody may
be about to name it. Safe beside running ingests, transfers and unpacking.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from workbench.errors import Conflict, NotFound
from workbench.oci.descriptor import Descriptor
from workbench.store.content import ContentStore
from workbench.store.reach import reach
from workbench.store.snapshots import Kind, SnapshotInfo, Snapshotter
from workbench.store.unpack import drop_abandoned

GRACE: Final = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Swept:
    """What was removed; ``bytes`` are those of the blobs."""

    blobs: int
    bytes: int
    snapshots: int
    partials: int
    trees: int


def sweep(
    content: ContentStore,
    snapshotter: Snapshotter,
    *,
    roots: Iterable[Descriptor] = (),
    chains: Iterable[str] = (),
    grace: float = GRACE,
) -> Swept:
    """Remove what neither ``roots``, a name of the store, ``chains`` nor an active snapshot needs.

    ``grace`` is seconds. A chain that is kept keeps all below it.
    """
    cutoff = time.time() - grace
    named = content.references().values()
    reached = reach(content, [*roots, *named])
    blobs = size = 0
    for info in list(content.walk()):
        if info.digest not in reached.blobs and content.delete(info.digest, unused_since=cutoff):
            blobs += 1
            size += info.size
    drop_abandoned(snapshotter)
    return Swept(
        blobs=blobs,
        bytes=size,
        snapshots=_sweep_snapshots(snapshotter, reached.chains | set(chains), cutoff),
        partials=content.drop_partials(grace),
        trees=snapshotter.sweep(),
    )


def _sweep_snapshots(snapshotter: Snapshotter, needed: set[str], cutoff: float) -> int:
    removed = 0
    while True:
        infos = list(snapshotter.walk())
        parents = {info.parent for info in infos}
        # Leaves first: what loses its last child is a leaf in the next round.
        leaves = [info for info in infos if _unneeded(info, needed, parents)]
        count = sum(_remove(snapshotter, info.key, cutoff) for info in leaves)
        removed += count
        if not count:
            return removed


def _unneeded(info: SnapshotInfo, needed: set[str], parents: set[str | None]) -> bool:
    return info.kind is Kind.COMMITTED and info.key not in needed and info.key not in parents


def _remove(snapshotter: Snapshotter, key: str, cutoff: float) -> bool:
    # Others may have removed it, or put a child on it, since we looked.
    with suppress(NotFound, Conflict):
        return snapshotter.remove(key, wait=False, unused_since=cutoff)
    return False
