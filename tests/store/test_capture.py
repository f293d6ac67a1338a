"""Capturing: the marks of overlayfs become whiteouts, and only what belongs in a layer is kept."""

from __future__ import annotations

import io
import os
import socket
from pathlib import Path
from typing import Any

import pytest

from tests.store.conftest import ROOT
from workbench.errors import InvalidInput, LimitExceeded, Unsupported
from workbench.store.capture import read_content
from workbench.store.layer import capture
from workbench.store.tar_entry import TarEntry
from workbench.store.tar_read import TarReader
from workbench.store.whiteouts import make_whiteout, set_opaque


def captured(root: Path, **choices: Any) -> dict[str, TarEntry]:
    out = io.BytesIO()
    capture(root, out.write, **choices)
    return {entry.name: entry for entry in TarReader(io.BytesIO(out.getvalue()))}


def mark(path: Path, kind: str) -> None:
    """Make a whiteout of ``path``, or the directory ``path`` opaque."""
    fd = os.open(path if kind == "opaque" else path.parent, os.O_RDONLY)
    try:
        if kind == "opaque":
            set_opaque(fd, user=not ROOT)
        else:
            make_whiteout(path.name, fd)
    finally:
        os.close(fd)


def test_members_are_sorted_and_folders_come_first(tmp_path: Path) -> None:
    for name in ("b/z", "b/a", "a", "c", "b.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    assert list(captured(tmp_path)) == ["a", "b/", "b/a", "b/z", "b.txt", "c"]


def test_whiteouts_and_opaque_folders(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "new").touch()
    mark(tmp_path / "gone", "whiteout")
    mark(tmp_path / "d" / "gone", "whiteout")
    mark(tmp_path / "d", "opaque")
    found = captured(tmp_path)
    assert list(found) == ["d/", "d/.wh..wh..opq", "d/.wh.gone", "d/new", ".wh.gone"]
    assert found[".wh.gone"].size == 0


def test_an_opaque_folder_that_hides_nothing_is_an_ordinary_one(tmp_path: Path) -> None:
    lower, upper = tmp_path / "lower", tmp_path / "upper"
    for path in (lower / "old", upper / "old", upper / "new"):
        path.mkdir(parents=True)
    mark(upper / "old", "opaque")
    mark(upper / "new", "opaque")
    assert list(captured(upper, lowers=(lower,))) == ["new/", "old/", "old/.wh..wh..opq"]


def test_hard_links_are_kept(tmp_path: Path) -> None:
    (tmp_path / "z").write_bytes(b"one content")
    (tmp_path / "a").hardlink_to(tmp_path / "z")
    (tmp_path / "s").symlink_to("z")
    os.link(tmp_path / "s", tmp_path / "t", follow_symlinks=False)
    found = captured(tmp_path)
    assert (found["a"].kind, found["a"].size) == ("file", 11)
    assert (found["z"].kind, found["z"].target) == ("hardlink", "a")
    assert (found["s"].kind, found["s"].target) == ("symlink", "z")
    assert (found["t"].kind, found["t"].target) == ("hardlink", "s")


def test_sockets_are_left_out_and_pipes_kept(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))
        assert {name: entry.kind for name, entry in captured(tmp_path).items()} == {"pipe": "fifo"}


@pytest.mark.kernel
def test_attributes_are_chosen(tmp_path: Path) -> None:
    capability = bytes.fromhex("0100000200040000000000000000000000000000")
    path = tmp_path / "ping"
    path.touch()
    os.setxattr(path, "security.capability", capability)
    os.setxattr(path, "user.note", b"x")
    os.setxattr(path, "trusted.overlay.origin", b"x")
    os.setxattr(path, "trusted.overlay.nlink", b"x")
    assert captured(tmp_path)["ping"].xattrs == {"security.capability": capability}


@pytest.mark.parametrize("name", ["redirect", "metacopy"])
def test_references_into_other_layers_are_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "d").mkdir()
    os.setxattr(tmp_path / "d", f"{'trusted' if ROOT else 'user'}.overlay.{name}", b"/x")
    with pytest.raises(Unsupported, match="reference"):
        captured(tmp_path)


def test_an_unknown_opaque_value_is_refused(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    os.setxattr(tmp_path / "d", f"{'trusted' if ROOT else 'user'}.overlay.opaque", b"x")
    with pytest.raises(Unsupported):
        captured(tmp_path)


def test_a_name_that_would_mean_a_removal_is_refused(tmp_path: Path) -> None:
    (tmp_path / ".wh.innocent").touch()
    with pytest.raises(InvalidInput, match=r"\.wh\.innocent"):
        captured(tmp_path)


def test_a_bottomless_tree_is_refused(tmp_path: Path) -> None:
    top = fd = os.open(tmp_path, os.O_RDONLY)
    for _ in range(300):
        os.mkdir("d", dir_fd=fd)
        inner = os.open("d", os.O_RDONLY, dir_fd=fd)
        if fd != top:
            os.close(fd)
        fd = inner
    os.close(fd)
    os.close(top)
    with pytest.raises(LimitExceeded):
        captured(tmp_path)


def test_the_same_tree_gives_the_same_bytes(tmp_path: Path) -> None:
    tars = []
    for order in (1, -1):
        root = tmp_path / str(order)
        root.mkdir()
        for name in ["one", "two", "three"][::order]:
            (root / name).write_text(name)
            os.utime(root / name, ns=(5, 7_000_000_000 + order % 3))
        out = io.BytesIO()
        capture(root, out.write)
        tars.append(out.getvalue())
    assert tars[0] == tars[1]


def test_a_file_that_shrinks_is_filled_with_zeros(tmp_path: Path) -> None:
    notices: list[str] = []
    (tmp_path / "a").write_bytes(b"xyz")
    with (tmp_path / "a").open("rb") as file:
        pieces = list(read_content(file.fileno(), 8, "a", notices.append))
    assert b"".join(pieces) == b"xyz" + bytes(5)
    assert notices == ["a became shorter while it was read"]
