"""Which files a build does not see: ``.dockerignore``, and the patterns of ``--exclude``.

Docker's own rules, not git's: patterns are anchored at the root, ``**`` spans directories, ``!``
takes back, the last match wins, and what matches a directory matches all below it.
Source: Docker's documentation, ".dockerignore files"; Go's ``filepath.Match``.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from workbench.build.globs import BadGlob, compile_deep_glob, has_wildcards, unescaped
from workbench.build.spaces import SPACES
from workbench.errors import InvalidInput

Parents = tuple[bool, ...]
_ESCAPE: Final = "\\"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pattern:
    """One line; ``literal`` is set where no wildcard stands in it. ``again`` is the ``!``."""

    text: str
    again: bool
    literal: str | None
    regex: re.Pattern[str]

    def matches(self, path: str) -> bool:
        """Whether the pattern matches this path itself."""
        if self.literal is not None:
            return path == self.literal
        return self.regex.fullmatch(path) is not None

    def may_match_below(self, directory: str) -> bool:
        """False only where nothing below ``directory`` can match."""
        fixed = []
        for part in self.text.split("/"):
            if has_wildcards(part) or _ESCAPE in part:
                break
            fixed.append(part)
        prefix = "/".join(fixed)
        if not prefix:
            return True
        return f"{prefix}/".startswith(f"{directory}/") or f"{directory}/".startswith(f"{prefix}/")


@dataclass(frozen=True, slots=True, kw_only=True)
class Patterns:
    """All lines in order. Paths are relative, with ``/``, as ``a/b.txt``."""

    patterns: tuple[Pattern, ...] = ()

    @classmethod
    def of(cls, lines: Iterable[str]) -> Patterns:
        """Raises InvalidInput for a malformed pattern."""
        return cls(patterns=tuple(_pattern(line) for line in lines if line.strip(SPACES)))

    @classmethod
    def read(cls, text: str) -> Patterns:
        """The content of a ``.dockerignore``. Raises InvalidInput."""
        return cls.of(ignore_lines(text))

    def __bool__(self) -> bool:
        return bool(self.patterns)

    @property
    def takes_back(self) -> bool:
        """Whether a pattern with ``!`` is among them."""
        return any(pattern.again for pattern in self.patterns)

    def match(self, path: str, parents: Parents | None = None) -> tuple[bool, Parents]:
        """Whether ``path`` is matched, and what to pass on for the entries below it.

        ``parents`` is what the call for its directory gave; without it the directories above are
        looked at one by one.
        """
        matched = False
        mine: list[bool] = []
        for index, pattern in enumerate(self.patterns):
            hit = parents[index] if parents is not None else False
            if not hit and pattern.again == matched:
                hit = pattern.matches(path)
                if not hit and parents is None:
                    hit = any(pattern.matches(above) for above in _above(path))
            mine.append(hit)
            if hit:
                matched = not pattern.again
        return matched, tuple(mine)

    def hides(self, path: str) -> bool:
        """Whether ``path`` is matched, looked at by itself."""
        return self.match(path)[0]

    def may_take_back(self, directory: str) -> bool:
        """Whether something below a matched directory may not be matched."""
        return any(item.again and item.may_match_below(directory) for item in self.patterns)


NO_PATTERNS: Final = Patterns()


def _above(path: str) -> list[str]:
    parts = path.split("/")
    return ["/".join(parts[:end]) for end in range(1, len(parts))]


def _pattern(line: str) -> Pattern:
    text = posixpath.normpath(line.strip(SPACES))
    again = text.startswith("!")
    if again:
        text = text[1:]
    if not text:
        raise InvalidInput('illegal exclusion pattern: "!"')
    try:
        regex = compile_deep_glob(text)
    except BadGlob as error:
        raise InvalidInput(f"{error}: {line.strip(SPACES)!r}") from None
    literal = None if has_wildcards(text) else unescaped(text)
    return Pattern(text=text, again=again, literal=literal, regex=regex)


def ignore_lines(text: str) -> list[str]:
    """The patterns of a ``.dockerignore``: comments and blanks dropped, paths made relative."""
    lines = []
    for line in text.removeprefix("\ufeff").split("\n"):
        if line.startswith("#"):
            continue
        pattern = line.strip(SPACES)
        if not pattern:
            continue
        again = pattern.startswith("!")
        path = pattern[1:].strip(SPACES) if again else pattern
        if path:
            path = posixpath.normpath(path)
            # normpath keeps two leading slashes, which mean nothing here.
            path = "/" + path.lstrip("/") if path.startswith("//") else path
            if len(path) > 1 and path.startswith("/"):
                path = path[1:]
        lines.append(f"!{path}" if again else path)
    return lines
