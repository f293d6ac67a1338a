"""Quotes, escapes and variables in the words of a Dockerfile.

``Lexer.expand`` gives one text, ``Lexer.split`` the words that it falls into *after* expansion.
Source: Dockerfile reference, "Environment replacement"; POSIX shell, "Parameter Expansion".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from workbench.build.glob_shell import BadPattern, replaced, without_prefix, without_suffix
from workbench.build.spaces import SPACE_SET

_DEEPEST: Final = 100
_SPECIAL: Final = frozenset("@*#?-$!0")


class WordError(ValueError):
    """A word cannot be understood; the message is Docker's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expansion:
    """What a text became, and the names that it asked for: those known, and those not."""

    text: str
    words: tuple[str, ...] = ()
    matched: frozenset[str] = frozenset()
    unmatched: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Lexer:
    """How words are read.

    ``escape`` is the Dockerfile's escape character. ``raw_quotes`` and ``raw_escapes`` keep them in
    the result; ``skip_quotes`` gives quotes no meaning; ``keep_unset`` leaves an unknown ``$name``
    as it stands.
    """

    escape: str = "\\"
    raw_quotes: bool = False
    raw_escapes: bool = False
    skip_quotes: bool = False
    keep_unset: bool = False

    def expand(self, text: str, env: Mapping[str, str]) -> Expansion:
        """Raises WordError, with the text in its message."""
        reader = _Reader(self, text, env)
        try:
            result, words = reader.until("", self.raw_escapes)
        except WordError as error:
            raise WordError(f'failed to process "{text}": {error}') from None
        return Expansion(
            text=result,
            words=words,
            matched=frozenset(reader.matched),
            unmatched=frozenset(reader.unmatched),
        )

    def word(self, text: str, env: Mapping[str, str]) -> str:
        """The text alone. Raises WordError."""
        return self.expand(text, env).text

    def split(self, text: str, env: Mapping[str, str]) -> tuple[str, ...]:
        """The words alone. Raises WordError."""
        return self.expand(text, env).words


class _Words:
    """Collects words: spaces divide them unless they were quoted or escaped."""

    def __init__(self) -> None:
        self._done: list[str] = []
        self._open: list[str] = []

    def plain(self, text: str) -> None:
        for char in text:
            if char in SPACE_SET:
                self.finish()
            else:
                self._open.append(char)

    def quoted(self, text: str) -> None:
        if text:
            self._open.append(text)

    def finish(self) -> tuple[str, ...]:
        if self._open:
            self._done.append("".join(self._open))
            self._open.clear()
        return tuple(self._done)


