"""Base images out of this machine: a plan becomes a layer in the store and an image with a name."""

from __future__ import annotations

from typing import Protocol

from workbench.engine.bases.archive import tar_stream
from workbench.engine.bases.plan import plan
from workbench.engine.bases.tree import BasePlan
from workbench.events import Notice, Report
from workbench.oci.descriptor import OCI_LAYER_GZIP, Platform
from workbench.oci.image import (
    EPOCH,
    History,
    Image,
    Layer,
    append_layer,
    with_config,
)
from workbench.oci.reference import Reference
from workbench.store.compression import PackingSink
from workbench.store.content import ContentStore

_CHUNK = 1 << 20


class Shelf(Protocol):
    """Where images are put: what this module needs of ``engine.images``."""

    def add(self, image: Image) -> None: ...

    def name(self, image: Image, reference: Reference) -> None: ...

    def unpack(self, image: Image, *, report: Report) -> None: ...


def make_base(
    kind: str, tag: str | None, *, content: ContentStore, images: Shelf, report: Report
) -> Image:
    """Make the base image ``kind`` and name it. The same machine makes the same digest.

    Raises InvalidInput for an unknown kind, Unsupported with the command that installs what is
    missing.
    """
    with plan(kind, report=report) as base:
        reference = Reference.parse(tag or (kind if ":" in kind else base.default_name))
        report(Notice(message=f"making {reference.familiar} out of this machine"))
        layer = _store(base, content)
    image = append_layer(
        Image.scratch(Platform.host()),
        layer,
        History(created=EPOCH, created_by=f"workbench base {kind}", comment="made from this host"),
    )
    image = with_config(image, base.config)
    images.add(image)
    images.name(image, reference)
    images.unpack(image, report=report)
    return image


def _store(base: BasePlan, content: ContentStore) -> Layer:
    stream = tar_stream(base)
    with content.ingest() as writer, PackingSink(writer) as sink:
        while data := stream.read(_CHUNK):
            sink.write(data)
        sink.finish()
        descriptor = writer.commit(OCI_LAYER_GZIP)
    return Layer(descriptor=descriptor, diff_id=sink.diff_id)
