"""Unpacking: what a layer says comes about, and nothing outside its folder is touched."""

from __future__ import annotations

import io
import os
import shutil
import stat
import subprocess
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.store.conftest import listing, tar_of
from workbench.errors import Corrupt, LimitExceeded, WorkbenchError
from workbench.oci.digest import Digest
from workbench.store.layer import AppliedLayer, apply
from workbench.store.options import ApplyOptions, Whiteouts
from workbench.store.remove import remove_tree
from workbench.store.whiteouts import attributes_of, is_opaque, is_whiteout

SYM, HARD, CHAR, FIFO = tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE


def link(name: str, target: str, kind: bytes = SYM) -> dict[str, Any]:
    return {"name": name, "type": kind, "linkname": target}


def file(name: str, data: bytes = b"data") -> dict[str, Any]:
    return {"name": name, "data": data}


@pytest.fixture
def unpack(tmp_path: Path, options: ApplyOptions) -> Callable[..., tuple[Path, AppliedLayer]]:
    """``unpack(member, ..., whiteouts=..., lowers=...)`` into a fresh folder, or ``into``."""

    def run(*members: Any, into: Path | None = None, **changes: Any) -> tuple[Path, AppliedLayer]:
        root = into or tmp_path / f"root{len(list(tmp_path.iterdir()))}"
        root.mkdir(exist_ok=True)
        applied = apply(io.BytesIO(tar_of(*members)), root, replace(options, **changes))
        return root, applied

    return run


def test_facts_are_kept(unpack: Callable[..., Any]) -> None:
    members = (
        {"name": "d", "type": tarfile.DIRTYPE, "mode": 0o2750, "mtime": 1000},
        {"name": "d/f", "data": b"hello", "mode": 0o4711, "mtime": 2000},
        link("d/l", "f"),
        link("d/h", "d/f", HARD),
        {"name": "p", "type": FIFO, "mode": 0o622},
    )
    root, applied = unpack(*members)
    assert applied == AppliedLayer(diff_id=Digest.of(tar_of(*members)), size=5, entries=5)
    assert listing(root) == {
        "d": (stat.S_IFDIR, 0o2750, None),
        "d/f": (stat.S_IFREG, 0o4711, b"hello"),
        "d/h": (stat.S_IFREG, 0o4711, b"hello"),
        "d/l": (stat.S_IFLNK, 0, "f"),
        "p": (stat.S_IFIFO, 0o622, 0),
    }
    assert (root / "d/h").stat().st_ino == (root / "d/f").stat().st_ino
    assert (root / "d").stat().st_mtime == 1000
    assert (root / "d/f").stat().st_mtime == 2000


@pytest.mark.kernel
def test_owners_devices_and_capabilities(unpack: Callable[..., Any]) -> None:
    capability = bytes.fromhex("0100000200040000000000000000000000000000")
    root, _ = unpack(
        {
            "name": "ping",
            "uid": 5,
            "gid": 6,
            "mode": 0o6755,
            "pax_headers": {
                "SCHILY.xattr.security.capability": capability.decode("latin-1"),
                "SCHILY.xattr.trusted.overlay.redirect": "/etc",
                "SCHILY.xattr.trusted.other": "x",
            },
        },
        {"name": "null", "type": CHAR, "devmajor": 1, "devminor": 3, "mode": 0o666},
        {**link("l", "x"), "uid": 9},
    )
    found = (root / "ping").stat()
    assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (5, 6, 0o6755)
    assert os.listxattr(root / "ping") == ["security.capability"]
    assert os.getxattr(root / "ping", "security.capability") == capability
    assert (root / "null").stat().st_rdev == os.makedev(1, 3)
    assert (root / "l").lstat().st_uid == 9


def test_without_root_devices_are_left_out_with_a_notice(unpack: Callable[..., Any]) -> None:
    notices: list[str] = []
    root, _ = unpack(
        {"name": "null", "type": CHAR, "devmajor": 1, "devminor": 3},
        {"name": "zero", "type": CHAR},
        devices=False,
        notice=notices.append,
    )
    assert listing(root) == {}
    assert len(notices) == 2
    assert "root" in notices[0]
    assert "hide" in notices[1]


