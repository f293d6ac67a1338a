"""Progress -> one display of the cell that changes while things happen; the only such place.

In a notebook one output is updated in place, at most a few times a second, and its last state
stays behind as a still picture. In a terminal, where nothing can be updated, lines are written.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final, Protocol

from magics.progress import Progress
from magics.progress_view import html, lines, text
from magics.shown import Shown
from magics.streams import CellStreams
from workbench.events import Output, StepOutput

if TYPE_CHECKING:
    from magics.session import Session
    from workbench.events import Event

# Seconds between two updates: fast enough to feel alive, slow enough not to flood the page.
_PERIOD: Final = 0.15


class View(Protocol):
    """Where progress is shown. Calling it is the ``report`` of an engine's call."""

    progress: Progress

    def __call__(self, event: Event) -> None: ...
    def finish(self) -> None: ...
    def settle(self, value: Shown) -> bool: ...


class LiveView:
    """One display of a notebook, updated in place."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self._handle: Any = None
        self._drawn = 0.0

    def __call__(self, event: Event) -> None:
        beginning = self.progress.take(event)
        if beginning or time.monotonic() - self._drawn >= _PERIOD:
            self._draw()

    def finish(self) -> None:
        """Draw the last state, which stays."""
        self._draw()

    def settle(self, value: Shown) -> bool:
        """Put the result in the place of the progress; False where none was drawn."""
        if self._handle is None:
            return False
        self._handle.update({"text/plain": value.text(), "text/html": value.html()}, raw=True)
        return True

    def _draw(self) -> None:
        from IPython.display import display

        bundle = {"text/plain": text(self.progress), "text/html": html(self.progress)}
        self._drawn = time.monotonic()
        if self._handle is None:
            show: Any = display
            self._handle = show(bundle, raw=True, display_id=True)
        else:
            self._handle.update(bundle, raw=True)


class LineView:
    """Lines on standard output, for a terminal."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self._output = CellStreams()

    def __call__(self, event: Event) -> None:
        self.progress.take(event)
        if isinstance(event, StepOutput):
            self._output(Output(stream="stdout", data=event.data))
            return
        for line in lines(self.progress, event):
            sys.stdout.write(line)
        sys.stdout.flush()

    def finish(self) -> None:
        """The lines stand there already."""
        self._output.close()

    def settle(self, _value: Shown) -> bool:
        """The result is shown below the lines."""
        return False


class QuietView:
    """Nothing is shown; the progress is kept all the same."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress

    def __call__(self, event: Event) -> None:
        self.progress.take(event)

    def finish(self) -> None:
        """Nothing to draw."""

    def settle(self, _value: Shown) -> bool:
        """Whoever asked for quiet shows nothing of the result either."""
        return False


@contextlib.contextmanager
def watching(session: Session, title: str, *, quiet: bool = False) -> Iterator[View]:
    """A view for one long call; when that fails or is interrupted, the picture says so."""
    progress = Progress(title=title)
    kind = QuietView if quiet else LiveView if session.is_notebook else LineView
    view = kind(progress)
    try:
        yield view
    except KeyboardInterrupt:
        progress.end("stopped")
        view.finish()
        raise
    except Exception:
        progress.end("failed")
        view.finish()
        raise
