"""The tar of a plan: readable, reproducible, and honest about files that change."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from workbench.engine.bases.archive import EPOCH, tar_pieces, tar_stream
from workbench.engine.bases.tree import BasePlan, Tree, TreeEntry
from workbench.errors import Unavailable
from workbench.oci.image import ContainerConfig


def _tar(entries: tuple[TreeEntry, ...]) -> bytes:
    return b"".join(tar_pieces(entries))


def _plan(entries: tuple[TreeEntry, ...]) -> BasePlan:
    return BasePlan(entries=entries, config=ContainerConfig(), labels={}, default_name="x:latest")


def test_every_kind_of_entry_comes_back(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"x" * 1000)
    tree = Tree()
    tree.file("a/file", source, 0o755)
    tree.text("a/text", "hello\n", 0o600)
    tree.symlink("a/link", "file")
    entries = (
        *tree.sorted(),
        TreeEntry(path="b", kind="hardlink", link="a/file", mode=0o755),
        TreeEntry(path="c", kind="file", mode=0o4755, data=b"", uid=5, gid=42),
    )
    with tarfile.open(fileobj=io.BytesIO(_tar(entries))) as archive:
        members = {member.name: member for member in archive}
        text = archive.extractfile("a/text")
        assert text is not None
        assert text.read() == b"hello\n"
    assert list(members) == ["a", "a/file", "a/link", "a/text", "b", "c"]
    assert members["a"].isdir()
    assert (members["a/file"].size, members["a/file"].mode) == (1000, 0o755)
    assert members["a/link"].linkname == "file"
    assert members["b"].islnk()
    assert (members["c"].mode, members["c"].uid, members["c"].gid) == (0o4755, 5, 42)
    assert {member.mtime for member in members.values()} == {EPOCH}


def test_short_names_have_plain_headers_and_long_ones_survive() -> None:
    long = "/".join(["directory"] * 40)
    short = _tar((TreeEntry(path="a" * 90, kind="file", data=b"1"),))
    assert len(short) == 512 + 512 + 1024
    assert short[257:262] == b"ustar"
    with tarfile.open(fileobj=io.BytesIO(_tar((TreeEntry(path=long, kind="file"),)))) as archive:
        assert archive.getnames() == [long]


def test_the_stream_is_the_same_bytes_in_any_portions() -> None:
    entries = tuple(TreeEntry(path=f"f{n:02}", kind="file", data=b"z" * n) for n in range(50))
    stream = tar_stream(_plan(entries))
    portions = []
    while portion := stream.read(777):
        portions.append(portion)
    assert b"".join(portions) == _tar(entries) == tar_stream(_plan(entries)).read()


def test_a_file_that_shrinks_while_it_is_read_is_an_error(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"x" * 4096)
    pieces = tar_pieces((TreeEntry(path="f", kind="file", source=source),))
    next(pieces)
    source.write_bytes(b"")
    with pytest.raises(Unavailable, match="shorter"):
        list(pieces)


def test_paths_through_the_links_of_the_top_end_up_below_usr() -> None:
    tree = Tree.merged()
    tree.text("/bin/tool", "1")
    tree.text("usr/bin/tool", "2")
    tree.text("lib64/ld.so", "3")
    paths = {entry.path: entry for entry in tree.sorted()}
    assert paths["usr/bin/tool"].data == b"1"
    assert paths["usr/lib64/ld.so"].data == b"3"
    assert paths["bin"].link == "usr/bin"
    assert paths["tmp"].mode == 0o1777
    assert tree.has("bin/tool")
    assert list(paths) == sorted(paths)


def test_a_plan_removes_its_scratch_directory(tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    (scratch / "below").mkdir(parents=True)
    plan = BasePlan(
        entries=(), config=ContainerConfig(), labels={}, default_name="x", scratch=scratch
    )
    with plan:
        assert scratch.exists()
    assert not scratch.exists()