def test_missing_parents_are_made(unpack: Callable[..., Any]) -> None:
    root, _ = unpack(file("a/b/c"))
    assert stat.S_IMODE((root / "a/b").stat().st_mode) == 0o755


def test_folders_that_nobody_may_enter_are_filled_first(unpack: Callable[..., Any]) -> None:
    closed = {"name": "d", "type": tarfile.DIRTYPE, "mode": 0o500, "mtime": 9}
    inner = {"name": "d/e", "type": tarfile.DIRTYPE, "mode": 0o000}
    root, _ = unpack(closed, inner, file("d/f"))
    assert stat.S_IMODE((root / "d/e").stat().st_mode) == 0
    assert stat.S_IMODE((root / "d").stat().st_mode) == 0o500
    assert (root / "d").stat().st_mtime == 9
    (root / "d/e").chmod(0o700)
    remove_tree(str(root))
    assert not root.exists()


def test_the_root_itself_can_be_described(unpack: Callable[..., Any]) -> None:
    root, _ = unpack({"name": "./", "type": tarfile.DIRTYPE, "mode": 0o711, "mtime": 77}, "a")
    assert stat.S_IMODE(root.stat().st_mode) == 0o711
    assert root.stat().st_mtime == 77


def test_later_members_replace_earlier_ones(unpack: Callable[..., Any]) -> None:
    root, _ = unpack(
        "a/", file("a/x"), file("a", b"file now"), file("b"), "b/", file("b/y"), file("c"),
        link("c", "a"), link("d", "a"), file("d", b"d"),
    )  # fmt: skip
    tree = {name: value[2] for name, value in listing(root).items()}
    assert tree == {"a": b"file now", "b": None, "b/y": b"data", "c": "a", "d": b"d"}


def test_a_hard_link_to_itself_stays(unpack: Callable[..., Any]) -> None:
    root, _ = unpack(file("a"), link("a", "a", HARD))
    assert (root / "a").read_bytes() == b"data"


def test_holes_stay_holes(
    tmp_path: Path, options: ApplyOptions, require: Callable[[object, str], None]
) -> None:
    require(shutil.which("tar"), "GNU tar is not installed")
    with (tmp_path / "sparse").open("wb") as out:
        out.seek(40 << 20)
        out.write(b"end")
        out.truncate(80 << 20)
    made = subprocess.run(
        ["tar", "-S", "-cf", "-", "sparse"], cwd=tmp_path, capture_output=True, check=True
    ).stdout
    root = tmp_path / "root"
    root.mkdir()
    apply(io.BytesIO(made), root, options)
    found = (root / "sparse").stat()
    assert found.st_size == 80 << 20
    assert found.st_blocks * 512 < 1 << 20
    with (root / "sparse").open("rb") as result:
        result.seek(40 << 20)
        assert result.read(3) == b"end"


# -- symbolic links among the parents stay inside


@pytest.mark.parametrize("target", ["real", "/real", "../../../real", "./real/.", "hop"])
def test_links_among_parents_are_followed_inside(unpack: Callable[..., Any], target: str) -> None:
    root, _ = unpack("real/", link("hop", "/real"), link("way", target), file("way/f"))
    assert (root / "real/f").read_bytes() == b"data"
    assert (root / "way").is_symlink()


def test_a_dangling_link_among_parents_makes_its_target(unpack: Callable[..., Any]) -> None:
    root, _ = unpack(link("bin", "usr/bin"), file("bin/sh"))
    assert (root / "usr/bin/sh").read_bytes() == b"data"


