"""``%run_container`` and ``%%run_container``: docker run in a cell; the body is a script."""

from __future__ import annotations

import dataclasses
from typing import Final

from magics.perform import Call, Command
from magics.run import Run, run
from magics.run_grammar import RunParser, options_of
from workbench import RunOptions
from workbench.errors import InvalidInput

# The kernel's bound on one argument of a program is 128 KiB (execve(2), MAX_ARG_STRLEN).
_LONGEST: Final = 120 * 1024
_SCRIPT_FLAGS: Final = {"perl": "-e", "node": "-e", "ruby": "-e"}


def _run(call: Call) -> Run:
    options = options_of(call)
    if call.cell is not None:
        options = script(options, call.cell, call.arguments.shell)
    return run(call, options)


def script(options: RunOptions, body: str, shell: str) -> RunOptions:
    """``options`` with the text ``body`` as the program of ``shell``; arguments become ``$1`` …

    The image's entry point gives way to the shell.
    """
    if len(body.encode()) > _LONGEST:
        raise InvalidInput(
            f"the script has more than {_LONGEST // 1024} KiB",
            hint="put it into a file and mount that with -v",
        )
    name = shell.rpartition("/")[2]
    flag = next((flag for known, flag in _SCRIPT_FLAGS.items() if name.startswith(known)), "-c")
    given = tuple(options.command or ())
    zero = (name,) if given and name.endswith("sh") else ()
    return dataclasses.replace(options, entrypoint=(shell,), command=(flag, body, *zero, *given))


COMMAND = Command(parser=RunParser, run=_run)
CELL_COMMAND = Command(parser=lambda: RunParser(script=True), run=_run)
