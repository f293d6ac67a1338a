"""One request, one answer: the only door to the HTTP library.

Nothing is followed, repeated or authorised here; ``session.py`` does that. The classes of the
errors say what may be done next::

    Unavailable
    ├── Untrusted          the certificate is not one we trust
    └── Broken             the connection broke, the request may have been performed
        └── Unreachable    the request was never sent
            └── NotTLS     ... because the peer does not speak TLS
"""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterable, Mapping
from typing import Final
from urllib.parse import urlsplit

import urllib3
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    InsecureRequestWarning,
    NewConnectionError,
    ProxyError,
    ReadTimeoutError,
    SSLError,
)
from urllib3.util import make_headers

from workbench.errors import LimitExceeded, Unavailable
from workbench.registry.hosts import origin, redact
from workbench.registry.proxies import proxy_for
from workbench.registry.settings import Settings
from workbench.registry.tls import context

ERROR_BODY: Final = 64 * 1024
_DRAIN: Final = 64 * 1024
_AGENT: Final = "container-workbench"

Body = bytes | Iterable[bytes]


class Untrusted(Unavailable):
    """The peer could not prove who it is."""


class Broken(Unavailable):
    """The connection failed or broke off; whether the request was performed is unknown."""


class Unreachable(Broken):
    """No connection came about, so nothing was sent."""


class NotTLS(Unreachable):
    """The peer answered, but not in TLS."""


class Response:
    """An answer whose body is read as it comes. Close it, or read it to the end."""

    def __init__(self, raw: urllib3.BaseHTTPResponse, method: str, url: str) -> None:
        self._raw = raw
        self.method = method
        self.url = url
        self.status = raw.status
        self.headers: Mapping[str, str] = raw.headers

    def __repr__(self) -> str:
        return f"<Response {self.status} to {self.method} {redact(self.url)}>"

    @property
    def length(self) -> int | None:
        """The bytes of the body as announced; None where nothing is."""
        text = self.headers.get("Content-Length", "")
        return int(text) if text.isascii() and text.isdigit() else None

    def read(self, size: int = -1, /) -> bytes:
        """Up to ``size`` bytes, none at the end. Raises Broken when the connection ends early."""
        try:
            return self._raw.read(None if size < 0 else size)
        except (HTTPError, OSError, ValueError) as error:
            raise _failed(self.url, error) from error

    def body(self, limit: int) -> bytes:
        """The whole body. Raises LimitExceeded when it has more than ``limit`` bytes."""
        announced = self.length
        try:
            if announced is not None and announced > limit:
                raise LimitExceeded(_too_long(self.url, limit))
            data = self._collect(limit + 1)
        finally:
            self.close()
        if len(data) > limit:
            raise LimitExceeded(_too_long(self.url, limit))
        return data

    def excerpt(self) -> bytes:
        """As much of an error's body as anybody wants to know; never fails."""
        try:
            return self._collect(ERROR_BODY)
        except Broken:
            return b""
        finally:
            self.close()

    def _collect(self, limit: int) -> bytes:
        parts: list[bytes] = []
        left = limit
        while left > 0 and (data := self.read(left)):
            parts.append(data)
            left -= len(data)
        return b"".join(parts)

    def close(self) -> None:
        """Give the connection back where little is left to read, else drop it."""
        left = self.length
        if left is not None and left <= _DRAIN:
            try:
                self._raw.drain_conn()
            except (HTTPError, OSError, ValueError):
                self._raw.close()
        else:
            self._raw.close()
        self._raw.release_conn()

    def abort(self) -> None:
        """Wake a thread that waits in ``read``; it gets Broken. May be called by any thread."""
        try:
            self._raw.shutdown()
        except (OSError, ValueError, RuntimeError):
            return


class Transport:
    """Connections, kept and shared by threads: one pool for each origin."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._pools: dict[tuple[str, str, int], urllib3.PoolManager] = {}
        self._lock = threading.Lock()

    def send(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: Body | None = None,
    ) -> Response:
        """Make one request. An iterable body needs a Content-Length among the headers.

        Raises Untrusted, Broken and its kin, InvalidInput for a bad URL.
        """
        pool = self._pool(url)
        try:
            raw = pool.urlopen(
                method,
                url,
                headers={"User-Agent": _AGENT, **(headers or {})},
                body=body,
                redirect=False,
                retries=False,
                preload_content=False,
                decode_content=False,
            )
        except (HTTPError, OSError) as error:
            raise _failed(url, error) from error
        return Response(raw, method, url)

    def close(self) -> None:
        """Close the connections that nobody uses."""
        with self._lock:
            pools, self._pools = list(self._pools.values()), {}
        for pool in pools:
            pool.clear()

    def _pool(self, url: str) -> urllib3.PoolManager:
        key = origin(url)
        with self._lock:
            if key not in self._pools:
                self._pools[key] = self._open(url, key)
            return self._pools[key]

    def _open(self, url: str, key: tuple[str, str, int]) -> urllib3.PoolManager:
        settings = self.settings
        trust = context(key[1], key[2], settings) if key[0] == "https" else None
        if trust is not None and trust.verify_mode == ssl.CERT_NONE:
            # It was configured so; a warning at every request would tell nothing new.
            urllib3.disable_warnings(InsecureRequestWarning)
        timeout = urllib3.Timeout(connect=settings.connect_timeout, read=settings.read_timeout)
        proxy = proxy_for(url, settings.environment)
        if proxy is None:
            return urllib3.PoolManager(1, ssl_context=trust, timeout=timeout, maxsize=8)
        user = urlsplit(proxy)
        secret = f"{user.username}:{user.password or ''}" if user.username else None
        return urllib3.ProxyManager(
            proxy,
            1,
            proxy_headers=make_headers(proxy_basic_auth=secret),
            ssl_context=trust,
            timeout=timeout,
            maxsize=8,
        )


def _failed(url: str, error: Exception) -> Unavailable:
    """The error of ours for one of the HTTP library's."""
    place = urlsplit(redact(url)).netloc
    cause = error
    if isinstance(error, (SSLError, ProxyError)) and error.args:
        inner = error.args[-1]
        cause = inner if isinstance(inner, Exception) else error
    if isinstance(cause, ssl.SSLCertVerificationError):
        return Untrusted(
            f"{place} shows a certificate that is not trusted: {cause.verify_message}",
            hint=f"put the certificate of its authority into /etc/docker/certs.d/{place}/ca.crt",
        )
    if isinstance(error, SSLError):
        return NotTLS(f"{place} does not answer in TLS")
    if isinstance(error, ProxyError):
        return Unreachable(f"cannot reach {place} through the proxy: {_reason(cause)}")
    if isinstance(error, NewConnectionError):
        return Unreachable(f"cannot reach {place}: {_reason(error)}")
    if isinstance(error, ConnectTimeoutError):
        return Unreachable(f"cannot reach {place}: no connection in time")
    if isinstance(error, ReadTimeoutError):
        return Broken(f"{place} stopped answering")
    return Broken(f"the connection to {place} broke: {_reason(error)}")


def _reason(error: BaseException) -> str:
    """The words of the innermost system error, which never hold a URL."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError) and seen.strerror:
            return seen.strerror
        seen = seen.__cause__ or seen.__context__
    return type(error).__name__


def _too_long(url: str, limit: int) -> str:
    return f"the answer of {redact(url)} has more than the {limit} bytes allowed"