OUTSIDE = "outside"
HOSTILE: dict[str, list[Any]] = {
    "dots": [file("../victim", b"evil")],
    "dots in the middle": [file("a/../../victim", b"evil")],
    "an absolute name": [file("/victim", b"evil")],
    "a link up": [link("up", "../.."), file("up/victim", b"evil")],
    "a link out": [link("out", "OUTSIDE"), file("out/victim", b"evil")],
    "a link out and a folder": [link("out", "OUTSIDE"), "out/new/"],
    "a link out, replaced": [link("out", "OUTSIDE"), "out/", file("out/victim", b"evil")],
    "links in a chain": [link("a", "b"), link("b", "OUTSIDE"), file("a/victim", b"evil")],
    "a file over a link": [link("victim", "OUTSIDE/victim"), file("victim", b"evil")],
    "a hard link out": [link("h", "../victim", HARD)],
    "a hard link out by name": [link("h", "OUTSIDE/victim", HARD)],
    "a hard link through a link": [link("out", "OUTSIDE"), link("h", "out/victim", HARD)],
    "a hard link to a link, written through": [
        link("s", "OUTSIDE/victim"),
        link("h", "s", HARD),
        file("h", b"evil"),
    ],
    "a hard link to the root": [link("h", "/", HARD)],
    "a hard link to a folder": ["d/", link("h", "d", HARD)],
    "a whiteout of the parent": [file(".wh..")],
    "a whiteout of the folder's parent": [file("d/.wh...")],
    "a whiteout through a link": [link("out", "OUTSIDE"), file("out/.wh.victim")],
    "an opaque mark through a link": [link("out", "OUTSIDE"), file("out/.wh..wh..opq")],
    "links without end": [link("a", "b"), link("b", "a"), file("a/x")],
    "a link to itself": [link("a", "a"), file("a/x")],
    "a file as a folder": [file("a"), file("a/x")],
    "a very long component": [file("x" * 300)],
    "a very long name": [file("x/" * 3000 + "y")],
    "a very deep name": [file("x/" * 600 + "y")],
    "a folder over a link": [link("out", "OUTSIDE"), {"name": "out", "type": b"5", "mode": 0}],
    "a pipe over a link": [link("victim", "OUTSIDE/victim"), {"name": "victim", "type": FIFO}],
    "the root as a file": [file(".", b"evil")],
    "the root as a link": [link("./", "OUTSIDE"), file("victim", b"evil")],
}


@pytest.mark.parametrize("whiteouts", list(Whiteouts), ids=lambda item: item.value)
@pytest.mark.parametrize("name", HOSTILE)
def test_nothing_escapes(
    tmp_path: Path, options: ApplyOptions, name: str, whiteouts: Whiteouts
) -> None:
    outside = tmp_path / OUTSIDE
    outside.mkdir(mode=0o755)
    (outside / "victim").write_bytes(b"untouched")
    (tmp_path / "victim").write_bytes(b"untouched")
    root = tmp_path / "root"
    root.mkdir()
    members = [
        {key: _placed(value, outside) for key, value in item.items()}
        if isinstance(item, dict)
        else item
        for item in HOSTILE[name]
    ]
    before = (listing(outside), (tmp_path / "victim").read_bytes(), outside.stat())
    inode = (outside / "victim").stat()
    try:
        apply(io.BytesIO(tar_of(*members)), root, replace(options, whiteouts=whiteouts))
    except WorkbenchError as error:
        assert str(error)
    after = (listing(outside), (tmp_path / "victim").read_bytes(), outside.stat())
    assert after[:2] == before[:2]
    assert (after[2].st_mode, after[2].st_mtime_ns) == (before[2].st_mode, before[2].st_mtime_ns)
    assert (outside / "victim").stat().st_nlink == inode.st_nlink == 1
    assert attributes_of_path(outside) == []
    assert {path.name for path in tmp_path.iterdir()} == {"outside", "victim", "root"}


def _placed(value: Any, outside: Path) -> Any:
    return value.replace("OUTSIDE", str(outside)) if isinstance(value, str) else value


def attributes_of_path(path: Path) -> list[str]:
    fd = os.open(path, os.O_RDONLY)
    try:
        return [name for name in attributes_of(fd) if name.startswith(("trusted", "user"))]
    finally:
        os.close(fd)


