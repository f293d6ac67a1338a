"""From a challenge to an Authorization header, kept until it expires.

Source: distribution's ``docs/spec/auth/token.md`` (GET) and ``oauth.md`` (POST).
No credential leaves before the registry has asked for one.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

from workbench.errors import InvalidInput, Unauthorized, Unavailable
from workbench.registry.challenge import Challenge, parse
from workbench.registry.credentials import Credential, Keychain
from workbench.registry.failures import Intent, Refusal, diagnostics, failure
from workbench.registry.hosts import Endpoint, is_loopback, origin
from workbench.registry.http import Response, Transport
from workbench.registry.retry import Retrier, retry_after

_CLIENT: Final = "container-workbench"
_LARGEST_TOKEN: Final = 256 * 1024
_SHORTEST_LIFE: Final = 60
_MARGIN: Final = 5.0

Scopes = frozenset[str]
_Key = tuple[str, Scopes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """A header that works until ``expires`` on the monotonic clock, in seconds."""

    header: str = field(repr=False)
    expires: float = float("inf")
    refresh: str = field(default="", repr=False)


class Authenticator:
    """Keeps challenges by host and grants by host and scope; shared by threads."""

    def __init__(
        self,
        transport: Transport,
        keychain: Keychain,
        retrier: Retrier,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._transport = transport
        self._keychain = keychain
        self._retrier = retrier
        self._clock = clock
        self._challenges: dict[str, Challenge] = {}
        self._grants: dict[_Key, Grant] = {}
        self._locks: dict[_Key, threading.Lock] = {}
        self._lock = threading.Lock()

    def knows(self, endpoint: Endpoint) -> bool:
        """Whether there are credentials to offer."""
        return self._keychain.get(endpoint.registry) is not None

    def header(self, endpoint: Endpoint, scopes: Scopes, intent: Intent) -> str | None:
        """What to send at first: nothing before the registry has asked, then what it wants."""
        with self._lock:
            challenge = self._challenges.get(endpoint.base)
        if challenge is None:
            return None
        return self._granted(endpoint, scopes, challenge, intent, refused=None)

    def renew(
        self, endpoint: Endpoint, scopes: Scopes, intent: Intent, asked: str, refused: str | None
    ) -> str | None:
        """Another header after ``refused`` got 401 with the challenges ``asked``.

        None where there is nothing better to offer. Raises Unauthorized when the token server
        refuses, InvalidInput for challenges that must not be followed.
        """
        challenge = _best(parse(asked))
        if challenge is None:
            return None
        with self._lock:
            self._challenges[endpoint.base] = challenge
        return self._granted(endpoint, scopes, challenge, intent, refused)

    def _granted(
        self,
        endpoint: Endpoint,
        scopes: Scopes,
        challenge: Challenge,
        intent: Intent,
        refused: str | None,
    ) -> str | None:
        key = (endpoint.base, scopes if challenge.scheme == "bearer" else frozenset())
        with self._lock:
            lock = self._locks.setdefault(key, threading.Lock())
        # Threads that need the same token wait for the first one that fetches it.
        with lock:
            kept = self._grants.get(key)
            if kept and kept.expires > self._clock() and kept.header != refused:
                return kept.header
            grant = self._fetch(endpoint, scopes, challenge, intent)
            if grant is None or grant.header == refused:
                self._grants.pop(key, None)
                return None
            self._grants[key] = grant
            return grant.header

    def _fetch(
        self, endpoint: Endpoint, scopes: Scopes, challenge: Challenge, intent: Intent
    ) -> Grant | None:
        credential = self._keychain.get(endpoint.registry)
        if challenge.scheme == "basic":
            usable = credential and credential.username
            return Grant(header=credential.basic) if credential and usable else None
        if credential and credential.bearer:
            return Grant(header=f"Bearer {credential.bearer}")
        return self.token(endpoint, scopes, challenge, intent, credential)

    def token(
        self,
        endpoint: Endpoint,
        scopes: Scopes,
        challenge: Challenge,
        intent: Intent,
        credential: Credential | None,
        *,
        offline: bool = False,
    ) -> Grant:
        """Ask the token server; ``offline`` asks for an identity token too.

        Raises Unauthorized when it refuses, Unavailable when it does not answer sensibly.
        """
        realm = _realm(challenge, endpoint)
        asked = sorted(scopes) or challenge.parameters.get("scope", "").split()
        fields = [("service", challenge.parameters.get("service", ""))]
        if credential and credential.identity:
            fields += [
                ("grant_type", "refresh_token"),
                ("client_id", _CLIENT),
                ("refresh_token", credential.identity),
                ("scope", " ".join(asked)),
            ]
            response = self._send("POST", realm, urlencode(fields).encode(), None)
        else:
            fields += [("scope", scope) for scope in asked]
            fields += [("offline_token", "true"), ("client_id", _CLIENT)] if offline else []
            if credential and credential.username:
                fields.append(("account", credential.username))
            header = credential.basic if credential and credential.username else None
            response = self._send("GET", _with_query(realm, fields), None, header)
        return self._grant(response, intent)

    def _send(self, method: str, url: str, body: bytes | None, header: str | None) -> Response:
        headers = {"Authorization": header} if header else {}
        if body is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        return self._retrier.run(
            lambda: self._transport.send(method, url, headers=headers, body=body), method=method
        )

    def _grant(self, response: Response, intent: Intent) -> Grant:
        if response.status != 200:
            refusal = Refusal(
                method=response.method,
                url=response.url,
                status=response.status,
                diagnostics=diagnostics(response.excerpt()),
                retry_after=retry_after(response),
            )
            raise failure(refusal, intent)
        now = self._clock()
        try:
            tree = json.loads(response.body(_LARGEST_TOKEN))
        except (ValueError, RecursionError):
            tree = None
        token = (tree.get("token") or tree.get("access_token")) if isinstance(tree, dict) else None
        if not isinstance(token, str) or not token.isascii() or not token.isprintable():
            raise Unavailable(f"the token server of {intent.registry} sent no token")
        life = _life(tree.get("expires_in"))
        refresh = tree.get("refresh_token")
        return Grant(
            header=f"Bearer {token}",
            expires=now + life - min(_MARGIN, life / 2),
            refresh=refresh if isinstance(refresh, str) else "",
        )


def _best(challenges: Iterable[Challenge]) -> Challenge | None:
    by_scheme = {item.scheme: item for item in reversed(list(challenges))}
    return by_scheme.get("bearer") or by_scheme.get("basic")


def _life(value: Any) -> float:
    return float(value) if type(value) is int and 0 < value < 10**9 else float(_SHORTEST_LIFE)


def _realm(challenge: Challenge, endpoint: Endpoint) -> str:
    """The token server's URL; plain HTTP only where the registry itself is, or on loopback."""
    realm = challenge.parameters.get("realm", "")
    scheme, host, _ = origin(realm)
    if "@" in urlsplit(realm).netloc:
        raise InvalidInput(f"{endpoint.registry} names a token server with a password in its URL")
    if scheme == "http" and endpoint.base.startswith("https:") and not is_loopback(host):
        raise Unauthorized(f"{endpoint.registry} wants credentials sent in plain HTTP to {host}")
    return realm


def _with_query(url: str, fields: list[tuple[str, str]]) -> str:
    query = urlencode([item for item in fields if item[1]])
    return f"{url}{'&' if urlsplit(url).query else '?'}{query}"
