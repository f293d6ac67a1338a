"""The grammar of magics: how a line becomes words, and parsers that raise instead of exiting.

Execution, help (``%name?``, ``--help``) and completion all read the same parser.
"""

from __future__ import annotations

import argparse
import difflib
import keyword
import re
import shlex
from collections.abc import Iterable, Mapping
from typing import Any, Literal, NoReturn

from workbench.errors import InvalidInput

# What can stand at a place of the command line, for completion.
Thing = Literal["image", "container", "network", "volume", "path", "base", ""]

_NAME = r"[A-Za-z_][A-Za-z0-9_]*"
# In this order: single quotes and escapes shield, doubled braces are a Go template's.
_EXPANSION = re.compile(
    rf"(?P<kept>'[^']*'|\\.|\{{\{{.*?\}}\}})|\$\{{(?P<braced>{_NAME})\}}|\$(?P<dollar>{_NAME})"
    rf"|(?<![$\w])\{{(?P<brace>{_NAME})\}}",
    re.DOTALL,
)


def expand(line: str, names: Mapping[str, Any]) -> str:
    """Put the values of Python variables for ``{name}`` and ``$name``.

    What is no variable stays as it is, and so does everything in single quotes, ``{{…}}`` and
    what a backslash shields: shell variables and Go templates pass through untouched.
    """

    def value(match: re.Match[str]) -> str:
        name = match["braced"] or match["dollar"] or match["brace"]
        if match["kept"] is not None or name not in names or name.startswith("_"):
            return match[0]
        return str(names[name])

    return _EXPANSION.sub(value, line)


def words_of(line: str, names: Mapping[str, Any]) -> tuple[list[str], bool]:
    """Split a line as a shell does, after expansion; and whether a last ``;`` silences it."""
    text = line.rstrip()
    silenced = text.endswith(";") and not text.endswith("\\;")
    if silenced:
        text = text[:-1]
    try:
        return shlex.split(expand(text, names)), silenced
    except ValueError as error:
        raise InvalidInput(f"cannot read the line: {error}", hint="check the quotes") from error


class Parser(argparse.ArgumentParser):
    """The grammar of one magic. ``add`` is ``add_argument`` that knows what completes it."""

    def __init__(self, name: str, description: str, *, cell: bool = False) -> None:
        super().__init__(
            prog=("%%" if cell else "%") + name,
            description=description,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            add_help=False,
            allow_abbrev=False,
        )
        self.things: dict[str, Thing] = {}
        self._name = name
        shown = self.add_argument_group("in a notebook")
        shown.add_argument("--help", action="store_true", help="show this text")
        shown.add_argument(
            "-o", "--output", metavar="VAR", type=_variable, default=None,
            help="keep the result in a Python variable",
        )  # fmt: skip
        shown.add_argument("-q", "--quiet", action="store_true", help="show nothing")

    def add(self, *names: str, thing: Thing = "", **options: Any) -> None:
        """``add_argument``, with what kind of name stands there."""
        self.things[self.add_argument(*names, **options).dest] = thing

    def parse(self, words: list[str]) -> argparse.Namespace | None:
        """The arguments; None when help was asked for. Raises InvalidInput."""
        if "--help" in self.own(words):
            return None
        return self.parse_args(words)

    def own(self, words: list[str]) -> Iterable[str]:
        """The words before the command of a container, which has a ``--help`` of its own."""
        return words

    def options(self) -> dict[str, argparse.Action]:
        """Every flag by each of its names."""
        return dict(self._option_string_actions)

    def places(self) -> list[argparse.Action]:
        """The arguments that are no flags, in their order."""
        return list(self._get_positional_actions())

    def error(self, message: str) -> NoReturn:
        flags = re.findall(r"(?:unrecognized|ambiguous).*?(--?[\w-]+)", message)
        near = difflib.get_close_matches(flags[0], self.options(), n=1) if flags else []
        mend = f"did you mean {near[0]}? " if near else ""
        raise InvalidInput(f"{self.prog}: {message}", hint=f"{mend}{self.prog} --help says more")


def _variable(text: str) -> str:
    if not text.isidentifier() or keyword.iskeyword(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no name of a Python variable")
    return text


def pairs(entries: Iterable[str], what: str) -> dict[str, str]:
    """``KEY=VALUE`` entries as a mapping. Raises InvalidInput for one without a key."""
    found = {}
    for entry in entries:
        key, _, value = entry.partition("=")
        if not key:
            raise InvalidInput(f"{what} {entry!r}: expected KEY=VALUE")
        found[key] = value
    return found
