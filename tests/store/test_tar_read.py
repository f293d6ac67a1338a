"""The tar reader against other writers, and against archives that lie."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import struct
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.store.conftest import tar_of
from workbench.errors import Corrupt, LimitExceeded, WorkbenchError
from workbench.store.tar_entry import NANO, TarEntry
from workbench.store.tar_read import TarReader
from workbench.store.tar_write import header


def entries(data: bytes, **bounds: int) -> list[tuple[TarEntry, bytes]]:
    """Every member with its content, holes filled."""
    reader = TarReader(io.BytesIO(data), **bounds)
    found = []
    for entry in reader:
        held = bytearray(entry.size)
        for offset, piece in reader.data():
            held[offset : offset + len(piece)] = piece
        found.append((entry, bytes(held)))
    reader.drain()
    return found


def raw(name: bytes = b"x", *, flag: bytes = b"0", size: bytes = b"0", **fields: bytes) -> bytes:
    """A header block with a right checksum and whatever fields."""
    block = struct.pack(
        "100s8s8s8s12s12s8sc100s8s32s32s8s8s155s12x",
        name,
        fields.get("mode", b"0000644"),
        fields.get("uid", b"0"),
        fields.get("gid", b"0"),
        size,
        fields.get("mtime", b"0"),
        b" " * 8,
        flag,
        fields.get("target", b""),
        fields.get("magic", b"ustar\x0000"),
        b"",
        b"",
        b"0000000",
        b"0000000",
        fields.get("prefix", b""),
    )
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


def pax(data: bytes, flag: bytes = b"x") -> bytes:
    return raw(b"pax", flag=flag, size=b"%o" % len(data)) + data + bytes(-len(data) % 512)


def record(key: bytes, value: bytes) -> bytes:
    rest = b" " + key + b"=" + value + b"\n"
    length = len(rest) + 1
    while len(str(length)) + len(rest) != length:
        length += 1
    return str(length).encode() + rest


END = bytes(1024)
LONG = "deep/" * 60 + "name-" + "x" * 120


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_what_pythons_tarfile_writes(form: int) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as tar:
        for kind, name in (
            (tarfile.REGTYPE, "file"),
            (tarfile.DIRTYPE, "dir"),
            (tarfile.SYMTYPE, "link"),
            (tarfile.LNKTYPE, "hard"),
            (tarfile.FIFOTYPE, "pipe"),
            (tarfile.CHRTYPE, "null"),
        ):
            info = tarfile.TarInfo(name)
            info.type, info.mode, info.uid, info.gid, info.mtime = kind, 0o4751, 7, 8, 1234567
            info.linkname = "file" if kind in (tarfile.SYMTYPE, tarfile.LNKTYPE) else ""
            info.devmajor, info.devminor = 1, 3
            info.size = 3 if kind == tarfile.REGTYPE else 0
            tar.addfile(info, io.BytesIO(b"abc"))
    found = entries(out.getvalue())
    kinds = [entry.kind for entry, _ in found]
    assert kinds == ["file", "dir", "symlink", "hardlink", "fifo", "char"]
    first, data = found[0]
    assert data == b"abc"
    assert (first.mode, first.uid, first.gid, first.mtime_ns) == (0o4751, 7, 8, 1234567 * NANO)
    assert found[2][0].target == "file"
    assert (found[5][0].major, found[5][0].minor) == (1, 3)


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_names_large_numbers_and_unicode(form: int) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as tar:
        info = tarfile.TarInfo(LONG + "é")
        info.type, info.linkname, info.uid, info.mtime = tarfile.SYMTYPE, LONG, 3_000_000, -5
        tar.addfile(info)
    ((entry, _),) = entries(out.getvalue())
    assert (entry.name, entry.target, entry.uid) == (LONG + "é", LONG, 3_000_000)
    assert entry.mtime_ns == -5 * NANO


def test_the_prefix_of_ustar_names() -> None:
    ((entry, _),) = entries(raw(b"name", prefix=b"some/folder") + END)
    assert entry.name == "some/folder/name"
    ((entry, _),) = entries(raw(b"name", prefix=b"12345", magic=b"ustar  \0") + END)
    assert entry.name == "name"


def test_old_archives_say_directory_with_a_slash() -> None:
    ((entry, _),) = entries(raw(b"dir/", flag=b"\0", magic=b"") + END)
    assert entry.kind == "dir"


def test_names_that_are_no_utf8_survive() -> None:
    ((entry, _),) = entries(raw(b"caf\xe9") + END)
    assert os.fsencode(entry.name) == b"caf\xe9"


def test_attributes_and_global_headers() -> None:
    data = pax(record(b"mtime", b"7.25") + record(b"SCHILY.xattr.user.who", b"all"), b"g")
    data += pax(record(b"SCHILY.xattr.security.capability", b"\x01\0\n=x"))
    data += raw(b"one") + pax(record(b"mtime", b"9")) + raw(b"two") + END
    one, two = [entry for entry, _ in entries(data)]
    assert one.xattrs == {"user.who": b"all", "security.capability": b"\x01\0\n=x"}
    assert one.mtime_ns == 7_250_000_000
    assert two.mtime_ns == 9 * NANO
    assert two.xattrs == {"user.who": b"all"}


def test_a_size_in_base_256() -> None:
    size = b"\x80" + (5).to_bytes(11, "big")
    ((entry, data),) = entries(raw(size=size) + b"hello" + bytes(507) + END)
    assert (entry.size, data) == (5, b"hello")


def test_what_follows_an_unread_file_is_found() -> None:
    reader = TarReader(io.BytesIO(tar_of({"name": "a", "data": bytes(3000)}, "b")))
    assert [entry.name for entry in reader] == ["a", "b"]


@pytest.mark.parametrize("form", ["oldgnu", "posix0.0", "posix0.1", "posix1.0"])
@pytest.mark.parametrize("parts", [1, 3, 60])
def test_sparse_files_of_gnu_tar(
    tmp_path: Path, form: str, parts: int, require: Callable[[object, str], None]
) -> None:
    require(shutil.which("tar"), "GNU tar is not installed")
    with (tmp_path / "sparse").open("wb") as file:
        for number in range(parts):
            file.seek(number * 300_000)
            file.write(b"%08d" % number * 512)
        file.truncate(parts * 300_000)
    words = ["tar", "-S", "-cf", "-", "sparse"]
    words[2:2] = (
        ["--format=gnu"] if form == "oldgnu" else ["--format=posix", f"--sparse-version={form[5:]}"]
    )
    made = subprocess.run(words, cwd=tmp_path, capture_output=True, check=True).stdout
    ((entry, data),) = entries(made)
    assert entry.name == "sparse"
    assert entry.sparse
    assert len(made) < parts * 300_000
    assert data == (tmp_path / "sparse").read_bytes()


LIES: dict[str, bytes] = {
    "no tar": b"this is no tar archive" * 40,
    "one block of noise": bytes(range(256)) * 2,
    "a wrong checksum": raw()[:148] + b"000001\0 " + raw()[156:] + END,
    "half a header": raw()[:300],
    "a cut-off file": raw(size=b"5000") + b"x" * 100,
    "a missing file": raw(size=b"5000"),
    "a size of letters": raw(size=b"zz") + END,
    "a negative size": raw(size=b"\xff" * 12) + END,
    "an enormous size": raw(size=b"\x80" + b"\xff" * 11) + END,
    "pax with a short length": pax(b"3 a=b\n") + raw() + END,
    "pax with a long length": pax(b"99 a=b\n") + raw() + END,
    "pax with no number": pax(b"x a=b\n") + raw() + END,
    "pax with a huge number": pax(b"99999999999999999999 a=b\n") + raw() + END,
    "pax without an equals sign": pax(b"6 abc\n") + raw() + END,
    "pax without an end of line": pax(b"6 a=bc") + raw() + END,
    "a pax size of letters": pax(record(b"size", b"many")) + raw() + END,
    "a negative pax size": pax(record(b"size", b"-1")) + raw() + END,
    "a pax size that is not there": pax(record(b"size", b"99999")) + raw() + END,
    "an owner out of range": pax(record(b"uid", b"99999999999")) + raw() + END,
    "a time of letters": pax(record(b"mtime", b"now")) + raw() + END,
    "a name with a zero byte": pax(record(b"path", b"a\0b")) + raw() + END,
    "a link with a zero byte": pax(record(b"linkpath", b"a\0b")) + raw(flag=b"2") + END,
    "an unknown type": raw(flag=b"Z") + END,
    "an end after an extension": pax(record(b"path", b"a")) + END,
    "members after the end": bytes(512) + raw() + END,
    "extensions without end": pax(record(b"path", b"a")) * 100 + raw() + END,
    "a sparse map that overlaps": pax(
        record(b"GNU.sparse.size", b"100") + record(b"GNU.sparse.map", b"0,10,5,10")
    )
    + raw(size=b"24")
    + bytes(512)
    + END,
    "a sparse map beyond its file": pax(
        record(b"GNU.sparse.size", b"10") + record(b"GNU.sparse.map", b"0,20")
    )
    + raw(size=b"24")
    + bytes(512)
    + END,
    "a sparse map of odd length": pax(
        record(b"GNU.sparse.size", b"10") + record(b"GNU.sparse.map", b"0,2,3")
    )
    + raw(size=b"2")
    + bytes(512)
    + END,
    "a sparse map that promises more": pax(
        record(b"GNU.sparse.major", b"1") + record(b"GNU.sparse.realsize", b"10")
    )
    + raw(size=b"1000")
    + b"999999999999\n".ljust(512, b"\0")
    + END,
    "a sparse map without lines": pax(
        record(b"GNU.sparse.major", b"1") + record(b"GNU.sparse.realsize", b"10")
    )
    + raw(size=b"1000")
    + b"1" * 512
    + END,
}


@pytest.mark.parametrize("name", LIES)
def test_lies_are_corrupt(name: str) -> None:
    with pytest.raises(Corrupt):
        entries(LIES[name])


def test_bounds() -> None:
    data = tar_of({"name": "a", "data": bytes(600)}, {"name": "b", "data": bytes(600)})
    assert len(entries(data, max_entries=2, max_bytes=1200)) == 2
    with pytest.raises(LimitExceeded):
        entries(data, max_entries=1)
    with pytest.raises(LimitExceeded):
        entries(data, max_bytes=1199)
    with pytest.raises(LimitExceeded):
        entries(raw(flag=b"L", size=b"%o" % (1 << 30)) + END)
    with pytest.raises(LimitExceeded):
        entries(raw(size=b"\x80" + (1 << 60).to_bytes(11, "big")) + END, max_bytes=1 << 40)


def test_an_end_without_marks_is_an_end() -> None:
    assert len(entries(raw())) == 1
    assert len(entries(raw() + bytes(512))) == 1
    assert entries(b"") == []


BASE = tar_of({"name": "a", "data": b"x" * 700}, "d/", {"name": LONG, "data": b"y"})


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_flipped_and_cut_archives_never_do_worse_than_an_error(data: Any) -> None:
    mangled = bytearray(BASE)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(mangled) - 1))
        mangled[at] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(mangled)))
    with contextlib.suppress(WorkbenchError):
        entries(bytes(mangled[:cut]))


@given(st.binary(max_size=3000), st.integers(0, 6))
@settings(deadline=None)
def test_noise_behind_a_good_header_never_does_worse_than_an_error(noise: bytes, kind: int) -> None:
    flag = b"xgLKS0V"[kind : kind + 1]
    with contextlib.suppress(WorkbenchError):
        entries(raw(flag=flag, size=b"%o" % len(noise)) + noise + raw() + END)


def test_reading_header_blocks_one_byte_at_a_time() -> None:
    class Slow:
        def __init__(self) -> None:
            self._stream = io.BytesIO(BASE)

        def read(self, size: int = -1, /) -> bytes:
            return self._stream.read(1)

    reader = TarReader(Slow())
    assert [entry.name for entry in reader] == ["a", "d/", LONG]


def test_a_time_that_no_file_can_have_counts_as_none() -> None:
    entry = TarEntry(name="a", kind="file", mtime_ns=(1 << 34) * NANO)
    assert entries(header(entry) + END)[0][0].mtime_ns == 0
