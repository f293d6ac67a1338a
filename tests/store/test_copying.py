"""The copying snapshotter: the suite, and what copies have for themselves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.store.conftest import ROOT, listing, tar_of
from tests.suites.snapshotter import SnapshotterSuite
from workbench.oci.image import Image
from workbench.store.content import ContentStore
from workbench.store.copying import CopyingSnapshotter
from workbench.store.options import ApplyOptions
from workbench.store.overlay import OverlaySnapshotter
from workbench.store.packing import write_layer
from workbench.store.unpack import unpack

CHOICES = ApplyOptions(owners=ROOT, devices=ROOT)


@pytest.fixture
def snapshotter(tmp_path: Path) -> CopyingSnapshotter:
    return CopyingSnapshotter(tmp_path / "snapshots")


class TestCopying(SnapshotterSuite):
    """The suite over copies."""


def test_a_copy_holds_the_whole_tree(
    snapshotter: CopyingSnapshotter, content: ContentStore, make_image: Callable[..., Image]
) -> None:
    image = make_image(
        tar_of("a", "d/", {"name": "d/x", "data": b"1"}, "e/", "e/y"),
        tar_of(".wh.a", {"name": "d/x", "data": b"2"}, "e/", "e/.wh..wh..opq", "e/z"),
    )
    chain = unpack(image, content, snapshotter, options=CHOICES)
    assert sorted(listing(snapshotter.changes(str(chain)))) == ["d", "d/x", "e", "e/z"]
    (mount,) = snapshotter.view("v", chain)
    assert mount.source == str(snapshotter.changes(str(chain)))


def test_a_change_of_a_copy_does_not_reach_its_parent(snapshotter: CopyingSnapshotter) -> None:
    snapshotter.prepare("a", None)
    (snapshotter.changes("a") / "f").write_text("old")
    snapshotter.commit("a", "one")
    snapshotter.prepare("b", "one")
    with (snapshotter.changes("b") / "f").open("r+") as file:
        file.write("new")
    assert (snapshotter.changes("one") / "f").read_text() == "old"


def test_the_bottom_layer_is_the_same_as_from_overlay(
    tmp_path: Path, content: ContentStore, make_image: Callable[..., Image]
) -> None:
    image = make_image(tar_of("a", "d/", {"name": "d/x", "data": b"1", "mode": 0o4755}))
    overlay = OverlaySnapshotter(tmp_path / "o", userxattr=not ROOT)
    copying = CopyingSnapshotter(tmp_path / "c")
    layers = [
        write_layer(content, snapshotter, str(unpack(image, content, snapshotter, options=CHOICES)))
        for snapshotter in (overlay, copying)
    ]
    assert layers[0] == layers[1]
