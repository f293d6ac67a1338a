"""Looking whether the store is whole, and mending what can be mended by leaving it out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

from workbench.errors import BlobNotFound, Conflict, Corrupt, NotFound
from workbench.oci.descriptor import Descriptor
from workbench.store.content import ContentStore
from workbench.store.reach import reach
from workbench.store.snapshots import Snapshotter


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something wrong. ``kind`` is "blob", "name" or "snapshot", ``subject`` its digest or name.

    ``repaired`` says that it was removed; what it was a part of must be fetched anew.
    """

    kind: str
    subject: str
    problem: str
    repaired: bool = False


def check(
    content: ContentStore, snapshotter: Snapshotter, *, repair: bool = False
) -> tuple[Finding, ...]:
    """Read every blob, follow every name, look at every snapshot's record. Takes its time.

    With ``repair`` damaged blobs, names that lead to missing ones, and broken snapshots are
    removed.
    """
    findings = [*_blobs(content, repair=repair), *_names(content, repair=repair)]
    findings += _snapshots(snapshotter, repair=repair)
    return tuple(findings)


def _blobs(content: ContentStore, *, repair: bool) -> Iterator[Finding]:
    for info in list(content.walk()):
        problem = _damage(content, Descriptor(media_type="", digest=info.digest, size=info.size))
        if problem:
            mended = repair and content.delete(info.digest)
            yield Finding(kind="blob", subject=info.digest, problem=problem, repaired=mended)


def _damage(content: ContentStore, descriptor: Descriptor) -> str:
    try:
        with content.open(descriptor) as stream:
            while stream.read(1 << 20):
                pass
    except Corrupt as error:
        return str(error)
    except BlobNotFound:
        # Somebody removed it since we listed it.
        return ""
    except OSError as error:
        return f"it cannot be read: {error}"
    return ""


def _names(content: ContentStore, *, repair: bool) -> Iterator[Finding]:
    for reference, descriptor in content.references().items():
        missing = reach(content, [descriptor]).missing
        if not missing:
            continue
        problem = "; ".join(f"needs {digest}: {why}" for digest, why in missing.items())
        mended = repair and content.untag(reference) is not None
        yield Finding(kind="name", subject=str(reference), problem=problem, repaired=mended)


def _snapshots(snapshotter: Snapshotter, *, repair: bool) -> Iterator[Finding]:
    for key, problem in list(snapshotter.damaged()):
        mended = False
        if repair:
            with suppress(NotFound, Conflict):
                mended = snapshotter.remove(key)
        yield Finding(kind="snapshot", subject=key, problem=problem, repaired=mended)
