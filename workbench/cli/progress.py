"""What happens, printed while it happens."""

from __future__ import annotations

import sys

import click

from workbench.cli import units
from workbench.events import (
    Event,
    LayerProgress,
    Notice,
    Output,
    StepFinished,
    StepOutput,
    StepStarted,
)


def output(event: Event) -> None:
    """The output of a container to our own streams, byte for byte; notices to stderr."""
    if isinstance(event, Output):
        stream = sys.stdout.buffer if event.stream == "stdout" else sys.stderr.buffer
        stream.write(event.data)
        stream.flush()
    elif isinstance(event, Notice):
        click.echo(event.message, err=True)


def steps(event: Event) -> None:
    """A build, step by step, in plain lines on stderr as ``docker build --progress=plain``."""
    if isinstance(event, StepStarted):
        click.echo(f"#{event.index} [{event.index}/{event.total}] {event.text}", err=True)
    elif isinstance(event, StepOutput):
        text = event.data.decode("utf-8", "replace").rstrip("\n")
        for line in text.splitlines():
            click.echo(f"#{event.index} {line}", err=True)
    elif isinstance(event, StepFinished):
        click.echo(f"#{event.index} {_ending(event)}\n", err=True)
    elif isinstance(event, Notice):
        click.echo(event.message, err=True)


def _ending(event: StepFinished) -> str:
    if event.cached:
        return "CACHED"
    added = f", {units.size(event.size)} added" if event.size else ""
    why = f" ({event.reason})" if event.reason else ""
    return f"DONE {event.seconds:.1f}s{added}{why}"


def layers(event: Event) -> None:
    """A transfer, in plain lines: a line for each change of a layer's state."""
    if isinstance(event, LayerProgress) and event.state in _WORTH_A_LINE:
        click.echo(f"{event.id.partition(':')[2][:12]}: {event.state}", err=True)
    elif isinstance(event, Notice):
        click.echo(event.message, err=True)


_WORTH_A_LINE = {
    "Already exists",
    "Pull complete",
    "Pushed",
    "Layer already exists",
    "Mounted from",
}
