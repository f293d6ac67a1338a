"""Errors in a cell: one short paragraph, no Python traceback, and the cell still fails.

An exception that has ``_render_traceback_`` draws itself in IPython and keeps its type, so that
``except ImageNotFound`` works and Run-All stops. This is the only ``except WorkbenchError``.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from workbench.errors import Interrupted, WorkbenchError

# Weight alone: no colour reads well on both a light and a dark error background.
_BOLD, _PLAIN = "\x1b[1m", "\x1b[0m"
_STOPPED = "stopped, and nothing is left behind"


class ContainerFailed(WorkbenchError):
    """The command of a container ended with another exit code than 0; ``code`` and ``name``."""

    def __init__(self, message: str, *, hint: str = "", name: str = "", code: int = 1) -> None:
        super().__init__(message, hint=hint)
        self.name = name
        self.code = code


@contextlib.contextmanager
def drawn() -> Iterator[None]:
    """Within it, errors of the workbench and interrupts learn to draw themselves."""
    try:
        yield
    except Interrupted as error:
        raise _interrupted() from error
    except KeyboardInterrupt as error:
        _draw(error, [_STOPPED])
        raise
    except WorkbenchError as error:
        _draw(error, list(paragraphs(error)))
        raise


def _interrupted() -> KeyboardInterrupt:
    interrupt = KeyboardInterrupt()
    _draw(interrupt, [_STOPPED])
    return interrupt


def _draw(error: BaseException, lines: list[str]) -> None:
    name = type(error).__name__
    first, *rest = lines
    drawing = [f"{_BOLD}{name}{_PLAIN}: {first}", *rest]
    error._render_traceback_ = lambda: drawing  # type: ignore[attr-defined]


def paragraphs(error: WorkbenchError) -> Iterator[str]:
    """The message, the Dockerfile's lines around the place, the last output, and the hint."""
    yield error.message
    excerpt = getattr(error, "excerpt", "")
    if excerpt:
        yield excerpt.rstrip("\n")
    tail = getattr(error, "tail", "")
    if tail:
        yield "last output of the step:"
        yield "\n".join(f"  │ {line}" for line in tail.rstrip("\n").splitlines())
    if error.hint:
        yield f"{_BOLD}Hint:{_PLAIN} {error.hint}"
