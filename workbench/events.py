"""Progress and lifecycle events: frozen values that a core call hands to its ``report`` callback.

Every long call takes ``report: Report = silent``. Raising from the callback cancels the call.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

Stream = Literal["stdout", "stderr"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """One line for the user that is neither progress nor output, such as a warning."""

    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerProgress:
    """How far the transfer of one blob has come.

    ``id`` is the blob's digest. ``state`` uses Docker's words: "Waiting", "Downloading",
    "Verifying Checksum", "Extracting", "Pull complete", "Already exists", "Pushing", "Pushed",
    "Layer already exists", "Mounted from". ``current`` and ``total`` are bytes; ``total`` is None
    where nobody knows.
    """

    id: str
    state: str
    current: int = 0
    total: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StepStarted:
    """A build step begins. ``index`` counts from 1 to ``total``; ``text`` is its instruction."""

    index: int
    total: int
    text: str
    line: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StepOutput:
    """Bytes that the command of a build step wrote, as they came."""

    index: int
    stream: Stream
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class StepFinished:
    """A build step ended well. ``cached`` says that nothing had to run, ``reason`` why it had to.

    ``seconds`` is wall-clock time; ``size`` the bytes of files that the step added (its layer,
    uncompressed); ``image_id`` the short id of the result, as Docker's classic builder prints.
    """

    index: int
    cached: bool
    reason: str = ""
    seconds: float = 0.0
    size: int = 0
    image_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """Bytes that a container wrote, as they came."""

    stream: Stream
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Lifecycle:
    """Something happened to a thing of the engine, in the words of Docker's events.

    ``type`` is "container", "image", "network", "volume" or "builder"; ``action`` such as
    "create", "start", "die", "pull"; ``actor`` the id; ``time_ns`` nanoseconds since the epoch.
    """

    type: str
    action: str
    actor: str
    attributes: Mapping[str, str] = field(default_factory=dict)
    time_ns: int = 0


Event = Notice | LayerProgress | StepStarted | StepOutput | StepFinished | Output | Lifecycle
Report = Callable[[Event], None]


def silent(_event: Event) -> None:
    """The callback of a caller that does not watch."""
