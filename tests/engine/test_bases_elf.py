"""The ELF reader, against made files and the programs of this host."""

from __future__ import annotations

import struct
import subprocess
import sys
from pathlib import Path

import pytest

from workbench.engine.bases import elf
from workbench.engine.bases.libraries import Closure, _parse_cache
from workbench.errors import Corrupt

STRINGS = b"\0libm.so.6\0libfoo.so.1\0$ORIGIN/../lib:/opt/lib\0"


def _string(text: bytes) -> int:
    return STRINGS.index(b"\0" + text) + 1


def _elf(*, wide: bool = True, order: str = "<") -> bytes:
    """A file with an interpreter, a dynamic table and strings, at fixed places."""
    word = "Q" if wide else "I"
    tags = [(1, _string(b"libm.so.6")), (14, _string(b"libfoo.so.1")),
            (29, _string(b"$ORIGIN")), (5, 0x1000 + 0x300), (0, 0)]  # fmt: skip
    dynamic = b"".join(struct.pack(f"{order}{word}{word}", *tag) for tag in tags)
    interpreter = b"/lib/ld.so\0"
    parts = [(1, 0, 0x1000, 0x400), (2, 0x200, 0x1200, len(dynamic)), (3, 0x280, 0x1280, 11)]
    if wide:
        layout, table = f"{order}IIQQQQQQ", 64
        rows = [struct.pack(layout, k, 4, o, a, a, s, s, 8) for k, o, a, s in parts]
        head = struct.pack(
            f"{order}HHIQQQIHHHHHH", 3, 62, 1, 0, table, 0x999, 0, 64, 56, 3, 64, 9, 8
        )
    else:
        layout, table = f"{order}8I", 52
        rows = [struct.pack(layout, k, o, a, a, s, s, 4, 8) for k, o, a, s in parts]
        head = struct.pack(
            f"{order}HHIIIIIHHHHHH", 3, 8, 1, 0, table, 0x999, 0, 52, 32, 3, 40, 9, 8
        )
    ident = elf.MAGIC + bytes([2 if wide else 1, 1 if order == "<" else 2, 1]) + bytes(9)
    image = bytearray(0x1000)
    for place, data in (
        (0, ident + head), (table, b"".join(rows)), (0x200, dynamic), (0x280, interpreter),
        (0x300, STRINGS),
    ):  # fmt: skip
        image[place : place + len(data)] = data
    return bytes(image)


@pytest.mark.parametrize("wide", [True, False])
@pytest.mark.parametrize("order", ["<", ">"])
def test_headers_of_all_classes_and_byte_orders(tmp_path: Path, wide: bool, order: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(_elf(wide=wide, order=order))
    found = elf.read(path)
    assert found is not None
    assert found.interpreter == "/lib/ld.so"
    assert found.needed == ("libm.so.6",)
    assert found.soname == "libfoo.so.1"
    assert found.runpath == ("$ORIGIN/../lib", "/opt/lib")
    assert found.rpath == ()
    assert not found.static


def test_other_files_are_none(tmp_path: Path) -> None:
    path = tmp_path / "script"
    path.write_text("#!/bin/sh\n")
    assert elf.read(path) is None
    assert elf.stripped(path) is None


@pytest.mark.parametrize("size", [4, 20, 63, 70, 100, 0x210])
def test_a_cut_file_is_corrupt_or_empty_but_never_a_crash(tmp_path: Path, size: int) -> None:
    path = tmp_path / "cut"
    path.write_bytes(_elf()[:size])
    try:
        assert elf.read(path) is not None
    except Corrupt as error:
        assert "cut" in str(error)


def test_an_absurd_table_is_refused(tmp_path: Path) -> None:
    image = bytearray(_elf())
    struct.pack_into("<HH", image, 54, 0xFFFF, 0xFFFF)
    path = tmp_path / "absurd"
    path.write_bytes(image)
    with pytest.raises(Corrupt):
        elf.read(path)


def test_stripping_cuts_behind_what_is_loaded(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(_elf())
    data = elf.stripped(path)
    assert data is not None
    assert len(data) == 0x400
    path.write_bytes(data)
    assert elf.read(path) is not None
    assert struct.unpack_from("<QHHH", data, 40)[0] == 0
    assert elf.stripped(path) is None


def test_a_stripped_interpreter_still_runs(tmp_path: Path) -> None:
    program = Path(sys.executable).resolve()
    data = elf.stripped(program)
    if data is None:
        pytest.skip("this interpreter has nothing to strip")
    copy = tmp_path / "python"
    copy.write_bytes(data)
    copy.chmod(0o755)
    code = "import sys; sys.exit(7)"
    environment = {"PYTHONHOME": sys.base_prefix}
    assert subprocess.run([copy, "-S", "-c", code], env=environment, check=False).returncode == 7


def test_the_libraries_of_our_interpreter_are_found() -> None:
    closure = Closure()
    assert closure.include(Path(sys.executable).resolve())
    assert closure.interpreter
    assert not closure.missing
    assert any(name.startswith(("libc.so", "libc.musl")) for name in closure.libraries)


def test_a_missing_library_is_named(tmp_path: Path) -> None:
    path = tmp_path / "program"
    path.write_bytes(_elf(wide=False, order=">"))
    closure = Closure()
    assert closure.include(path)
    assert closure.missing == {"libm.so.6"}


def test_the_loaders_cache_is_read_without_special_processors() -> None:
    strings = b"libx.so.1\0/lib/libx.so.1\0/lib/v3/libx.so.1\0"
    base = 48 + 2 * 24
    places = [base + strings.index(text) for text in (b"libx", b"/lib/libx", b"/lib/v3")]
    entries = struct.pack("=iIIIQ", 3, places[0], places[2], 0, 1 << 62)
    entries += struct.pack("=iIIIQ", 3, places[0], places[1], 0, 0)
    header = b"glibc-ld.so.cache1.1" + struct.pack("=II", 2, len(strings)) + bytes(20)
    old = b"ld.so-1.7.0\0" + bytes(4)
    for prefix in (b"", old):
        cache = _parse_cache(prefix + header + entries + strings)
        assert cache == {"libx.so.1": ("/lib/libx.so.1",)}
    assert _parse_cache(b"nonsense") == {}
