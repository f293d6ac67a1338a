"""The kernel's one engine, opened when first needed, and what a shell remembers beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from workbench import Engine


class Session:
    """What the magics of one shell share. ``close`` may be called twice; use opens it again."""

    def __init__(self, shell: Any) -> None:
        self.shell = shell
        self.replaced: dict[str, Any] = {}
        self.aliases: list[tuple[str, str]] = []
        self.closed = False
        self._engine: Engine | None = None
        self._hushed: object = None
        self._ends_in_magic = False

    @property
    def engine(self) -> Engine:
        """The engine; raises what ``Engine.open`` raises."""
        if self._engine is None:
            from workbench import Engine

            self._engine = Engine.open()
        return self._engine

    def close(self) -> None:
        """Let the engine go. Containers that run go on running."""
        engine, self._engine = self._engine, None
        self.closed = True
        if engine is not None:
            engine.close()

    @property
    def is_notebook(self) -> bool:
        """Whether outputs can be updated in place: true of a kernel, false of a terminal."""
        return hasattr(self.shell, "kernel")

    def cell_begins(self, info: Any) -> None:
        """IPython's ``pre_run_cell``: note whether a magic's value can be the cell's result."""
        lines = (info.raw_cell or "").strip().splitlines()
        self._hushed = None
        self._ends_in_magic = bool(lines) and (
            lines[0].startswith("%%") or lines[-1].startswith("%")
        )

    def hush(self, value: object) -> None:
        """The cell has shown ``value`` in another way already: do not show it as its result.

        Where the cell names the value again (``x = %ps -q``, then ``x``) it is shown.
        """
        self._hushed = value if self._ends_in_magic else None

    def take_hushed(self, value: object) -> bool:
        """Whether ``value`` was hushed; it is so for one display only."""
        hushed, self._hushed = self._hushed, None
        return value is not None and hushed is value
