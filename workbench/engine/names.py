"""Ids and the names that containers get when nobody names them."""

from __future__ import annotations

import functools
import re
import secrets
from importlib import resources
from typing import Final

from workbench.errors import InvalidInput

_NAME: Final = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+")


def new_id() -> str:
    """64 hex digits from the system's random source."""
    return secrets.token_hex(32)


def random_name() -> str:
    """A mood and a person of computing, such as ``keen_lovelace``."""
    moods, people = _words()
    return f"{secrets.choice(moods)}_{secrets.choice(people)}"


@functools.cache
def _words() -> tuple[list[str], list[str]]:
    text = resources.files(__package__).joinpath("names.txt").read_text("utf-8")
    moods, people = text.split("\n\n")
    return moods.split(), people.split()


def check_name(name: str, what: str = "container") -> str:
    """The name, if Docker allows it. Raises InvalidInput in Docker's words."""
    plain = name.removeprefix("/")
    if not _NAME.fullmatch(plain):
        raise InvalidInput(
            f"Invalid {what} name ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"
        )
    return plain
