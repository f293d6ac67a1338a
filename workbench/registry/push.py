"""Upload the blobs of an image, a few at once; what is there is not sent again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import BinaryIO, Final

from workbench.events import LayerProgress, Report, silent
from workbench.oci.descriptor import Descriptor
from workbench.registry.client import Repository
from workbench.registry.parallel import Watch, run_in_order

PARALLEL: Final = 5


def upload(
    descriptors: Iterable[Descriptor],
    open_blob: Callable[[Descriptor], BinaryIO],
    repository: Repository,
    report: Report = silent,
    *,
    sources: Mapping[str, str] | None = None,
    parallel: int = PARALLEL,
) -> Iterator[Descriptor]:
    """Store in the repository what it lacks; yield each blob, in order, once it is there.

    ``sources`` maps digests to repositories of the same registry that they can be mounted from.
    An iterator, as ``pull.download``; the manifest is pushed after it has ended.
    """
    blobs = list(descriptors)

    def job(descriptor: Descriptor, watch: Watch) -> None:
        if repository.has_blob(descriptor):
            watch.state("Layer already exists", descriptor.size)
            return
        watch.state("Pushing")
        with open_blob(descriptor) as stream:
            pushed = repository.push_blob(
                descriptor,
                stream,
                source=(sources or {}).get(descriptor.digest),
                sent=lambda count: watch.bytes("Pushing", count),
            )
        watch.state("Pushed" if pushed else "Mounted from", descriptor.size)

    for item in blobs:
        report(LayerProgress(id=item.digest, state="Waiting", total=item.size))
    yield from run_in_order(blobs, job, report, parallel=parallel)
