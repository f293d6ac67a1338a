"""The ``WWW-Authenticate`` header, parsed. Pure.

Source: RFC 9110 section 11.6.1; distribution's ``docs/spec/auth/token.md``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

_TOKEN: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_PART: Final = re.compile(
    rf'[\s,]*(?P<name>{_TOKEN})(?:\s*=\s*(?:"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<plain>[^\s,"]*)))?'
)
_LONGEST: Final = 16 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Challenge:
    """One way to log in that a server offers; ``scheme`` and parameter names in lower case."""

    scheme: str
    parameters: Mapping[str, str] = field(default_factory=dict)


def parse(header: str) -> tuple[Challenge, ...]:
    """Every challenge of the header, in order. What cannot be understood is left out."""
    found: list[tuple[str, dict[str, str]]] = []
    position = 0
    header = header[:_LONGEST]
    while match := _PART.match(header, position):
        position = match.end()
        name, value = match["name"].lower(), match["plain"]
        if match["quoted"] is not None:
            value = re.sub(r"\\(.)", r"\1", match["quoted"])
        if value is None:
            found.append((name, {}))
        elif found:
            found[-1][1].setdefault(name, value)
    return tuple(Challenge(scheme=scheme, parameters=values) for scheme, values in found)
