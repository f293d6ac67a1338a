"""The tar writer: what it writes others read, and it writes the same each time."""

from __future__ import annotations

import io
import tarfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.store.tar_entry import NANO, TarEntry
from workbench.store.tar_read import TarReader
from workbench.store.tar_write import TarWriter, header

NAMES = st.text(
    st.characters(blacklist_characters="\0", blacklist_categories=["Cs"]), min_size=1, max_size=150
)
ENTRIES = st.builds(
    TarEntry,
    name=NAMES,
    kind=st.sampled_from(["file", "symlink", "hardlink", "fifo"]),
    mode=st.integers(0, 0o7777),
    uid=st.integers(0, 0xFFFFFFFE),
    gid=st.integers(0, 0xFFFFFFFE),
    mtime_ns=st.integers(-(1 << 32), 1 << 32).map(lambda seconds: seconds * NANO),
    target=NAMES,
    xattrs=st.dictionaries(st.just("security.capability"), st.binary(max_size=40)),
)


def written(*members: tuple[TarEntry, bytes]) -> bytes:
    out = io.BytesIO()
    writer = TarWriter(out.write)
    for entry, data in members:
        writer.add(entry)
        if data:
            writer.write(data)
    writer.close()
    assert writer.count == len(out.getvalue())
    return out.getvalue()


@given(ENTRIES)
@settings(max_examples=300, deadline=None)
def test_what_is_written_is_read_back(entry: TarEntry) -> None:
    (found,) = TarReader(io.BytesIO(written((entry, b""))))
    assert found.name == entry.name
    linked = entry.kind in ("symlink", "hardlink")
    assert found.target == (entry.target if linked else "")
    # A file whose name ends in a slash is a directory, as every reader has it.
    assert found.kind == entry.kind or entry.name.endswith("/")
    for field in ("mode", "uid", "gid", "mtime_ns"):
        assert getattr(found, field) == getattr(entry, field)
    assert found.xattrs == {key: value for key, value in entry.xattrs.items() if value}


@given(ENTRIES)
@settings(max_examples=200, deadline=None)
def test_pythons_tarfile_agrees(entry: TarEntry) -> None:
    with tarfile.open(fileobj=io.BytesIO(written((entry, b"")))) as tar:
        (info,) = tar.getmembers()
    assert info.name.rstrip("/") == entry.name.rstrip("/")
    assert (info.mode, info.uid, info.gid) == (entry.mode, entry.uid, entry.gid)
    assert info.mtime == entry.mtime_ns // NANO


@pytest.mark.parametrize("length", [1, 99, 100, 101, 155, 156, 200, 255, 256, 257, 300])
@pytest.mark.parametrize("kind", ["file", "dir"])
def test_names_of_any_length(length: int, kind: str) -> None:
    name = ("abcdefghi/" * 40)[: length - 1] + ("/" if kind == "dir" else "x")
    name = name.replace("//", "a/") if kind == "dir" else name
    (found,) = TarReader(io.BytesIO(written((TarEntry(name=name, kind=kind), b""))))
    assert found.name == name


def test_ustar_is_used_where_it_fits() -> None:
    plain = TarEntry(name="a/" * 90 + "b", kind="file", uid=0o7777777, size=0o77777777777)
    assert len(header(plain)) == 512
    assert len(header(TarEntry(name="é", kind="file"))) == 512 * 3
    assert len(header(TarEntry(name="a", kind="file", uid=0o7777777 + 1))) == 512 * 3
    assert len(header(TarEntry(name="a", kind="file", size=0o77777777777 + 1))) == 512 * 3


def test_parts_of_a_second_are_dropped() -> None:
    (found,) = TarReader(
        io.BytesIO(written((TarEntry(name="a", kind="file", mtime_ns=5 * NANO + 7), b"")))
    )
    assert found.mtime_ns == 5 * NANO


def test_content_must_be_as_long_as_announced() -> None:
    writer = TarWriter(lambda _: None)
    writer.add(TarEntry(name="a", kind="file", size=3))
    with pytest.raises(ValueError, match="more content"):
        writer.write(b"abcd")
    writer.write(b"ab")
    with pytest.raises(ValueError, match="less content"):
        writer.close()


@given(st.lists(st.binary(max_size=1500), max_size=8))
@settings(deadline=None)
def test_content_of_any_length(contents: list[bytes]) -> None:
    members = [
        (TarEntry(name=f"f{index}", kind="file", size=len(data)), data)
        for index, data in enumerate(contents)
    ]
    raw = written(*members)
    assert len(raw) % 512 == 0
    reader = TarReader(io.BytesIO(raw))
    assert [b"".join(piece for _, piece in reader.data()) for _ in reader] == contents
