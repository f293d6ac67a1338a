"""Uploads: whole in one request where they are small, else in chunks that resume.

Source: distribution-spec 1.1, "Pushing blobs": POST opens an upload, PATCH adds a chunk, PUT
closes it with the digest, GET says how far it has come.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import BinaryIO, Final
from urllib.parse import urlencode, urlsplit

from workbench.errors import Corrupt, Unavailable
from workbench.oci.descriptor import Descriptor
from workbench.registry.calls import Calls
from workbench.registry.hosts import follow
from workbench.registry.http import Broken, Response
from workbench.registry.session import Call

_READ: Final = 1024 * 1024
_OCTETS: Final = "application/octet-stream"
_RANGE: Final = re.compile(r"(?:bytes=)?0-(\d+)")

Sent = Callable[[int], None]


class Upload:
    """One blob on its way. ``call`` is the pattern of every request: intent and scopes.

    ``sent`` is told the bytes that left so far; it may fall back when a part is sent again.
    """

    def __init__(self, calls: Calls, call: Call, descriptor: Descriptor, sent: Sent) -> None:
        self._calls = calls
        self._settings = calls.session.settings
        self._call = call
        self._descriptor = descriptor
        self._sent = sent

    def run(self, opened: Response, stream: BinaryIO) -> None:
        """Send the whole stream into the upload that ``opened`` began.

        A stream that can seek is sent again from where the registry lost it, else Broken is
        raised. Raises Corrupt when the stream is not as long as the descriptor says.
        """
        location = self._next(opened)
        least = opened.headers.get("OCI-Chunk-Min-Length", "")
        chunk = max(self._settings.chunk, int(least) if least.isdigit() else 0)
        if self._descriptor.size > chunk:
            location = self._chunks(location, stream, chunk)
            self._close(location, 0, b"")
        else:
            body = _pieces(stream, self._descriptor, 0, self._descriptor.size, self._sent)
            self._close(location, self._descriptor.size, body)

    def _chunks(self, location: str, stream: BinaryIO, chunk: int) -> str:
        offset, broken = 0, 0
        while offset < self._descriptor.size:
            length = min(chunk, self._descriptor.size - offset)
            try:
                response = self._patch(location, stream, offset, length)
                offset, broken = offset + length, 0
            except Broken:
                broken += 1
                if broken >= self._settings.tries or not stream.seekable():
                    raise
                self._calls.session.retrier.pause(broken - 1)
                response, offset = self._progress(location)
                stream.seek(offset)
            location = self._next(response)
        return location

    def _patch(self, location: str, stream: BinaryIO, offset: int, length: int) -> Response:
        headers = {
            "Content-Type": _OCTETS,
            "Content-Length": str(length),
            "Content-Range": f"{offset}-{offset + length - 1}",
        }
        body = _pieces(stream, self._descriptor, offset, length, self._sent)
        call = replace(
            self._call, method="PATCH", path=location, headers=headers, body=body, expect={202}
        )
        return self._calls.ask(call)

    def _progress(self, location: str) -> tuple[Response, int]:
        """Where the upload goes on, and at which byte."""
        call = replace(self._call, method="GET", path=location, expect={204})
        response = self._calls.ask(call)
        match = _RANGE.fullmatch(response.headers.get("Range", "").strip())
        # "0-0" means nothing to some registries and one byte to others.
        last = int(match[1]) if match else 0
        offset = last + 1 if last else 0
        if offset > self._descriptor.size:
            raise Unavailable(f"the upload of {self._descriptor.digest} has grown too long")
        return response, offset

    def _close(self, location: str, length: int, body: bytes | Iterator[bytes]) -> None:
        separator = "&" if urlsplit(location).query else "?"
        call = replace(
            self._call,
            method="PUT",
            path=location + separator + urlencode({"digest": self._descriptor.digest}),
            headers={"Content-Type": _OCTETS, "Content-Length": str(length)},
            body=body,
            expect={201},
        )
        self._calls.ask(call)

    def _next(self, response: Response) -> str:
        return follow(response.url, response.headers.get("Location", ""))


def _pieces(
    stream: BinaryIO, descriptor: Descriptor, offset: int, length: int, sent: Sent
) -> Iterator[bytes]:
    end = offset + length
    while offset < end:
        try:
            data = stream.read(min(_READ, end - offset))
        except OSError as error:
            raise Unavailable(f"cannot read {descriptor.digest}: {error.strerror}") from error
        if not data:
            raise Corrupt(f"{descriptor.digest} ended after {offset} of {descriptor.size} bytes")
        yield data
        offset += len(data)
        sent(offset)
    if end == descriptor.size and stream.read(1):
        raise Corrupt(f"{descriptor.digest} is longer than its {descriptor.size} bytes")
