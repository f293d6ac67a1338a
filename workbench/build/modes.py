"""What ``--chmod`` takes: octal digits, or the symbolic form of chmod(1).

Source: Dockerfile reference, "COPY --chmod"; POSIX chmod(1), with a umask of 0.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

_CLAUSE: Final = re.compile(r"([ugoa]*)((?:[-+=](?:[rwxXst]*|[ugo]))+)")
_ACTION: Final = re.compile(r"([-+=])([rwxXst]*|[ugo])(?=[-+=]|$)")
_SHIFTS: Final = {"u": 6, "g": 3, "o": 0}
_BITS: Final = {"r": 4, "w": 2, "x": 1}
_ANY_X: Final = 0o111


class BadMode(ValueError):
    """The text is no mode; the message is Docker's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModeChange:
    """``octal`` replaces the mode; otherwise ``clauses`` (who, operator, what) change it."""

    octal: int | None = None
    clauses: tuple[tuple[str, str, str], ...] = ()

    def apply(self, mode: int, *, directory: bool) -> int:
        """The new permission bits."""
        if self.octal is not None:
            return self.octal
        for who, operator, what in self.clauses:
            mode = _changed(mode, who, operator, what, directory=directory)
        return mode


def parse_mode(text: str) -> ModeChange:
    """Raises BadMode."""
    if re.fullmatch(r"[0-9]+", text):
        if not re.fullmatch(r"0*[0-7]{1,4}", text):
            raise BadMode(
                f"invalid chmod parameter: '{text}'. it should be octal string and between 0 and "
                "07777"
            )
        return ModeChange(octal=int(text, 8))
    clauses: list[tuple[str, str, str]] = []
    for part in text.split(","):
        match = _CLAUSE.fullmatch(part)
        if match is None:
            raise BadMode(f"invalid chmod parameter: '{text}'")
        actions = [action.groups() for action in _ACTION.finditer(match[2])]
        clauses += [(match[1] or "a", operator, what) for operator, what in actions]
    return ModeChange(clauses=tuple(clauses))


def _changed(mode: int, who: str, operator: str, what: str, *, directory: bool) -> int:
    everyone = "ugo" if "a" in who else who
    change = keep = 0
    for one in everyone:
        change |= _permissions(mode, what, directory=directory) << _SHIFTS[one]
        keep |= 7 << _SHIFTS[one]
    special = 0
    if "s" in what:
        special |= (0o4000 if "u" in everyone else 0) | (0o2000 if "g" in everyone else 0)
    if "t" in what and ("a" in who or "o" in who):
        special |= 0o1000
    change |= special
    if operator == "+":
        return mode | change
    if operator == "-":
        return mode & ~change
    cleared = (0o4000 if "u" in everyone else 0) | (0o2000 if "g" in everyone else 0)
    cleared |= 0o1000 if "a" in who or "o" in who else 0
    return mode & ~(keep | cleared) | change


def _permissions(mode: int, what: str, *, directory: bool) -> int:
    if what in _SHIFTS:
        return mode >> _SHIFTS[what] & 7
    bits = 0
    for letter in what:
        bits |= _BITS.get(letter, 0)
    if "X" in what and (directory or mode & _ANY_X):
        bits |= 1
    return bits
