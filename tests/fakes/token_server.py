"""A token server: checks passwords, signs tokens (RS256) that a real registry accepts.

``with TokenServer(...) as server``; a registry is told ``server.realm``, ``SERVICE``, ``ISSUER``
and ``server.certificate``. Source: distribution's ``docs/spec/auth/{token,jwt,oauth}.md``.
"""

from __future__ import annotations

import base64
import json
import secrets
import subprocess
import threading
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

SERVICE = "test-registry"
ISSUER = "test-issuer"


@dataclass(frozen=True)
class TokenRequest:
    """One request for a token as it came; ``user`` is "" for nobody."""

    method: str
    user: str
    scopes: tuple[str, ...]
    fields: Mapping[str, str]


class TokenServer(AbstractContextManager["TokenServer"]):
    """Users may do everything, nobody may pull below ``public/``; ``life`` is seconds."""

    def __init__(self, folder: Path, users: Mapping[str, str], *, life: int = 300) -> None:
        self.users = users
        self.life = life
        self.requests: list[TokenRequest] = []
        self.refresh: dict[str, str] = {}
        self.fail_next: list[int] = []
        self.certificate = folder / "token.crt"
        self._key = folder / "token.key"
        self._granted: dict[str, set[tuple[str, str]]] = {}
        _make_certificate(self.certificate, self._key)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    def __enter__(self) -> TokenServer:
        self._thread.start()
        return self

    def __exit__(self, *_reason: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def realm(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/token"

    def issue(self, user: str, scopes: list[str]) -> str:
        """A signed token for what the user may do of what is asked."""
        access, granted = [], set()
        for scope in scopes:
            kind, name, actions = scope.split(":", 2)
            allowed = [item for item in actions.split(",") if _may(user, name, item)]
            granted |= {(name, item) for item in allowed}
            access.append({"type": kind, "name": name, "actions": allowed})
        now = int(time.time())
        claims = {
            "iss": ISSUER, "sub": user, "aud": SERVICE, "exp": now + self.life,
            "nbf": now - 10, "iat": now, "jti": secrets.token_hex(8), "access": access,
        }  # fmt: skip
        token = self._sign(claims)
        self._granted[token] = granted
        return token

    def forget(self) -> None:
        """Let every token so far be worthless to the fake registry."""
        self._granted.clear()

    def challenge(self, authorization: str | None, name: str, action: str) -> str | None:
        """The guard of a fake registry that trusts this server."""
        scheme, _, token = (authorization or "").partition(" ")
        granted = self._granted.get(token) if scheme == "Bearer" else None
        if granted is not None and (not name or (name, action) in granted):
            return None
        actions = "pull,push" if action == "push" else action
        scope = f',scope="repository:{name}:{actions}"' if name else ""
        error = ',error="insufficient_scope"' if granted is not None else ""
        return f'Bearer realm="{self.realm}",service="{SERVICE}"{scope}{error}'

    def _sign(self, claims: Mapping[str, Any]) -> str:
        der = base64.b64encode(_der(self.certificate)).decode()
        header = {"typ": "JWT", "alg": "RS256", "x5c": [der]}
        parts = [_encoded(json.dumps(item).encode()) for item in (header, claims)]
        signing = b".".join(parts)
        signature = subprocess.run(
            ["openssl", "dgst", "-sha256", "-sign", self._key],
            input=signing, capture_output=True, check=True,
        ).stdout  # fmt: skip
        return (signing + b"." + _encoded(signature)).decode()


def _may(user: str, name: str, action: str) -> bool:
    if name.startswith("forbidden/"):
        return False
    return bool(user) or (name.startswith("public/") and action == "pull")


def _encoded(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def _der(certificate: Path) -> bytes:
    lines = certificate.read_text().splitlines()
    return base64.b64decode("".join(line for line in lines if not line.startswith("-----")))


def _make_certificate(certificate: Path, key: Path) -> None:
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
         "-subj", "/CN=token-server", "-keyout", key, "-out", certificate],
        check=True, capture_output=True,
    )  # fmt: skip


def _handler(server: TokenServer) -> type[_TokenHandler]:
    return type("BoundHandler", (_TokenHandler,), {"server_": server})


class _TokenHandler(BaseHTTPRequestHandler):
    server_: TokenServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_arguments: object) -> None:
        pass

    def do_GET(self) -> None:
        fields = parse_qs(urlsplit(self.path).query)
        scheme, _, pair = self.headers.get("Authorization", "").partition(" ")
        user, _, password = base64.b64decode(pair).decode().partition(":")
        if scheme and self.server_.users.get(user) != password:
            self._answer(401, {"errors": [{"code": "UNAUTHORIZED", "message": "bad password"}]})
            return
        self._grant(user, fields.get("scope", []), fields)

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers["Content-Length"])).decode()
        fields = parse_qs(raw)
        user = self.server_.refresh.get(fields.get("refresh_token", [""])[0])
        if fields.get("grant_type") != ["refresh_token"] or user is None:
            self._answer(401, {"errors": [{"code": "UNAUTHORIZED", "message": "bad token"}]})
            return
        self._grant(user, fields.get("scope", [""])[0].split(), fields)

    def _grant(self, user: str, scopes: list[str], fields: Mapping[str, list[str]]) -> None:
        flat = {name: values[0] for name, values in fields.items()}
        self.server_.requests.append(TokenRequest(self.command, user, tuple(scopes), flat))
        if self.server_.fail_next:
            self._answer(self.server_.fail_next.pop(0), {})
            return
        answer: dict[str, Any] = {
            "token": self.server_.issue(user, scopes),
            "expires_in": self.server_.life,
        }
        if flat.get("offline_token") == "true" and user:
            answer["refresh_token"] = secrets.token_urlsafe(16)
            self.server_.refresh[answer["refresh_token"]] = user
        self._answer(200, answer)

    def _answer(self, status: int, tree: Mapping[str, Any]) -> None:
        body = json.dumps(tree).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
