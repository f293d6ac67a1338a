"""Images become stacks of snapshots: verified, once, and whole after any accident."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import zstandard

from tests.store.conftest import ROOT, listing, tar_of
from workbench.errors import BlobNotFound, Corrupt, LimitExceeded
from workbench.events import Event, LayerProgress
from workbench.oci.descriptor import OCI_LAYER_GZIP, OCI_LAYER_ZSTD, Descriptor, Platform
from workbench.oci.digest import Digest, chain_id
from workbench.oci.image import Image, ImageConfig, Layer, RootFS
from workbench.store.content import ContentStore
from workbench.store.options import ApplyOptions
from workbench.store.overlay import OverlaySnapshotter
from workbench.store.packing import pack_layer, write_layer
from workbench.store.snapshots import Kind
from workbench.store.unpack import KEY, drop_abandoned, unpack

CHOICES = ApplyOptions(owners=ROOT, devices=ROOT)
ONE = tar_of("a", {"name": "d/x", "data": b"1"})
TWO = tar_of({"name": "b", "data": b"2"})


@pytest.fixture
def snapshotter(tmp_path: Path) -> OverlaySnapshotter:
    return OverlaySnapshotter(tmp_path / "snapshots", userxattr=not ROOT)


def image_of(*layers: Layer) -> Image:
    config = replace(
        ImageConfig.empty(Platform.host()),
        rootfs=RootFS(diff_ids=tuple(layer.diff_id for layer in layers)),
    )
    return Image.build(config, layers)


def packed(content: ContentStore, data: bytes, media_type: str = OCI_LAYER_GZIP) -> Layer:
    pack = gzip.compress if media_type == OCI_LAYER_GZIP else zstandard.compress
    return Layer(descriptor=content.put(media_type, pack(data)), diff_id=Digest.of(data))


def test_layers_are_named_by_chain_id(
    content: ContentStore, snapshotter: OverlaySnapshotter, make_image: Callable[..., Image]
) -> None:
    image = make_image(ONE, TWO)
    assert unpack(image, content, snapshotter, options=CHOICES) == image.chain_id
    one, two = Digest.of(ONE), Digest.of(TWO)
    assert {(info.key, info.parent, info.kind) for info in snapshotter.walk()} == {
        (one, None, Kind.COMMITTED),
        (chain_id([one, two]), one, Kind.COMMITTED),
    }
    assert sorted(listing(snapshotter.changes(one))) == ["a", "d", "d/x"]
    assert sorted(listing(snapshotter.changes(str(image.chain_id)))) == ["b"]


@pytest.mark.parametrize("media_type", [OCI_LAYER_GZIP, OCI_LAYER_ZSTD])
def test_packed_layers(
    content: ContentStore, snapshotter: OverlaySnapshotter, media_type: str
) -> None:
    image = image_of(packed(content, ONE, media_type))
    chain = unpack(image, content, snapshotter, options=CHOICES)
    assert sorted(listing(snapshotter.changes(str(chain)))) == ["a", "d", "d/x"]


def test_an_image_without_layers_has_no_snapshot(
    content: ContentStore, snapshotter: OverlaySnapshotter
) -> None:
    assert unpack(Image.scratch(), content, snapshotter) is None
    assert list(snapshotter.walk()) == []


def test_what_is_there_is_not_unpacked_again(
    content: ContentStore, snapshotter: OverlaySnapshotter, make_image: Callable[..., Image]
) -> None:
    unpack(make_image(ONE), content, snapshotter, options=CHOICES)
    image = make_image(ONE, TWO)
    content.delete(image.layers[0].descriptor.digest)
    events: list[Event] = []
    unpack(image, content, snapshotter, report=events.append, options=CHOICES)
    done = [event.id for event in events if isinstance(event, LayerProgress)
            and event.state == "Pull complete"]  # fmt: skip
    assert done == [image.layers[1].descriptor.digest]
    content.delete(image.layers[1].descriptor.digest)
    assert unpack(image, content, snapshotter) == image.chain_id


def test_progress_is_reported(
    content: ContentStore, snapshotter: OverlaySnapshotter, make_image: Callable[..., Image]
) -> None:
    events: list[LayerProgress] = []
    image = make_image(ONE)
    unpack(image, content, snapshotter, report=events.append, options=CHOICES)  # type: ignore[arg-type]
    assert [event.state for event in events] == ["Extracting", "Pull complete"]
    assert events[0].total == image.layers[0].descriptor.size


def test_a_tar_with_another_diff_id_is_refused(
    content: ContentStore, snapshotter: OverlaySnapshotter
) -> None:
    layer = replace(packed(content, ONE), diff_id=Digest.of(b"another"))
    with pytest.raises(Corrupt, match="promises"):
        unpack(image_of(layer), content, snapshotter, options=CHOICES)
    assert list(snapshotter.walk()) == []


def test_a_damaged_blob_is_refused(content: ContentStore, snapshotter: OverlaySnapshotter) -> None:
    layer = packed(content, ONE)
    path = content.path(layer.descriptor.digest)
    # Same length, and still the same content: only a byte of the gzip header differs.
    raw = bytearray(path.read_bytes())
    raw[4] ^= 1
    path.write_bytes(bytes(raw))
    with pytest.raises(Corrupt, match="damaged"):
        unpack(image_of(layer), content, snapshotter, options=CHOICES)
    assert list(snapshotter.walk()) == []


def test_missing_blobs_and_bounds(
    content: ContentStore, snapshotter: OverlaySnapshotter, make_image: Callable[..., Image]
) -> None:
    gone = Layer(descriptor=Descriptor.of(OCI_LAYER_GZIP, b"never"), diff_id=Digest.of(b"never"))
    with pytest.raises(BlobNotFound):
        unpack(image_of(gone), content, snapshotter, options=CHOICES)
    few = replace(CHOICES, max_entries=1)
    with pytest.raises(LimitExceeded):
        unpack(make_image(ONE), content, snapshotter, options=few)
    assert list(snapshotter.walk()) == []


def test_cancelling_leaves_nothing(
    content: ContentStore, snapshotter: OverlaySnapshotter, make_image: Callable[..., Image]
) -> None:
    def stop(_event: Event) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        unpack(make_image(ONE), content, snapshotter, report=stop, options=CHOICES)
    assert list(snapshotter.walk()) == []
    assert [item for item in threading.enumerate() if item.name == "read-ahead"] == []


def test_many_unpack_the_same_image(
    content: ContentStore, snapshotter: OverlaySnapshotter, make_image: Callable[..., Image]
) -> None:
    big = tar_of(*({"name": f"f{number}", "data": b"x" * 5000} for number in range(300)))
    image = make_image(ONE, big, TWO)
    done: list[str] = []
    results: list[Digest | None] = []

    def note(event: Event) -> None:
        if isinstance(event, LayerProgress) and event.state == "Pull complete":
            done.append(event.id)

    def work() -> None:
        results.append(unpack(image, content, snapshotter, report=note, options=CHOICES))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert results == [image.chain_id] * 4
    assert sorted(done) == sorted(item.descriptor.digest for item in image.layers)
    assert len(list(snapshotter.walk())) == 3


KILLED = """
import os, sys
from pathlib import Path
from tests.store.test_unpack import CHOICES, ROOT, image_of, replace
from workbench.oci.descriptor import OCI_LAYER, Descriptor
from workbench.oci.digest import Digest
from workbench.oci.image import Layer
from workbench.store.content import ContentStore
from workbench.store.overlay import OverlaySnapshotter
from workbench.store.unpack import unpack

