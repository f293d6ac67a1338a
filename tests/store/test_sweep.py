"""Sweeping removes what nothing needs, and never what somebody does; checking finds what is bad."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.store.conftest import ROOT, tar_of
from workbench.oci.image import Image
from workbench.oci.manifest import Index
from workbench.store.check import Finding, check
from workbench.store.content import ContentStore
from workbench.store.options import ApplyOptions
from workbench.store.overlay import OverlaySnapshotter
from workbench.store.sweep import sweep
from workbench.store.unpack import KEY, unpack

CHOICES = ApplyOptions(owners=ROOT, devices=ROOT)
NOW = -1.0


@pytest.fixture
def snapshotter(tmp_path: Path) -> OverlaySnapshotter:
    return OverlaySnapshotter(tmp_path / "snapshots", userxattr=not ROOT)


def layer(name: str) -> bytes:
    return tar_of({"name": name, "data": name.encode()})


def blobs(content: ContentStore) -> set[str]:
    return {info.digest for info in content.walk()}


def all_of(image: Image) -> set[str]:
    return {image.descriptor.digest, *(item.digest for item in image.blobs())}


def keys(snapshotter: OverlaySnapshotter) -> set[str]:
    return {info.key for info in snapshotter.walk()}


def test_what_is_named_or_given_stays(
    content: ContentStore, snapshotter: OverlaySnapshotter, make_image: Callable[..., Image]
) -> None:
    named, given, lost = (make_image(layer("base"), layer(name)) for name in "ngl")
    for image in (named, given, lost):
        unpack(image, content, snapshotter, options=CHOICES)
    content.tag("named", named.descriptor)
    swept = sweep(content, snapshotter, roots=[given.descriptor], grace=NOW)
    assert blobs(content) == all_of(named) | all_of(given)
    assert (swept.blobs, swept.snapshots, swept.trees) == (3, 1, 1)
    assert swept.bytes > 0
    base = named.layers[0].diff_id
    assert keys(snapshotter) == {str(named.chain_id), str(given.chain_id), base}
    again = sweep(content, snapshotter, roots=[given.descriptor], grace=NOW)
    assert (again.blobs, again.snapshots, again.trees) == (0, 0, 0)


def test_an_index_keeps_all_below_it(
    content: ContentStore, snapshotter: OverlaySnapshotter, make_image: Callable[..., Image]
) -> None:
    one, two = make_image(layer("a")), make_image(layer("b"))
    index = Index(manifests=(one.descriptor, two.descriptor))
    content.tag("multi", content.put(index.media_type, index.to_bytes()))
    sweep(content, snapshotter, grace=NOW)
    assert blobs(content) == all_of(one) | all_of(two) | {index.descriptor.digest}


def test_chains_and_containers_keep_their_stack(
    content: ContentStore, snapshotter: OverlaySnapshotter, make_image: Callable[..., Image]
) -> None:
    one, two, three = (make_image(layer(name), layer(name * 2)) for name in "abc")
    chains = [unpack(image, content, snapshotter, options=CHOICES) for image in (one, two, three)]
    snapshotter.prepare("container", chains[1])
    swept = sweep(content, snapshotter, chains=[str(chains[0])], grace=NOW)
    assert swept.snapshots == 2
    assert keys(snapshotter) == {
        one.layers[0].diff_id, chains[0], two.layers[0].diff_id, chains[1], "container",
    }  # fmt: skip
    assert blobs(content) == set()


def test_a_grace_period_spares_what_is_new(
    content: ContentStore, snapshotter: OverlaySnapshotter, make_image: Callable[..., Image]
) -> None:
    image = make_image(layer("a"))
    unpack(image, content, snapshotter, options=CHOICES)
    with content.ingest(key="half") as writer:
        writer.write(b"half")
    swept = sweep(content, snapshotter)
    assert (swept.blobs, swept.snapshots, swept.partials) == (0, 0, 0)
    assert blobs(content) == all_of(image)
    assert sweep(content, snapshotter, grace=NOW).partials == 1


def test_remains_of_crashes_go(content: ContentStore, snapshotter: OverlaySnapshotter) -> None:
    snapshotter.prepare(f"{KEY}dead", None)
    (snapshotter.changes(f"{KEY}dead").parents[1] / "999").mkdir()
    sweep(content, snapshotter)
    assert keys(snapshotter) == set()
    assert not [path for path in snapshotter._records.root.iterdir() if path.name.isdigit()]


def test_sweeping_beside_ingests_loses_nothing(
    content: ContentStore, snapshotter: OverlaySnapshotter
) -> None:
    """What is written or asked for while a sweep runs is there afterwards."""
    stop = threading.Event()

    def sweeping() -> None:
        while not stop.is_set():
            sweep(content, snapshotter, grace=5)

    thread = threading.Thread(target=sweeping)
    thread.start()
    try:
        for number in range(150):
            blob = content.put("x", b"blob %d" % number)
            assert content.has(blob)
            content.tag(f"name:{number % 10}", blob)
    finally:
        stop.set()
        thread.join(30)
    assert len(content.references()) == 10
    assert check(content, snapshotter) == ()


# -- checking


def test_a_whole_store_has_no_findings(
    content: ContentStore, snapshotter: OverlaySnapshotter, make_image: Callable[..., Image]
) -> None:
    image = make_image(layer("a"), layer("b"))
    content.tag("a", image.descriptor)
    unpack(image, content, snapshotter, options=CHOICES)
    assert check(content, snapshotter) == ()


def test_damage_is_found_and_mended(
    content: ContentStore, snapshotter: OverlaySnapshotter, make_image: Callable[..., Image]
) -> None:
    good, bad = make_image(layer("a")), make_image(layer("b"))
    content.tag("good", good.descriptor)
    content.tag("bad", bad.descriptor)
    unpack(bad, content, snapshotter, options=CHOICES)
    damaged = bad.layers[0].descriptor.digest
    content.path(damaged).write_bytes(b"rot")
    snapshotter.changes(str(bad.chain_id)).rename(content.root / "stolen")
    found = check(content, snapshotter)
    assert [(item.kind, item.subject, item.repaired) for item in found] == [
        ("blob", damaged, False),
        ("snapshot", bad.chain_id, False),
    ]
    mended = check(content, snapshotter, repair=True)
    assert {(item.kind, item.subject) for item in mended if item.repaired} == {
        ("blob", damaged),
        ("name", "docker.io/library/bad:latest"),
        ("snapshot", bad.chain_id),
    }
    assert check(content, snapshotter) == ()
    assert [str(name) for name in content.references()] == ["docker.io/library/good:latest"]


def test_a_missing_parent_is_found(content: ContentStore, snapshotter: OverlaySnapshotter) -> None:
    snapshotter.prepare("a", None)
    snapshotter.commit("a", "one")
    snapshotter.prepare("b", "one")
    (snapshotter._records.root / "committed" / "one").unlink()
    assert check(content, snapshotter) == (
        Finding(kind="snapshot", subject="b", problem="its parent 1 is not committed"),
    )