class _Reader:
    """One pass over one text."""

    def __init__(self, lexer: Lexer, text: str, env: Mapping[str, str]) -> None:
        self.lexer = lexer
        self.text = text
        self.env = env
        self.at = 0
        self.depth = 0
        self.raw_escapes = lexer.raw_escapes
        self.matched: set[str] = set()
        self.unmatched: set[str] = set()

    def peek(self) -> str:
        return self.text[self.at] if self.at < len(self.text) else ""

    def next(self) -> str:
        char = self.peek()
        self.at += 1
        return char

    def until(self, stop: str, raw_escapes: bool) -> tuple[str, tuple[str, ...]]:
        """Read up to ``stop`` ("" is the end of the text)."""
        before, self.raw_escapes = self.raw_escapes, raw_escapes
        self.depth += 1
        if self.depth > _DEEPEST:
            raise WordError(f"more than {_DEEPEST} nested substitutions")
        try:
            return self._until(stop)
        finally:
            self.raw_escapes = before
            self.depth -= 1

    def _until(self, stop: str) -> tuple[str, tuple[str, ...]]:
        result: list[str] = []
        words = _Words()
        while char := self.peek():
            if char == stop:
                self.at += 1
                return "".join(result), words.finish()
            if char == "$":
                piece = self._dollar()
                words.plain(piece)
            elif char == "<":
                piece = self._heredoc_mark()
                words.quoted(piece)
            elif char in "'\"" and not self.lexer.skip_quotes:
                piece = self._single() if char == "'" else self._double()
                words.quoted(piece)
            elif char == self.lexer.escape:
                piece = self._escaped()
                words.quoted(piece)
            else:
                piece = self.next()
                words.plain(piece)
            result.append(piece)
        if stop:
            raise WordError(f"unexpected end of statement while looking for matching {stop}")
        return "".join(result), words.finish()

    def _escaped(self) -> str:
        mark = self.next() if self.raw_escapes else self.next()[:0]
        return mark + self.next()

    def _single(self) -> str:
        end = self.text.find("'", self.at + 1)
        if end < 0:
            raise WordError("unexpected end of statement while looking for matching single-quote")
        inner = self.text[self.at + 1 : end]
        self.at = end + 1
        return f"'{inner}'" if self.lexer.raw_quotes else inner

    def _double(self) -> str:
        quote = '"' if self.lexer.raw_quotes else ""
        self.at += 1
        result = [quote]
        while char := self.peek():
            if char == '"':
                self.at += 1
                return "".join([*result, quote])
            if char == "$":
                result.append(self._dollar())
            elif char == self.lexer.escape:
                result.append(self._escaped_in_quotes())
            else:
                result.append(self.next())
        raise WordError("unexpected end of statement while looking for matching double-quote")

    def _escaped_in_quotes(self) -> str:
        mark = self.next()
        after = self.peek()
        if not after:
            return mark if self.raw_escapes else ""
        if after in ('"', "$", self.lexer.escape):
            return (mark if self.raw_escapes else "") + self.next()
        return mark * 2 if self.raw_escapes else mark

    def _heredoc_mark(self) -> str:
        # The name of a heredoc belongs to its mark, also where blanks stand between.
        start = self.at
        self.at += 1
        if self.peek() != "<":
            return "<"
        self.at += 1
        while self.peek() and self.peek() in "\t\r ":
            self.at += 1
        return self.text[start : self.at]

    def _lookup(self, name: str) -> str | None:
        value = self.env.get(name)
        (self.unmatched if value is None else self.matched).add(name)
        return value

    def _dollar(self) -> str:
        self.at += 1
        if self.peek() != "{":
            return self._bare_name()
        self.at += 1
        if not self.peek():
            raise WordError("syntax error: missing '}'")
        if self.peek() in "{}:":
            raise WordError("syntax error: bad substitution")
        name = self._name()
        mark = self.next()
        if not mark:
            raise WordError("syntax error: missing '}'")
        if mark == "}":
            value = self._lookup(name)
            if value is None:
                return f"${{{name}}}" if self.lexer.keep_unset else ""
            return value
        if mark == "/":
            return self._replace(name)
        return self._modified(name, mark)

    def _bare_name(self) -> str:
        name = self._name()
        if not name:
            return "$"
        value = self._lookup(name)
        if value is None:
            return "$" + name if self.lexer.keep_unset else ""
        return value

    def _name(self) -> str:
        start = self.at
        first = self.peek()
        if first.isdigit():
            while self.peek().isdigit():
                self.at += 1
        elif first and first in _SPECIAL:
            self.at += 1
        else:
            while (char := self.peek()) and (char.isalpha() or char.isdigit() or char == "_"):
                self.at += 1
        return self.text[start : self.at]

    def _modified(self, name: str, mark: str) -> str:
        colon = mark == ":"
        kind = self.next() if colon else mark
        if kind not in ("-", "+", "?", "#", "%") or (colon and kind in "#%"):
            shown = f":{kind}" if colon else kind
            raise WordError(f"unsupported modifier ({shown}) in substitution")
        word = self._closing("}", kind in "#%")
        value = self._lookup(name)
        if value is None and self.lexer.keep_unset:
            return f"${{{name}{':' if colon else ''}{kind}{word}}}"
        if kind in "#%":
            return self._trimmed(kind, word, value or "")
        missing = value is None or (colon and not value)
        if kind == "+":
            return "" if missing else word
        if missing and kind == "?":
            state = "unset" if value is None else "empty"
            raise WordError(f"{name}: {word or f'is not allowed to be {state}'}")
        return word if value is None or missing else value

    def _closing(self, stop: str, raw: bool) -> str:
        try:
            return self.until(stop, raw)[0]
        except WordError:
            if self.at < len(self.text):
                raise
            where = "'/' in ${}" if stop == "/" else "'}'"
            raise WordError(f"syntax error: missing {where}") from None

    def _trimmed(self, kind: str, word: str, value: str) -> str:
        longest = word.startswith(kind)
        pattern = word[1:] if longest else word
        trim = without_suffix if kind == "%" else without_prefix
        try:
            return trim(pattern, value, longest=longest)
        except BadPattern as error:
            raise WordError(f"invalid pattern ({pattern}) in substitution: {error}") from None

    def _replace(self, name: str) -> str:
        every = self.peek() == "/"
        self.at += every
        pattern = self._closing("/", True)
        replacement = self._closing("}", True)
        value = self._lookup(name)
        if value is None and self.lexer.keep_unset:
            return f"${{{name}/{pattern}/{replacement}}}"
        try:
            return replaced(pattern, replacement, value or "", every=every)
        except BadPattern as error:
            raise WordError(f"invalid pattern ({pattern}) in substitution: {error}") from None
