"""Download the blobs of an image: lower layers first, a few at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import BinaryIO, Final, Protocol

from workbench.events import LayerProgress, Report, silent
from workbench.oci.descriptor import Descriptor
from workbench.registry.parallel import Watch, run_in_order

PARALLEL: Final = 3


class BlobSink(Protocol):
    """Where blobs go."""

    def has(self, descriptor: Descriptor, /) -> bool: ...

    def put(self, descriptor: Descriptor, stream: BinaryIO, /) -> object: ...


def download(
    descriptors: Iterable[Descriptor],
    open_blob: Callable[[Descriptor], BinaryIO],
    sink: BlobSink,
    report: Report = silent,
    *,
    parallel: int = PARALLEL,
) -> Iterator[Descriptor]:
    """Put what the sink lacks into it; yield each blob, in the order given, once it is there.

    An iterator: nothing happens until it is asked. Closing it, or a failing ``report``, gives up
    the rest. ``sink`` is used by several threads, ``report`` by the caller's alone.
    """
    blobs = list(descriptors)

    def job(descriptor: Descriptor, watch: Watch) -> None:
        if sink.has(descriptor):
            watch.state("Already exists", descriptor.size)
            return
        watch.state("Downloading")
        with open_blob(descriptor) as stream:
            sink.put(descriptor, watch.reading(stream, "Downloading"))
        watch.state("Download complete", descriptor.size)

    for item in blobs:
        report(LayerProgress(id=item.digest, state="Waiting", total=item.size))
    yield from run_in_order(blobs, job, report, parallel=parallel)
