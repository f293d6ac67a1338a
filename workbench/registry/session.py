"""One call to a registry: authorised, redirected and repeated as far as that is right."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from typing import Final

from workbench.errors import Denied, Unauthorized, Unavailable
from workbench.registry.auth import Authenticator, Scopes
from workbench.registry.challenge import parse
from workbench.registry.credentials import Anonymous, Keychain
from workbench.registry.failures import Intent, Refusal, diagnostics, failure
from workbench.registry.hosts import (
    HUB,
    Endpoint,
    api_host,
    follow,
    mirror,
    origin,
    redact,
    schemes,
)
from workbench.registry.http import Body, Broken, Response, Transport
from workbench.registry.retry import Retrier, Sleep, retry_after
from workbench.registry.settings import Settings

_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_MOST_REDIRECTS: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """What to ask. ``path`` may be a URL that the registry gave; ``expect`` are its good answers.

    ``scopes`` are what the token must allow, as in ``repository:library/debian:pull``.
    """

    method: str
    path: str
    intent: Intent
    scopes: Scopes = frozenset()
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Body | None = None
    expect: Set[int] = frozenset({200})

    @property
    def replayable(self) -> bool:
        """Whether the body can be sent again."""
        return self.body is None or isinstance(self.body, bytes)


class Session:
    """What an engine keeps open: connections, tokens, and which registries speak plain HTTP."""

    def __init__(
        self,
        settings: Settings | None = None,
        keychain: Keychain | None = None,
        *,
        transport: Transport | None = None,
        sleep: Sleep = time.sleep,
    ) -> None:
        self.settings = settings or Settings()
        self.transport = transport or Transport(self.settings)
        self.retrier = Retrier(self.settings, sleep)
        self.authenticator = Authenticator(
            self.transport, keychain or Anonymous(), self.retrier, time.monotonic
        )
        self._endpoints: dict[str, Endpoint] = {}
        self._lock = threading.Lock()
        self._sleep = sleep

    def with_keychain(self, keychain: Keychain) -> Session:
        """A session for other credentials over the same connections."""
        return Session(self.settings, keychain, transport=self.transport, sleep=self._sleep)

    def close(self) -> None:
        """Close idle connections; the session stays usable."""
        self.transport.close()

    def endpoints(self, registry: str) -> tuple[Endpoint, ...]:
        """Where to pull from, in order: Docker Hub's mirrors, then the registry itself."""
        mirrors = self.settings.mirrors if registry == HUB else ()
        return (*(mirror(url) for url in mirrors), self.endpoint(registry))

    def endpoint(self, registry: str) -> Endpoint:
        """The registry's own address. Finds out once whether an insecure one speaks TLS."""
        with self._lock:
            known = self._endpoints.get(registry)
        if known is None:
            known = self._find(registry)
            with self._lock:
                self._endpoints[registry] = known
        return known

    def _find(self, registry: str) -> Endpoint:
        host = api_host(registry)
        candidates = [
            Endpoint(base=f"{scheme}://{host}", registry=registry)
            for scheme in schemes(host, self.settings.insecure)
        ]
        for candidate in candidates[:-1]:
            try:
                self.transport.send("GET", candidate.url("/v2/")).close()
            except Broken:
                continue
            return candidate
        return candidates[-1]

    def perform(self, endpoint: Endpoint, call: Call, *, tries: int | None = None) -> Response:
        """The answer, whose status is one of those expected.

        Raises the error of ``failures.failure`` for any other; Broken where the connection failed
        and the call could not be repeated; Untrusted for a bad certificate.
        """
        response = self.retrier.run(
            lambda: self._authorised(endpoint, call),
            method=call.method,
            replayable=call.replayable,
            tries=tries,
        )
        if response.status in call.expect:
            return response
        raise refused(response, call.intent)

    def _authorised(self, endpoint: Endpoint, call: Call) -> Response:
        url = endpoint.url(call.path)
        at_home = origin(url) == origin(endpoint.base)
        header = None
        if at_home:
            header = self.authenticator.header(endpoint, call.scopes, call.intent)
        response = self._follow(call, url, header)
        if response.status != 401 or not at_home or origin(response.url) != origin(url):
            return response
        asked = response.headers.get("WWW-Authenticate", "")
        body = response.excerpt()
        renewed = self.authenticator.renew(endpoint, call.scopes, call.intent, asked, header)
        if renewed is None:
            raise self._unauthorised(endpoint, call, response, body)
        if not call.replayable:
            raise Broken(f"{endpoint.registry} asked for a new login in the middle of an upload")
        response = self._follow(call, url, renewed)
        if response.status == 401 and origin(response.url) == origin(url):
            raise self._unauthorised(endpoint, call, response, response.excerpt())
        return response

    def _unauthorised(
        self, endpoint: Endpoint, call: Call, response: Response, body: bytes
    ) -> Exception:
        """The error for a last 401: Denied where we are known, but may not do this."""
        error = failure(_refusal(response, body), call.intent)
        asked = parse(response.headers.get("WWW-Authenticate", ""))
        short = any(item.parameters.get("error") == "insufficient_scope" for item in asked)
        if isinstance(error, Unauthorized) and short and self.authenticator.knows(endpoint):
            return Denied(error.message)
        return error

    def _follow(self, call: Call, url: str, header: str | None) -> Response:
        """Send, and go where redirects of a GET or HEAD lead; the header stays at its host."""
        home = origin(url)
        for _ in range(_MOST_REDIRECTS + 1):
            headers = dict(call.headers)
            if origin(url) != home:
                # For good: whoever sends us back home must not choose what we ask there.
                header = None
            if header:
                headers["Authorization"] = header
            response = self.transport.send(call.method, url, headers=headers, body=call.body)
            if response.status not in _REDIRECTS or call.method not in ("GET", "HEAD"):
                return response
            response.close()
            url = follow(url, response.headers.get("Location", ""))
        raise Unavailable(f"{redact(url)} leads round in circles")


def refused(response: Response, intent: Intent) -> Exception:
    """The error for an answer that nobody expected; reads its body."""
    return failure(_refusal(response, response.excerpt()), intent)


def _refusal(response: Response, body: bytes) -> Refusal:
    return Refusal(
        method=response.method,
        url=response.url,
        status=response.status,
        diagnostics=diagnostics(body),
        retry_after=retry_after(response),
    )
