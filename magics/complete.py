"""Completion of magics: flags, names of images and containers, kinds of base images."""

from __future__ import annotations

import shlex
from argparse import Action
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

from magics.perform import command_of
from workbench.errors import WorkbenchError

if TYPE_CHECKING:
    from magics.grammar import Parser, Thing
    from magics.session import Session
    from magics.table import Entry
    from workbench import Engine


def candidates(session: Session, entry: Entry, line: str, symbol: str) -> list[str]:
    """What may stand where the cursor is. ``symbol`` is the last piece of the word before it.

    IPython cuts words at ``:`` and ``=``, so a candidate loses what stands before the symbol.
    """
    if session.closed:
        return []
    parser = command_of(entry, cell=line.startswith("%%")).parser()
    words, word = _split(line)
    head = word.removesuffix(symbol)
    found = (name for name in _possible(session, parser, words, word) if name.startswith(word))
    return sorted({name.removeprefix(head) for name in found})


def _split(line: str) -> tuple[list[str], str]:
    """The words before the one at the cursor, without the magic, and the text of that one."""
    pieces = line.split()
    word = "" if not pieces or line[-1:].isspace() else pieces.pop()
    try:
        return shlex.split(" ".join(pieces[1:])), word
    except ValueError:
        return pieces[1:], word


def _possible(session: Session, parser: Parser, words: list[str], word: str) -> Iterable[str]:
    actions = parser.options()
    before = actions.get(words[-1]) if words else None
    if before is not None and before.nargs != 0:
        return _names(session, parser.things.get(before.dest, ""))
    places = parser.places()
    position = _position(actions, words)
    if position >= len(places) and not (places and places[-1].nargs == "+"):
        return list(actions) if word.startswith("-") else []
    if word.startswith("-"):
        return list(actions)
    place = places[min(position, len(places) - 1)]
    return _names(session, parser.things.get(place.dest, ""))


def _position(actions: dict[str, Action], words: Sequence[str]) -> int:
    """How many words stand for themselves: neither flags nor their values."""
    count, skip = 0, False
    for word in words:
        action = actions.get(word)
        if skip:
            skip = False
        elif word.startswith("-"):
            skip = action is not None and action.nargs != 0
        else:
            count += 1
    return count


def _names(session: Session, thing: Thing) -> Iterable[str]:
    source = _SOURCES.get(thing)
    if source is None:
        return ()
    try:
        return source(session.engine)
    except WorkbenchError:
        # A machine without an engine has no names; the cell itself will say why.
        return ()


def _images(engine: Engine) -> list[str]:
    names = []
    for info in engine.images.list():
        for reference in info.references:
            names.append(reference.familiar)
            if reference.tag == "latest":
                names.append(reference.familiar_name)
    return names


def _containers(engine: Engine) -> list[str]:
    return [info.name for info in engine.containers.list(all=True)]


def _networks(engine: Engine) -> list[str]:
    return ["bridge", "host", "none", *(info.name for info in engine.networks.list())]


def _volumes(engine: Engine) -> list[str]:
    return [info.name for info in engine.volumes.list()]


def _bases(_engine: Engine) -> list[str]:
    return ["toolbox", "python", "debian:bookworm-slim"]


_SOURCES: Final[dict[Thing, Callable[[Any], list[str]]]] = {
    "image": _images,
    "container": _containers,
    "network": _networks,
    "volume": _volumes,
    "base": _bases,
}
