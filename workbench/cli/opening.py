"""The engine of a command, opened when it is needed and closed with the command."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from workbench.engine import Engine


@contextmanager
def engine() -> Iterator[Engine]:
    """The engine of WORKBENCH_ROOT or of the default state directory."""
    with Engine.open() as opened:
        yield opened