CORRUPT = [
    "dots", "dots in the middle", "a hard link out", "a hard link to the root",
    "a hard link to a folder", "a whiteout of the parent", "a whiteout of the folder's parent",
    "links without end", "a link to itself", "a file as a folder", "a very long component",
    "a very long name", "a very deep name",
]  # fmt: skip


@pytest.mark.parametrize("name", CORRUPT)
def test_what_is_refused(unpack: Callable[..., Any], name: str) -> None:
    with pytest.raises(Corrupt):
        unpack(*HOSTILE[name])


def test_bounds(unpack: Callable[..., Any]) -> None:
    with pytest.raises(LimitExceeded):
        unpack("a", "b", max_entries=1)
    with pytest.raises(LimitExceeded):
        unpack(file("a", bytes(100)), max_bytes=99)


def test_a_cut_off_tar_is_corrupt(tmp_path: Path, options: ApplyOptions) -> None:
    data = tar_of(file("a", bytes(5000)))
    with pytest.raises(Corrupt):
        apply(io.BytesIO(data[:2000]), tmp_path, options)


def test_every_member_is_observed(unpack: Callable[..., Any]) -> None:
    seen: list[str] = []
    unpack("d/", file("d/f"), file(".wh.x"), observe=lambda entry: seen.append(entry.name))
    assert [name.rstrip("/") for name in seen] == ["d", "d/f", ".wh.x"]


# -- whiteouts for overlayfs


def opaque(path: Path) -> bool:
    fd = os.open(path, os.O_RDONLY)
    try:
        return is_opaque(attributes_of(fd), fd)
    finally:
        os.close(fd)


def test_whiteouts_become_devices(unpack: Callable[..., Any]) -> None:
    root, _ = unpack(file("etc/.wh.passwd"), file(".wh..wh.plnk"), file("etc/.wh..wh.aufs"))
    assert is_whiteout((root / "etc/passwd").lstat())
    assert sorted(listing(root)) == ["etc", "etc/passwd"]


def test_an_opaque_mark_becomes_an_attribute(unpack: Callable[..., Any]) -> None:
    root, _ = unpack("etc/", file("etc/a"), file("etc/.wh..wh..opq"), file("etc/b"))
    assert opaque(root / "etc")
    assert sorted(listing(root)) == ["etc", "etc/a", "etc/b"]


@pytest.mark.parametrize("order", [1, -1])
def test_a_whiteout_and_a_new_thing_of_the_same_name(
    unpack: Callable[..., Any], order: int
) -> None:
    members = [[file(".wh.d"), file(".wh.f")], ["d/", file("d/x"), file("f", b"new")]][::order]
    root, _ = unpack(*members[0], *members[1])
    assert (root / "f").read_bytes() == b"new"
    assert opaque(root / "d")
    assert sorted(listing(root)) == ["d", "d/x", "f"]


def test_a_whiteout_and_a_file_below_it(unpack: Callable[..., Any]) -> None:
    root, _ = unpack(file(".wh.d"), file("d/x"))
    assert opaque(root / "d")
    assert (root / "d/x").read_bytes() == b"data"


def test_an_opaque_root_hides_each_name_below(unpack: Callable[..., Any]) -> None:
    lower, _ = unpack(file("a"), file("b/c"), file("e"), file(".wh.gone"))
    root, _ = unpack("b/", file(".wh..wh..opq"), file("e", b"mine"), lowers=(lower,))
    assert is_whiteout((root / "a").lstat())
    assert opaque(root / "b")
    assert (root / "e").read_bytes() == b"mine"
    assert sorted(listing(root)) == ["a", "b", "e"]


# -- layers below that lie apart


def test_parents_look_as_below(unpack: Callable[..., Any]) -> None:
    lower, _ = unpack({"name": "d", "type": tarfile.DIRTYPE, "mode": 0o1777, "mtime": 5000})
    root, _ = unpack(file("d/f"), lowers=(lower,))
    assert stat.S_IMODE((root / "d").stat().st_mode) == 0o1777
    assert (root / "d").stat().st_mtime == 5000


