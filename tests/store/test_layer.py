"""A tree written as a tar and unpacked again is the same tree, with the same digest."""

from __future__ import annotations

import hashlib
import io
import os
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.store.conftest import ROOT, listing
from tests.store.test_capture import mark
from workbench.oci.digest import Digest
from workbench.store.capture import overlay_members
from workbench.store.clone import clone_tree
from workbench.store.compare import changed_members
from workbench.store.layer import apply, capture, write_members
from workbench.store.options import ApplyOptions, Whiteouts

NAMES = st.text(
    st.characters(blacklist_characters="/\0", blacklist_categories=["Cs"]), min_size=1, max_size=60
).filter(lambda name: name not in (".", "..") and not name.startswith(".wh."))
LEAVES = st.one_of(
    st.tuples(st.just("file"), st.binary(max_size=2000), st.integers(0, 0o7777)),
    st.tuples(st.just("link"), NAMES, st.just(0)),
    st.tuples(st.just("whiteout"), st.just(None), st.just(0)),
    st.tuples(st.just("fifo"), st.just(None), st.integers(0, 0o777)),
    st.tuples(st.just("hardlink"), st.just(None), st.just(0)),
)
TREES = st.recursive(
    st.dictionaries(NAMES, LEAVES, max_size=4),
    lambda inner: st.dictionaries(NAMES, st.one_of(LEAVES, inner), max_size=4),
    max_leaves=25,
)
CHOICES = ApplyOptions(owners=ROOT, devices=ROOT, user_attributes=not ROOT)
SLOW = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def build(root: Path, tree: dict[str, Any], *, marks: bool = True) -> None:
    """Make a drawn tree; a hard link goes to the first file there is."""
    first: list[Path] = []
    _build(root, tree, first, marks=marks)


def _build(root: Path, tree: dict[str, Any], first: list[Path], *, marks: bool) -> None:
    for name, value in tree.items():
        path = root / name
        if len(os.fsencode(name)) > 255:
            continue
        if isinstance(value, dict):
            path.mkdir()
            _build(path, value, first, marks=marks)
            os.utime(path, (len(name), len(name)))
            continue
        kind, held, mode = value
        if kind == "file":
            path.write_bytes(held)
            # Only root reads a file whose owner may not.
            path.chmod(mode if ROOT else mode | 0o600)
            os.utime(path, ns=(0, len(held) * 1_000_000_007))
            first.append(path)
        elif kind == "link":
            path.symlink_to(held)
        elif kind == "fifo":
            os.mkfifo(path)
            path.chmod(mode)
        elif kind == "hardlink" and first:
            path.hardlink_to(first[0])
        elif kind == "whiteout" and marks:
            mark(path, "whiteout")


def tar(root: Path) -> bytes:
    out = io.BytesIO()
    capture(root, out.write)
    return out.getvalue()


@given(TREES)
@SLOW
def test_apply_and_capture_are_each_others_inverse(tree: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        before, after = Path(folder) / "before", Path(folder) / "after"
        before.mkdir()
        after.mkdir()
        build(before, tree)
        data = tar(before)
        applied = apply(io.BytesIO(data), after, CHOICES)
        assert applied.diff_id == Digest.from_hex(hashlib.sha256(data).hexdigest())
        assert listing(after) == listing(before)
        assert tar(after) == data


@given(TREES, TREES)
@SLOW
def test_the_difference_of_two_trees_turns_one_into_the_other(
    old: dict[str, Any], new: dict[str, Any]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        one, two = Path(folder) / "one", Path(folder) / "two"
        one.mkdir()
        two.mkdir()
        build(one, old, marks=False)
        build(two, new, marks=False)
        out = io.BytesIO()
        write_members(changed_members(one, two), out.write)
        apply(io.BytesIO(out.getvalue()), one, replace(CHOICES, whiteouts=Whiteouts.DELETE))
        assert listing(one) == listing(two)


@given(TREES)
@SLOW
def test_a_clone_differs_in_nothing(tree: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        one, two = Path(folder) / "one", Path(folder) / "two"
        one.mkdir()
        build(one, tree, marks=False)
        clone_tree(one, two)
        assert listing(one) == listing(two)
        assert [entry for entry, _ in changed_members(one, two)] == []
        first = [entry for entry, _ in overlay_members(one)]
        assert first == [entry for entry, _ in overlay_members(two)]


def test_holes_of_a_clone_stay_holes(tmp_path: Path) -> None:
    one = tmp_path / "one"
    one.mkdir()
    with (one / "sparse").open("wb") as file:
        file.seek(50 << 20)
        file.write(b"end")
    clone_tree(one, tmp_path / "two")
    found = (tmp_path / "two/sparse").stat()
    assert found.st_size == (50 << 20) + 3
    assert found.st_blocks * 512 < 1 << 20
    assert (tmp_path / "two/sparse").read_bytes() == (one / "sparse").read_bytes()


def test_a_changed_file_brings_its_folders(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    (one / "a/b").mkdir(parents=True)
    (one / "a/same").touch()
    (one / "a/b/f").write_text("old")
    clone_tree(one, two)
    (two / "a/b/f").write_text("newer")
    assert [entry.name for entry, _ in changed_members(one, two)] == ["a/", "a/b/", "a/b/f"]
