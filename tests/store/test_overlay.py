"""The overlay snapshotter: the suite, its own mounts, and what the kernel makes of them."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.store.conftest import ROOT, store_image, tar_of
from tests.suites.snapshotter import SnapshotterSuite
from workbench.linux.mount import Mount
from workbench.oci.image import History, Image, Layer, append_layer
from workbench.store.content import ContentStore
from workbench.store.overlay import OverlaySnapshotter
from workbench.store.packing import pack_layer
from workbench.store.unpack import unpack


@pytest.fixture
def snapshotter(tmp_path: Path) -> OverlaySnapshotter:
    return OverlaySnapshotter(tmp_path / "snapshots", userxattr=not ROOT)


class TestOverlay(SnapshotterSuite):
    """The suite over overlay."""


def test_mounts_name_the_stack_from_the_top(snapshotter: OverlaySnapshotter) -> None:
    snapshotter.prepare("a", None)
    snapshotter.commit("a", "one")
    snapshotter.prepare("b", "one")
    snapshotter.commit("b", "two")
    (mount,) = snapshotter.prepare("c", "two")
    one, two, own = (snapshotter.changes(key) for key in ("one", "two", "c"))
    assert mount.type == "overlay"
    assert mount.options[:3] == (
        f"lowerdir={two}:{one}",
        f"upperdir={own}",
        f"workdir={own.parent}/work",
    )
    assert snapshotter.lowers("c") == (two, one)
    (view,) = snapshotter.view("v", "two")
    assert view.options[:2] == (f"lowerdir={two}:{one}", "ro")
    (bind,) = snapshotter.view("w", "one")
    assert bind == Mount(type="bind", source=str(one), options=("rbind", "ro"))


def test_without_root_the_marks_are_user_attributes(tmp_path: Path) -> None:
    snapshotter = OverlaySnapshotter(tmp_path, userxattr=True)
    snapshotter.prepare("a", None)
    snapshotter.commit("a", "one")
    (mount,) = snapshotter.prepare("b", "one")
    assert "userxattr" in mount.options
    assert snapshotter.user_attributes


def test_a_hundred_layers_fit_into_a_page(tmp_path: Path) -> None:
    root = tmp_path / "s"
    snapshotter = OverlaySnapshotter(root)
    for number in range(110):
        snapshotter.prepare("k", f"layer {number - 1}" if number else None)
        snapshotter.commit("k", f"layer {number}")
    (mount,) = snapshotter.prepare("k", "layer 109")
    usual = ",".join(mount.options).replace(str(root), "/var/lib/workbench/snapshots")
    assert len(usual) < 4096


def in_mount(mount: Mount, target: Path, script: str) -> str:
    """Run a shell script in a mount namespace of its own, where ``mount`` is made."""
    if mount.type == "bind":
        words = f"mount --bind '{mount.source}' '{target}'"
    else:
        words = f"mount -t overlay overlay -o '{','.join(mount.options)}' '{target}'"
    run = subprocess.run(
        ["unshare", "-m", "sh", "-ec", f"{words}; cd '{target}'; {script}"],
        capture_output=True,
        text=True,
        check=True,
    )
    return run.stdout


@pytest.mark.kernel
def test_what_a_container_changes_becomes_a_layer_that_does_the_same(
    tmp_path: Path,
    snapshotter: OverlaySnapshotter,
    content: ContentStore,
    make_image: Callable[..., Image],
) -> None:
    target = tmp_path / "target"
    target.mkdir()
    image = make_image(
        tar_of("d/", {"name": "d/old", "data": b"1"}, {"name": "f", "data": b"2"}, "gone", "e/",
               {"name": "e/x", "data": b"3"}, "m/", {"name": "m/y", "data": b"4"}),
        tar_of({"name": ".wh.gone"}, {"name": "g", "data": b"5"}),
    )  # fmt: skip
    chain = unpack(image, content, snapshotter)
    assert chain == image.chain_id
    (mount,) = snapshotter.prepare("c", chain)
    listed = in_mount(
        mount,
        target,
        "rm -r d && mkdir d && echo n > d/new; echo c > f; chmod 4755 g; rm e/x; mv m/y m/z;"
        "ln f h; mkdir fresh; ls -A",
    )
    assert listed.split() == ["d", "e", "f", "fresh", "g", "h", "m"]
    packed = pack_layer(content, snapshotter, "c")
    names: list[str] = []
    again = pack_layer(content, snapshotter, "c", observe=lambda entry: names.append(entry.name))
    assert again == packed
    assert names == [
        "d/", "d/.wh..wh..opq", "d/new", "e/", "e/.wh.x", "f", "fresh/", "g", "h",
        "m/", "m/.wh.y", "m/z",
    ]  # fmt: skip
    snapshotter.commit("c", "committed")
    (first,) = snapshotter.view("v1", "committed")
    new_image = _with_layer(content, image, packed.layer)
    new_chain = unpack(new_image, content, snapshotter)
    (second,) = snapshotter.view("v2", new_chain)
    look = "find . | sort | xargs stat -c '%n %a %s %h %F %Y' | grep -v '^\\. '"
    assert in_mount(first, target, look) == in_mount(second, target, look)


def _with_layer(content: ContentStore, image: Image, layer: Layer) -> Image:
    return store_image(content, append_layer(image, layer, History()))


@pytest.mark.kernel
def test_unpacked_whiteouts_hide_in_a_mount(
    tmp_path: Path,
    snapshotter: OverlaySnapshotter,
    content: ContentStore,
    make_image: Callable[..., Image],
) -> None:
    target = tmp_path / "target"
    target.mkdir()
    image = make_image(
        tar_of("a", "b", "d/", "d/x", "d/y", "e/", "e/z"),
        tar_of(".wh.a", "d/", "d/.wh..wh..opq", "d/new", ".wh.e", "e/", "e/n"),
    )
    (mount,) = snapshotter.prepare("c", unpack(image, content, snapshotter))
    assert in_mount(mount, target, "find . -mindepth 1 | sort").split() == [
        "./b", "./d", "./d/new", "./e", "./e/n",
    ]  # fmt: skip
    rooted = make_image(tar_of("a", "d/", "d/x"), tar_of("d/", "d/n", ".wh..wh..opq"))
    (mount,) = snapshotter.prepare("r", unpack(rooted, content, snapshotter))
    assert in_mount(mount, target, "find . -mindepth 1 | sort").split() == ["./d", "./d/n"]
    snapshotter.remove("c")
    snapshotter.remove("r")


@pytest.mark.kernel
def test_without_root_a_user_namespace_sees_the_same(
    tmp_path: Path, content: ContentStore, make_image: Callable[..., Image]
) -> None:
    """Marks in ``user.overlay.*`` are what an overlay mounted in a user namespace reads."""
    target = tmp_path / "target"
    target.mkdir()
    snapshotter = OverlaySnapshotter(tmp_path / "mine", userxattr=True)
    image = make_image(
        tar_of("a", "d/", "d/old", "keep"), tar_of(".wh.a", "d/", "d/.wh..wh..opq", "d/new")
    )
    (mount,) = snapshotter.prepare("c", unpack(image, content, snapshotter))
    script = f"""
        mount -t overlay overlay -o '{",".join(mount.options)}' '{target}'
        cd '{target}'; find . -mindepth 1 | sort; rm keep; rm -r d; mkdir d; touch d/x
    """
    run = subprocess.run(
        ["unshare", "-Urm", "sh", "-ec", script], capture_output=True, text=True, check=True
    )
    assert run.stdout.split() == ["./d", "./d/new", "./keep"]
    names: list[str] = []
    pack_layer(content, snapshotter, "c", observe=lambda entry: names.append(entry.name))
    assert names == ["d/", "d/.wh..wh..opq", "d/x", ".wh.keep"]
