"""Ways in which the fake registry answers wrongly."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from tests.fakes.registry import Handler


class Drop(Exception):
    """Close the connection now."""


class Fault(Protocol):
    def apply(self, handler: Handler) -> None: ...


@dataclass(frozen=True)
class Cut:
    """Promise the whole answer, send ``after`` bytes of its body, and hang up."""

    after: int

    def apply(self, handler: Handler) -> None:
        handler.wfile = _Cutter(handler.wfile, self.after)
        handler._route(handler.path.partition("?")[0])


class _Cutter:
    def __init__(self, file: object, after: int) -> None:
        self._file = file
        self._left = after
        self._in_body = False

    def write(self, data: bytes) -> None:
        if not self._in_body:
            self._in_body = data.endswith(b"\r\n\r\n")
            self._file.write(data)
            return
        self._file.write(data[: self._left])
        self._file.flush()
        self._left -= len(data)
        if self._left <= 0:
            raise Drop

    def flush(self) -> None:
        self._file.flush()

    @property
    def closed(self) -> bool:
        return self._file.closed

    def close(self) -> None:
        self._file.close()


@dataclass(frozen=True)
class CutUpload:
    """Keep ``after`` bytes of the request's body, and hang up without an answer."""

    after: int

    def apply(self, handler: Handler) -> None:
        data = handler.rfile.read(self.after)
        upload = handler.path.partition("?")[0].rpartition("/")[2]
        if upload in handler.registry.contents.uploads:
            handler.registry.contents.uploads[upload] += data
        raise Drop


@dataclass(frozen=True)
class Answer:
    """Answer just so; the length may be a lie, and is left out where it is None."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    def apply(self, handler: Handler) -> None:
        handler.body()
        handler.answer(self.status, self.headers, self.body)


@dataclass(frozen=True)
class HangUp:
    """Close the connection without a word."""

    def apply(self, handler: Handler) -> None:
        raise Drop


@dataclass(frozen=True)
class Slow:
    """Answer after ``seconds``."""

    seconds: float

    def apply(self, handler: Handler) -> None:
        time.sleep(self.seconds)
        handler._route(handler.path.partition("?")[0])


@dataclass(frozen=True)
class Endless:
    """Send zeros without a length for as long as anybody reads, 64 MiB at most."""

    headers: Mapping[str, str] = field(default_factory=dict)

    def apply(self, handler: Handler) -> None:
        handler.send_response(200)
        for name, value in self.headers.items():
            handler.send_header(name, value)
        handler.send_header("Connection", "close")
        handler.end_headers()
        for _ in range(64):
            handler.wfile.write(bytes(1024 * 1024))
        raise Drop


def redirect(url: str, status: int = 307) -> Answer:
    """Send the client elsewhere."""
    return Answer(status, {"Location": url})


def refusal(status: int, code: str, **headers: str) -> Answer:
    """A registry's error; underscores of header names become hyphens."""
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    body = b'{"errors":[{"code":"%s","message":"no"}]}' % code.encode()
    return Answer(status, names, body)
