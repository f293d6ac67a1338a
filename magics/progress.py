"""Progress: what is known so far of a build or a transfer. Events go in; it draws nothing."""

from __future__ import annotations

import codecs
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Final, Literal

from workbench.events import (
    Event,
    LayerProgress,
    Notice,
    StepFinished,
    StepOutput,
    StepStarted,
)

State = Literal["running", "done", "cached", "failed", "stopped"]
# Lines of output that a step keeps, and the length at which a line without an end is cut.
TAIL: Final = 8
_LONGEST: Final = 4000


class Tail:
    """The last lines of a stream of bytes, as a terminal would show them."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._lines: deque[str] = deque(maxlen=TAIL)
        self._open = ""

    def feed(self, data: bytes) -> None:
        *whole, rest = (self._open + self._decoder.decode(data)).split("\n")
        self._lines.extend(_overwritten(line) for line in whole)
        self._open = rest[-_LONGEST:]

    @property
    def lines(self) -> list[str]:
        """At most TAIL lines, the one that has not ended yet among them."""
        rest = _overwritten(self._open)
        return [*self._lines, *([rest] if rest else [])][-TAIL:]


def _overwritten(line: str) -> str:
    """What is left of a line after its carriage returns: progress bars draw over themselves."""
    return line.rstrip("\r").rpartition("\r")[2][:_LONGEST]


def ending(*, cached: bool, layer: str) -> State:
    """How a step that went well ended; one without a layer has nothing that a cache could keep."""
    return "cached" if cached and layer else "done"


@dataclass(kw_only=True)
class Step:
    """One step of a build. ``seconds`` and ``size`` are set when it has ended."""

    index: int
    text: str
    line: int
    begun: float
    state: State = "running"
    seconds: float = 0.0
    size: int = 0
    reason: str = ""
    tail: Tail = field(default_factory=Tail)


@dataclass(kw_only=True)
class Progress:
    """All that a view draws. ``total`` is the number of steps, 0 until it is known."""

    title: str
    begun: float = field(default_factory=time.monotonic)
    state: State = "running"
    total: int = 0
    seconds: float = 0.0
    steps: dict[int, Step] = field(default_factory=dict)
    transfers: dict[str, LayerProgress] = field(default_factory=dict)
    notices: list[str] = field(default_factory=list)
    outcome: str = ""

    def take(self, event: Event) -> bool:
        """Note an event; whether something began or ended that should be seen at once."""
        self.seconds = time.monotonic() - self.begun
        if isinstance(event, StepStarted):
            self._start(event)
        elif isinstance(event, StepFinished):
            self._finish(event)
        elif isinstance(event, StepOutput) and event.index in self.steps:
            self.steps[event.index].tail.feed(event.data)
        elif isinstance(event, LayerProgress):
            self.transfers[event.id] = event
        elif isinstance(event, Notice):
            self.notices.append(event.message)
        return isinstance(event, StepStarted | StepFinished | Notice)

    def _start(self, event: StepStarted) -> None:
        self.total = event.total
        self.transfers.clear()
        self.steps[event.index] = Step(
            index=event.index, text=event.text, line=event.line, begun=time.monotonic()
        )

    def _finish(self, event: StepFinished) -> None:
        step = self.steps.get(event.index)
        if step is None:
            return
        self.transfers.clear()
        step.state = ending(cached=event.cached, layer=event.image_id)
        step.seconds, step.size, step.reason = event.seconds, event.size, event.reason

    def end(self, state: State, outcome: str = "") -> None:
        """The whole has ended; steps that still ran ended in the same way."""
        self.state, self.outcome = state, outcome
        self.seconds = time.monotonic() - self.begun
        for step in self.steps.values():
            if step.state == "running":
                step.state = state
                step.seconds = time.monotonic() - step.begun

    @property
    def ended(self) -> int:
        """How many steps are over, well or not."""
        return sum(step.state != "running" for step in self.steps.values())

    @property
    def cached(self) -> int:
        return sum(step.state == "cached" for step in self.steps.values())
