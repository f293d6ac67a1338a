"""Build: what ``%%dockerfile`` answers with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from magics import units
from magics.progress import Progress, State, Step, ending
from magics.progress_view import html, text
from magics.tables import Column, Table

if TYPE_CHECKING:
    import pandas as pd

    from workbench import BuildResult, Image, StepRecord


def _state(step: StepRecord) -> State:
    return ending(cached=step.cached, layer=step.layer)


COLUMNS: tuple[Column[StepRecord], ...] = (
    Column(key="index", title="#", kind="count", value=lambda step: step.index),
    Column(key="line", title="Line", kind="count", value=lambda step: step.line),
    Column(key="instruction", title="Instruction", kind="code", value=lambda step: step.text),
    Column(key="state", title="State", kind="status", value=_state),
    Column(key="reason", title="Why it ran", kind="text", value=lambda step: step.reason),
    Column(key="started", title="Began after", kind="seconds", value=lambda step: step.started),
    Column(key="seconds", title="Time", kind="seconds", value=lambda step: step.seconds),
    Column(key="size", title="Size", kind="bytes", value=lambda step: step.size or None),
    Column(key="cached", title="", kind="yes", value=lambda step: step.cached, shown=False),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """A build that succeeded: its image, names, steps and time in seconds."""

    result: BuildResult

    @property
    def image(self) -> Image:
        return self.result.image

    @property
    def id(self) -> str:
        """The id of the image, ``sha256:…``."""
        return str(self.result.image.id)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(reference.familiar for reference in self.result.references)

    @property
    def steps(self) -> Table[StepRecord]:
        """The steps as a table: ``build.steps.df`` is a frame."""
        count = len(self.result.steps)
        return Table(
            caption=f"{count} step{'' if count == 1 else 's'}, "
            f"{units.duration(self.result.seconds)}",
            columns=COLUMNS,
            rows=self.result.steps,
        )

    @property
    def df(self) -> pd.DataFrame:
        return self.steps.df

    def html(self) -> str:
        return html(self._progress())

    def text(self) -> str:
        return text(self._progress())

    def _progress(self) -> Progress:
        """The last picture of the build, made again from its result."""
        progress = Progress(title=title(self.names), state="done", total=len(self.result.steps))
        progress.seconds = self.result.seconds
        progress.outcome = outcome(self.result)
        for record in self.result.steps:
            progress.steps[record.index] = Step(
                index=record.index,
                text=record.text,
                line=record.line,
                begun=0.0,
                state=_state(record),
                seconds=record.seconds,
                size=record.size,
                reason=record.reason,
            )
        return progress


def title(names: tuple[str, ...]) -> str:
    """What a build is called on screen."""
    return f"Build of {names[0]}" if names else "Build"


def outcome(result: BuildResult) -> str:
    """The short id of the image that was built."""
    return f"image {result.image.id.short}"
