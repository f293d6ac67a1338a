"""Output of a container in the cell: whole characters, in order, nothing lost at the end."""

from __future__ import annotations

import io

from magics.streams import CellStreams
from workbench.events import Notice, Output


class Recorder(io.StringIO):
    def __init__(self, log: list[str], name: str) -> None:
        super().__init__()
        self.log, self.name_ = log, name

    def write(self, text: str) -> int:
        self.log.append(f"{self.name_}:{text}")
        return super().write(text)

    def flush(self) -> None:
        self.log.append(f"{self.name_}:flush")


def test_a_split_character_waits_for_its_rest_and_a_broken_one_is_shown() -> None:
    out, err = io.StringIO(), io.StringIO()
    streams = CellStreams(out, err)
    for piece in (b"\xe2", b"\x82", b"\xac no newline \xe2\x82"):
        streams(Output(stream="stdout", data=piece))
    assert out.getvalue() == "€ no newline "
    streams.close()
    assert out.getvalue() == "€ no newline \ufffd"


def test_the_other_stream_is_flushed_before_the_next_is_written() -> None:
    log: list[str] = []
    streams = CellStreams(Recorder(log, "out"), Recorder(log, "err"))
    streams(Output(stream="stdout", data=b"1"))
    streams(Output(stream="stderr", data=b"2"))
    streams(Output(stream="stdout", data=b"3"))
    assert log == ["out:1", "out:flush", "err:2", "err:flush", "out:3"]


def test_notices_go_to_standard_error() -> None:
    out, err = io.StringIO(), io.StringIO()
    CellStreams(out, err)(Notice(message="no memory limit here"))
    assert (out.getvalue(), err.getvalue()) == ("", "no memory limit here\n")