left = list(range(1000))
def stop(entry):
    left.pop()
    if not left:
        os.kill(os.getpid(), 9)

store, root, digest, size = sys.argv[1:]
blob = Descriptor(media_type=OCI_LAYER, digest=Digest(digest), size=int(size))
image = image_of(Layer(descriptor=blob, diff_id=blob.digest))
snapshotter = OverlaySnapshotter(Path(root), userxattr=not ROOT)
unpack(image, ContentStore(Path(store)), snapshotter, options=replace(CHOICES, observe=stop))
"""


def test_an_unpacking_that_was_killed_is_done_anew(
    tmp_path: Path, content: ContentStore, make_image: Callable[..., Image]
) -> None:
    big = tar_of(*({"name": f"f{number}", "data": b"x"} for number in range(2000)))
    image = make_image(big)
    root = tmp_path / "killed"
    words = [sys.executable, "-c", KILLED, content.root, root, image.layers[0].diff_id]
    run = subprocess.run([*map(str, words), str(len(big))], check=False, capture_output=True)
    assert run.returncode == -9, run.stderr
    snapshotter = OverlaySnapshotter(root, userxattr=not ROOT)
    (left,) = snapshotter.walk()
    assert (left.kind, left.key) == (Kind.ACTIVE, f"{KEY}{image.chain_id}")
    chain = unpack(image, content, snapshotter, options=CHOICES)
    assert len(list(snapshotter.changes(str(chain)).iterdir())) == 2000
    assert [info.key for info in snapshotter.walk()] == [chain]
    assert snapshotter.sweep() == 1


def test_abandoned_unpacking_is_dropped_and_running_is_not(
    snapshotter: OverlaySnapshotter,
) -> None:
    for name in ("dead", "alive"):
        snapshotter.prepare(f"{KEY}{name}", None)
    with snapshotter.exclusive("alive"):
        assert drop_abandoned(snapshotter) == 1
    assert [info.key for info in snapshotter.walk()] == [f"{KEY}alive"]


# -- the way back


def test_a_layer_packed_and_unpacked_is_the_same(
    content: ContentStore, snapshotter: OverlaySnapshotter
) -> None:
    snapshotter.prepare("k", None)
    root = snapshotter.changes("k")
    (root / "d").mkdir()
    (root / "d" / "f").write_bytes(b"x" * 3_000_000)
    (root / "l").symlink_to("d/f")
    os.utime(root / "d", (1000, 1000))
    seen: list[str] = []
    result = pack_layer(content, snapshotter, "k", observe=lambda entry: seen.append(entry.name))
    assert seen == ["d/", "d/f", "l"]
    assert (result.size, result.entries) == (3_000_000, 3)
    raw = content.read(result.layer.descriptor, 1 << 30)
    assert Digest.of(gzip.decompress(raw)) == result.layer.diff_id
    assert raw[4:8] == bytes(4)
    chain = unpack(image_of(result.layer), content, snapshotter, options=CHOICES)
    assert listing(snapshotter.changes(str(chain))) == listing(root)
    assert write_layer(content, snapshotter, str(chain)) == result.layer


def test_packing_an_unchanged_snapshot_gives_the_empty_layer(
    content: ContentStore, snapshotter: OverlaySnapshotter
) -> None:
    snapshotter.prepare("k", None)
    result = pack_layer(content, snapshotter, "k")
    assert (result.size, result.entries) == (0, 0)
    assert result.layer.diff_id == Digest.of(bytes(1024))


def test_a_failed_packing_leaves_no_blob(
    content: ContentStore, snapshotter: OverlaySnapshotter
) -> None:
    snapshotter.prepare("k", None)
    (snapshotter.changes("k") / "a").write_bytes(b"x")
    (snapshotter.changes("k") / ".wh.x").touch()

    def slow(_entry: object) -> None:
        time.sleep(0.01)

    with pytest.raises(Exception, match=r"\.wh\.x"):
        pack_layer(content, snapshotter, "k", observe=slow)
    assert list(content.walk()) == []
    assert list((content.root / "ingest").iterdir()) == []
    assert not [item for item in threading.enumerate() if item.name == "pack-layer"]
