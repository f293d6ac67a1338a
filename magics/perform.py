"""What happens when a magic runs: words, arguments, one call, a value, and errors drawn."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from argparse import Namespace

    from magics.grammar import Parser
    from magics.session import Session
    from magics.table import Entry
    from workbench import Engine


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One use of a magic. ``cell`` is the body of a cell magic, None for a line magic."""

    session: Session
    arguments: Namespace
    cell: str | None = None

    @property
    def engine(self) -> Engine:
        return self.session.engine

    @property
    def quiet(self) -> bool:
        """Whether nothing shall be shown (``-q``)."""
        return bool(getattr(self.arguments, "quiet", False))


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """What a module of a magic offers: its grammar and what it does.

    ``run`` returns the value of the cell; one that it has shown already it hushes itself.
    """

    parser: Callable[[], Parser]
    run: Callable[[Call], object]


class Magic:
    # No docstring: the property below answers ``%name?`` with the help of the parser.

    _ipython_magic_no_var_expand = True

    def __init__(self, session: Session, entry: Entry) -> None:
        self.session = session
        self.entry = entry
        self.__name__ = entry.name

    def __repr__(self) -> str:
        return f"<magic %{self.entry.name}>"

    @property
    def __doc__(self) -> str:  # type: ignore[override]
        return self.command.parser().format_help()

    @property
    def command(self) -> Command:
        """What carries the magic out; imported on first use."""
        return command_of(self.entry)

    def __call__(self, line: str = "", cell: str | None = None) -> object:
        """Run the magic. Raises WorkbenchError that draws itself, or KeyboardInterrupt."""
        from magics.errors import drawn

        with drawn():
            return _perform(self.session, command_of(self.entry, cell=cell is not None), line, cell)


def command_of(entry: Entry, *, cell: bool = False) -> Command:
    """What carries a magic out; ``CELL_COMMAND`` where its cell form has a grammar of its own."""
    module = importlib.import_module(entry.module)
    command: Command = module.COMMAND
    return getattr(module, "CELL_COMMAND", command) if cell else command


def _perform(session: Session, command: Command, line: str, cell: str | None) -> object:
    from magics.grammar import words_of

    words, silenced = words_of(line, session.shell.user_ns)
    parser = command.parser()
    arguments = parser.parse(words)
    if arguments is None:
        sys.stdout.write(parser.format_help())
        return None
    value = command.run(Call(session=session, arguments=arguments, cell=cell))
    if arguments.output:
        session.shell.user_ns[arguments.output] = value
    if arguments.quiet:
        session.hush(value)
    return None if silenced else value
