"""What a container writes -> stdout and stderr of the cell, as it comes and in its order."""

from __future__ import annotations

import codecs
import sys
from typing import TextIO

from workbench.events import Event, Notice, Output, Stream


class CellStreams:
    """A ``Report`` that writes output of a container into the cell.

    A character split between two chunks is kept until its rest arrives. Jupyter sends the two
    streams through separate buffers, so one is flushed before the other is written to.
    """

    def __init__(self, stdout: TextIO | None = None, stderr: TextIO | None = None) -> None:
        self._files: dict[Stream, TextIO] = {
            "stdout": stdout or sys.stdout,
            "stderr": stderr or sys.stderr,
        }
        make = codecs.getincrementaldecoder("utf-8")
        self._decoders = {name: make(errors="replace") for name in self._files}
        self._last: Stream = "stdout"

    def __call__(self, event: Event) -> None:
        if isinstance(event, Output):
            self._write(event.stream, self._decoders[event.stream].decode(event.data))
        elif isinstance(event, Notice):
            self._write("stderr", event.message.rstrip("\n") + "\n")

    def close(self) -> None:
        """Write what is left of a split character, and flush."""
        for name, decoder in self._decoders.items():
            self._write(name, decoder.decode(b"", final=True))
        for file in self._files.values():
            file.flush()

    def _write(self, name: Stream, text: str) -> None:
        if not text:
            return
        if name != self._last:
            self._files[self._last].flush()
            self._last = name
        self._files[name].write(text)
