"""The log file: its format, rotation, and reading it from any place while it grows."""

from __future__ import annotations

import json
import random
import threading
import time
from pathlib import Path

import pytest

from workbench.errors import InvalidInput
from workbench.monitor import logs, times
from workbench.monitor.logwriter import PARTIAL, LogWriter, numbered


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "c-json.log"


def read(path: Path, **options: object) -> list[bytes]:
    return [entry.data for entry in logs.follow(path, **options)]  # type: ignore[arg-type]


def test_entries_have_dockers_form(path: Path) -> None:
    writer = LogWriter(path)
    writer.write("stdout", 'say "hé"\n'.encode())
    writer.close()
    tree = json.loads(path.read_text())
    assert tree["log"] == 'say "hé"\n'
    assert tree["stream"] == "stdout"
    assert abs(times.from_text(tree["time"]) - time.time_ns()) < 5e9
    assert list(tree) == ["log", "stream", "time"]


def test_lines_are_joined_from_pieces_and_streams_kept_apart(path: Path) -> None:
    writer = LogWriter(path)
    for stream, data in [("stdout", b"a"), ("stderr", b"x\ny"), ("stdout", b"b\nc\nd")]:
        writer.write(stream, data)
    assert read(path) == [b"x\n", b"ab\n", b"c\n"]
    assert writer.unfinished() == {"stdout": b"d", "stderr": b"y"}
    writer.close()
    assert read(path)[3:] == [b"d", b"y"]


def test_any_bytes_in_any_pieces_come_back(path: Path) -> None:
    chance = random.Random(7)
    data = bytes(chance.randrange(256) for _ in range(30_000)) + "é€😀".encode() * 20_000
    writer = LogWriter(path)
    position = 0
    while position < len(data):
        size = chance.randrange(1, 9000)
        writer.write("stdout", data[position : position + size])
        position += size
    writer.close()
    assert b"".join(read(path)) == data


def test_long_lines_are_cut_between_characters(path: Path) -> None:
    writer = LogWriter(path)
    writer.write("stdout", "€".encode() * 20_000 + b"\n")
    writer.close()
    entries = read(path)
    assert all(len(entry) <= PARTIAL for entry in entries)
    assert [entry.endswith(b"\n") for entry in entries] == [False] * (len(entries) - 1) + [True]
    assert all("\ufffd" not in entry.decode() for entry in entries)


@pytest.mark.parametrize("max_file", [1, 2, 4])
def test_rotation_keeps_so_many_files_of_that_size(path: Path, max_file: int) -> None:
    writer = LogWriter(path, max_size=1000, max_file=max_file)
    for number in range(200):
        writer.write("stdout", b"line %d\n" % number)
    writer.close()
    files = [path, *(numbered(path, number) for number in range(1, 10))]
    present = [file for file in files if file.exists()]
    assert present == files[:max_file]
    assert all(file.stat().st_size <= 1000 for file in present)
    lines = read(path)
    assert lines == [b"line %d\n" % number for number in range(200 - len(lines), 200)]


@pytest.mark.parametrize("tail", [0, 1, 5, 50, 199, 200, 1000])
def test_tail_counts_across_files(path: Path, tail: int) -> None:
    writer = LogWriter(path, max_size=2000, max_file=100)
    for number in range(200):
        writer.write("stdout", b"%d\n" % number)
    writer.close()
    expected = [b"%d\n" % number for number in range(200)]
    assert read(path, tail=tail) == expected[max(0, 200 - tail) :]


def test_tail_of_a_large_file_reads_only_its_end(path: Path) -> None:
    line = b'{"log":"0123456789\\n","stream":"stdout","time":"2026-01-01T00:00:00Z"}\n'
    path.write_bytes(line * 500_000)
    began = time.monotonic()
    assert len(read(path, tail=10)) == 10
    assert time.monotonic() - began < 0.2


def test_since_and_until_bound_the_time(path: Path) -> None:
    lines = [
        f'{{"log":"{second}\\n","stream":"stdout","time":"2026-01-01T00:00:0{second}Z"}}\n'
        for second in range(6)
    ]
    path.write_text("".join(lines))
    at = [times.from_text(f"2026-01-01T00:00:0{second}Z") for second in range(6)]
    assert read(path, since=at[2], until=at[4]) == [b"2\n", b"3\n", b"4\n"]


def test_damaged_lines_are_left_out_and_mended_by_the_next_writer(path: Path) -> None:
    writer = LogWriter(path)
    writer.write("stdout", b"one\n")
    writer.close()
    with path.open("ab") as file:
        file.write(b'{"log":"cut sho')
    assert read(path) == [b"one\n"]
    writer = LogWriter(path)
    writer.write("stdout", b"two\n")
    writer.close()
    assert read(path) == [b"one\n", b"two\n"]


def test_following_sees_everything_across_quick_rotation(path: Path) -> None:
    writer = LogWriter(path, max_size=4000, max_file=50)
    done = threading.Event()

    def write() -> None:
        for number in range(1000):
            writer.write("stdout", b"line %d\n" % number)
            if number % 40 == 0:
                time.sleep(0.01)
        writer.close()
        done.set()

    thread = threading.Thread(target=write)
    thread.start()
    lines = read(path, follow=True, finished=done.is_set)
    thread.join()
    assert lines == [b"line %d\n" % number for number in range(1000)]


def test_following_waits_for_the_end_of_a_line_and_for_the_file(path: Path) -> None:
    whole = b'{"log":"x\\n","stream":"stdout","time":"2026-01-01T00:00:00Z"}\n'
    done = threading.Event()

    def write() -> None:
        time.sleep(0.1)
        with path.open("ab", buffering=0) as file:
            file.write(whole + whole[:20])
            time.sleep(0.15)
            file.write(whole[20:])
        done.set()

    thread = threading.Thread(target=write)
    thread.start()
    assert read(path, follow=True, finished=done.is_set) == [b"x\n", b"x\n"]
    thread.join()


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [
        (0, "1970-01-01T00:00:00Z"),
        (1_500_000_000, "1970-01-01T00:00:01.5Z"),
        (1_767_225_600_000_000_001, "2026-01-01T00:00:00.000000001Z"),
    ],
)
def test_times_are_rfc_3339(nanoseconds: int, text: str) -> None:
    assert times.to_text(nanoseconds) == text
    assert times.from_text(text) == nanoseconds


def test_times_of_other_zones_are_understood_and_nonsense_is_not() -> None:
    assert times.from_text("2026-01-01T02:00:00+02:00") == times.from_text("2026-01-01T00:00:00Z")
    with pytest.raises(InvalidInput):
        times.from_text("yesterday")