def test_links_of_layers_below_are_followed(unpack: Callable[..., Any]) -> None:
    bottom, _ = unpack("usr/bin/", link("bin", "usr/bin"))
    middle, _ = unpack(file("x"))
    root, _ = unpack(file("bin/f"), lowers=(middle, bottom))
    assert (root / "usr/bin/f").read_bytes() == b"data"
    assert not (root / "bin").exists()


def test_links_below_that_are_hidden_are_not_followed(unpack: Callable[..., Any]) -> None:
    bottom, _ = unpack("usr/bin/", link("bin", "usr/bin"))
    middle, _ = unpack(file(".wh.bin"))
    root, _ = unpack(file("bin/f"), lowers=(middle, bottom))
    assert (root / "bin/f").read_bytes() == b"data"


def test_a_hard_link_to_a_file_below_copies_it_up(unpack: Callable[..., Any]) -> None:
    lower, _ = unpack({"name": "d/f", "data": b"below", "mode": 0o4755, "mtime": 123})
    root, _ = unpack(link("h", "d/f", HARD), lowers=(lower,))
    assert (root / "h").read_bytes() == (root / "d/f").read_bytes() == b"below"
    assert (root / "h").stat().st_ino == (root / "d/f").stat().st_ino
    assert stat.S_IMODE((root / "h").stat().st_mode) == 0o4755
    assert (root / "h").stat().st_mtime == 123


@pytest.mark.parametrize("hide", [[file("d/.wh.f")], [file("d/.wh..wh..opq")], [file(".wh.d")]])
def test_a_hard_link_to_a_hidden_file_is_corrupt(
    unpack: Callable[..., Any], hide: list[Any]
) -> None:
    bottom, _ = unpack(file("d/f"))
    middle, _ = unpack(*hide)
    with pytest.raises(Corrupt, match="missing"):
        unpack(link("h", "d/f", HARD), lowers=(middle, bottom))


def test_a_hidden_link_below_never_leads_the_lookup_out(
    unpack: Callable[..., Any], tmp_path: Path
) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    bottom, _ = unpack(link("d", str(tmp_path)))
    middle, _ = unpack("d/")
    with pytest.raises(Corrupt, match="missing"):
        unpack(link("h", "d/secret", HARD), lowers=(middle, bottom))


# -- whiteouts in full copies


def test_in_a_copy_whiteouts_delete(unpack: Callable[..., Any]) -> None:
    root, _ = unpack(file("a"), "d/", file("d/x"), file("e/f/g"), link("l", "a"))
    unpack(
        file(".wh.a"), file(".wh.d"), file("e/f/.wh.g"), file(".wh.l"), file(".wh.never"),
        into=root, whiteouts=Whiteouts.DELETE,
    )  # fmt: skip
    assert sorted(listing(root)) == ["e", "e/f"]


@pytest.mark.parametrize("order", [1, -1])
def test_in_a_copy_a_whiteout_spares_this_layer(unpack: Callable[..., Any], order: int) -> None:
    root, _ = unpack(file("d/old"), file("d/both", b"old"), file("f", b"old"))
    marks = [file(".wh.d"), file(".wh.f")]
    news = [file("d/both", b"new"), file("d/s/new"), file("f", b"new"), link("d/h", "f", HARD)]
    unpack(
        *(marks + news if order == 1 else news + marks),
        into=root,
        whiteouts=Whiteouts.DELETE,
    )
    tree = {name: value[2] for name, value in listing(root).items()}
    assert tree == {
        "d": None, "d/both": b"new", "d/s": None, "d/s/new": b"data",
        "f": b"new", "d/h": b"new",
    }  # fmt: skip


def test_in_a_copy_an_opaque_mark_empties_the_folder(unpack: Callable[..., Any]) -> None:
    root, _ = unpack(file("d/old"), file("d/s/old"), file("other"))
    unpack("d/", file("d/new"), file("d/.wh..wh..opq"), into=root, whiteouts=Whiteouts.DELETE)
    assert sorted(listing(root)) == ["d", "d/new", "other"]
