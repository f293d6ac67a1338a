"""``docker run``'s grammar as a parser that execution, help and completion share.

The flags come from the engine's own table, so that cell, command line and API agree.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from magics.grammar import Parser, Thing
from workbench import DETACH, FLAGS, run_options

if TYPE_CHECKING:
    from magics.perform import Call
    from workbench import Flag, RunOptions

_THINGS: Final[dict[str, Thing]] = {
    "volumes_from": "container",
    "network": "network",
    "volume": "volume",
    "link": "container",
    "env_file": "path",
    "label_file": "path",
}
_KINDS: Final[dict[str, dict[str, Any]]] = {
    "switch": {"action": "store_true"},
    "text": {},
    "list": {"action": "append"},
    "number": {"type": int},
    "fraction": {"type": float},
}


class RunParser(Parser):
    """Flags end at the image; what follows belongs to the command."""

    def __init__(self, *, script: bool = False) -> None:
        super().__init__("run_container", _TEXT[script], cell=script)
        self.usage = f"{self.prog} [FLAGS] IMAGE [{_REST[script][0]} ...]"
        if script:
            self.add(
                "--shell", default="sh", metavar="PROGRAM",
                help="what reads the script: sh (the default), bash, python3, perl, node, ruby",
            )  # fmt: skip
        group = self.add_argument_group("flags of docker run")
        for flag in (DETACH, *FLAGS):
            self._add_flag(group, flag)
        self.add("image", metavar="IMAGE", thing="image", help="the image to run")
        what, text = _REST[script]
        self.add("command", metavar=what, nargs=argparse.REMAINDER, help=text)

    def _add_flag(self, group: Any, flag: Flag) -> None:
        options = dict(_KINDS[flag.kind])
        if flag.kind != "switch":
            options["metavar"] = flag.metavar or ("N" if flag.kind == "number" else "TEXT")
        names = sorted(flag.names, key=len)
        help_text = flag.help.replace("%", "%%")
        group.add_argument(*names, dest=flag.key, help=help_text, **options)
        self.things[flag.key] = _THINGS.get(flag.key, "")

    def own(self, words: list[str]) -> Iterable[str]:
        """The flags before the image, without their values."""
        takes = {
            name for action in self._actions if action.nargs != 0 for name in action.option_strings
        }
        flags, position = [], 0
        while position < len(words) and words[position].startswith("-"):
            flags.append(words[position])
            position += 2 if words[position] in takes else 1
        return flags


_REST: Final = {
    False: ("COMMAND", "the command and its arguments"),
    True: ("ARGUMENT", "arguments of the script: $1, $2, …"),
}
_TEXT: Final = {
    False: "Run a command in a new container, as docker run does.",
    True: "Run the cell as a script in a new container.",
}


def options_of(call: Call) -> RunOptions:
    """What the flags ask for. Raises InvalidInput, or Unsupported for what is refused."""
    given = vars(call.arguments)
    return run_options(
        given,
        call.arguments.image,
        call.arguments.command,
        environment=call.engine.config.environment,
        base=Path.cwd(),
    )
