"""Options as data, and mounts in a namespace of their own."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

from workbench.linux import mount, namespaces
from workbench.linux.mount import (
    MS_BIND,
    MS_NODEV,
    MS_NOSUID,
    MS_PRIVATE,
    MS_RDONLY,
    MS_REC,
    MS_SLAVE,
    Mount,
    mountinfo,
    overlay,
    parse_options,
    unmount,
)


def test_options_are_sorted() -> None:
    found = parse_options(["ro", "nosuid", "rbind", "rslave", "size=1k", "private", "rro", "idmap"])
    assert found.flags == MS_RDONLY | MS_NOSUID | MS_BIND | MS_REC
    assert found.propagation == (MS_SLAVE | MS_REC, MS_PRIVATE)
    assert found.attributes == (1, 0)
    assert found.data == ("size=1k",)
    assert found.idmap == "idmap"


def test_the_last_of_opposite_options_wins() -> None:
    found = parse_options(["ro", "nodev", "rw"])
    assert (found.flags, found.cleared) == (MS_NODEV, MS_RDONLY)
    assert parse_options(["rw", "ro"]).cleared == 0


def test_overlay_escapes_what_means_something_to_it() -> None:
    item = overlay(["/a:b", "/c,d", "/e\\f"], "/u,v", "/w", userxattr=True)
    assert item.options == (
        "lowerdir=/a\\:b:/c\\,d:/e\\\\f", "upperdir=/u\\,v", "workdir=/w", "userxattr",
    )  # fmt: skip


def test_overlay_without_upper_is_read_only() -> None:
    assert overlay(["/a", "/b"]).options == ("lowerdir=/a:/b",)


def test_mountinfo_shows_the_root() -> None:
    root = next(entry for entry in mountinfo() if entry.target == "/")
    assert root.type
    assert root.options


def in_namespace(work: Callable[[], object]) -> None:
    """Run in a child with its own mounts; an assertion that fails there fails here."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            namespaces.unshare(namespaces.CLONE_NEWNS)
            mount.mount_at("", "", "/", MS_REC | MS_PRIVATE, "")
            work()
            code = 0
        except BaseException:  # noqa: BLE001 - the parent tells
            os.write(writer, traceback.format_exc().encode())
        sys.stdout.flush()
        os._exit(code)
    os.close(writer)
    with os.fdopen(reader) as told:
        text = told.read()
    assert os.waitpid(child, 0)[1] == 0, text


pytest_kernel = pytest.mark.kernel


@pytest_kernel
def test_an_overlay_of_many_long_layers(tmp_path: Path) -> None:
    """More options than fit into the one page that mount(2) takes."""
    base = tmp_path / ("long" * 30)
    layers = [base / f"layer{number:03}" for number in range(60)]
    for number, layer in enumerate(layers):
        layer.mkdir(parents=True)
        (layer / f"file{number}").touch()
    for name in ("up", "work", "merged"):
        (base / name).mkdir()
    item = overlay(layers, base / "up", base / "work")
    assert len(",".join(item.options)) > 4096

    def work() -> None:
        before = Path.cwd()
        mount.mount(item, base / "merged")
        assert len(list((base / "merged").iterdir())) == 60
        assert Path.cwd() == before

    in_namespace(work)


@pytest_kernel
@pytest.mark.parametrize("name", ["with,comma", "with:colon", "with\\backslash", "with space"])
def test_overlay_of_odd_names(tmp_path: Path, name: str) -> None:
    for part in ("lower", "upper", "work", "merged"):
        (tmp_path / name / part).mkdir(parents=True)
    (tmp_path / name / "lower/x").write_text("x")
    item = overlay([tmp_path / name / "lower"], tmp_path / name / "upper", tmp_path / name / "work")

    def work() -> None:
        mount.mount(item, tmp_path / name / "merged")
        assert (tmp_path / name / "merged/x").read_text() == "x"

    in_namespace(work)


@pytest_kernel
def test_a_bind_takes_its_flags(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "source").mkdir()
    item = Mount(type="bind", source=str(tmp_path / "source"), target="x/y",
                 options=("bind", "ro", "nosuid", "private"))  # fmt: skip

    def work() -> None:
        mount.mount(item, tmp_path / "root")
        entry = next(e for e in mountinfo() if e.target == str(tmp_path / "root/x/y"))
        assert {"ro", "nosuid"} <= set(entry.options)
        mount.unmount(tmp_path / "root/x/y")
        assert not [e for e in mountinfo() if e.target == str(tmp_path / "root/x/y")]

    in_namespace(work)


@pytest_kernel
def test_failures_name_what_was_mounted(tmp_path: Path) -> None:
    def work() -> None:
        with pytest.raises(OSError, match=r"mount nofs thing on /x \(ro\): No such device"):
            mount.mount(Mount(type="nofs", source="thing", target="x", options=("ro",)), tmp_path)

    in_namespace(work)


@pytest_kernel
def test_unmount_of_what_is_no_mount_point(tmp_path: Path) -> None:
    unmount(tmp_path)
    unmount(tmp_path / "missing", detach=True)
