"""Ids and the names that containers get when nobody names them."""

from __future__ import annotations

import re
import secrets
from typing import Final

from workbench.errors import InvalidInput

_NAME: Final = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+")

_MOODS: Final = (
    "agile amber ample apt bold brave breezy bright brisk calm candid careful cheerful civil clever "
    "cosy crisp curious daring deft eager earnest easy fair fine fleet fond frank fresh gentle glad "
    "golden grand happy hardy honest jolly keen kind lively loyal lucid lucky mellow merry mild "
    "modest neat nimble noble open patient placid plucky polite proud quick quiet ready robust "
    "serene sharp silent simple sleek smart snug sober solid spry steady stout sunny sure swift "
    "tender tidy trim true upbeat vivid warm wise witty zesty"
).split()

_PEOPLE: Final = (
    "agnesi allen babbage backus bartik berners booth borg boyle brooks cerf church clarke codd "
    "conway cray curie dahl dijkstra eckert engelbart euler feinler floyd fourier franklin galois "
    "germain goldberg gray hamilton hamming hilbert hoare holberton hollerith hopper huffman iverson "
    "jennings johnson kahan kay kernighan kilburn kleene knuth kovalevskaya lamarr lamport leibniz "
    "liskov lovelace mauchly mccarthy meitner minsky moore nash naur neumann newton noether nygaard "
    "pascal perlis perlman postel ritchie sammet shannon sinclair stallman stroustrup tarjan thompson "
    "torvalds turing vaughan wilkes wing wirth zuse"
).split()


def new_id() -> str:
    """64 hex digits from the system's random source."""
    return secrets.token_hex(32)


def random_name() -> str:
    """A mood and a person of computing, such as ``keen_lovelace``."""
    return f"{secrets.choice(_MOODS)}_{secrets.choice(_PEOPLE)}"


def check_name(name: str, what: str = "container") -> str:
    """The name, if Docker allows it. Raises InvalidInput in Docker's words."""
    plain = name.removeprefix("/")
    if not _NAME.fullmatch(plain):
        raise InvalidInput(
            f"Invalid {what} name ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"
        )
    return plain
