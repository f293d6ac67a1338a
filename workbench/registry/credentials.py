"""Who we are at a registry, as ``docker login`` keeps it.

Source: Docker's documentation of ``docker login``, "Credential stores": ``auths``, ``credsStore``
and ``credHelpers`` of ``config.json``, and the protocol of ``docker-credential-*`` programs.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

from workbench.errors import InvalidInput, Unavailable
from workbench.registry.config_file import ConfigFile
from workbench.registry.hosts import HUB

HUB_KEY: Final = "https://index.docker.io/v1/"
_IDENTITY: Final = "<token>"
_PROGRAM: Final = re.compile(r"[A-Za-z0-9_.-]+")
_TIMEOUT: Final = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """A password, or a token in its place.

    ``identity`` is a refresh token for the registry's token server, ``bearer`` a token for the
    registry itself. No secret shows in ``repr``.
    """

    username: str = ""
    password: str = field(default="", repr=False)
    identity: str = field(default="", repr=False)
    bearer: str = field(default="", repr=False)

    @property
    def basic(self) -> str:
        """The value of an Authorization header for basic authentication."""
        pair = f"{self.username}:{self.password}".encode()
        return "Basic " + base64.b64encode(pair).decode("ascii")


class Keychain(Protocol):
    """Whatever knows credentials."""

    def get(self, registry: str) -> Credential | None:
        """The credential for a registry such as ``docker.io``; None to stay anonymous."""


class Anonymous:
    """The keychain of nobody."""

    def get(self, _registry: str) -> Credential | None:
        return None


class Given:
    """Credentials that came with a request; registries that it does not name are anonymous."""

    def __init__(self, credentials: Mapping[str, Credential]) -> None:
        self._credentials = {normal(name): item for name, item in credentials.items()}

    def get(self, registry: str) -> Credential | None:
        return self._credentials.get(normal(registry))


class DockerKeychain:
    """The user's ``config.json`` and the helpers that it names; read anew each time."""

    def __init__(self, file: Path, environment: Mapping[str, str]) -> None:
        self._file = ConfigFile(file)
        self._environment = environment

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> DockerKeychain:
        """The keychain of ``$DOCKER_CONFIG``, else ``~/.docker``."""
        home = environment.get("HOME") or str(Path.home())
        folder = environment.get("DOCKER_CONFIG") or f"{home}/.docker"
        return cls(Path(folder) / "config.json", environment)

    def get(self, registry: str) -> Credential | None:
        """Raises InvalidInput for a broken file, Unavailable when a helper fails."""
        tree = self._file.read()
        helper = _helper(tree, registry)
        if helper:
            found = self._ask(helper, registry)
            if found is not None:
                return found
        for name, entry in _table(tree, "auths").items():
            if normal(name) == normal(registry) and isinstance(entry, dict):
                return _credential(entry)
        return None

    def put(self, registry: str, credential: Credential) -> None:
        """Keep a credential, in the helper where one is configured. Raises as ``get``."""
        key = key_of(registry)
        helper = _helper(self._file.read(), registry)
        entry: dict[str, Any] = {} if helper else _entry(credential)
        if helper:
            secret = credential.identity or credential.password
            user = _IDENTITY if credential.identity else credential.username
            message = {"ServerURL": key, "Username": user, "Secret": secret}
            self._call(helper, "store", json.dumps(message))
        with self._file.change() as tree:
            tree.setdefault("auths", {})[key] = entry

    def remove(self, registry: str) -> bool:
        """Forget a credential; whether there was one. Raises as ``get``."""
        helper = _helper(self._file.read(), registry)
        known = False
        if helper and self._ask(helper, registry) is not None:
            self._call(helper, "erase", key_of(registry))
            known = True
        with self._file.change() as tree:
            auths = _table(tree, "auths")
            for name in [item for item in auths if normal(item) == normal(registry)]:
                known = bool(auths.pop(name)) or known
        return known

    def _ask(self, helper: str, registry: str) -> Credential | None:
        answer = self._call(helper, "get", key_of(registry))
        if answer is None:
            return None
        try:
            tree = json.loads(answer)
            user, secret = str(tree["Username"]), str(tree["Secret"])
        except (ValueError, KeyError, TypeError):
            raise Unavailable(f"docker-credential-{helper} answered in no known form") from None
        if user == _IDENTITY:
            return Credential(identity=secret)
        return Credential(username=user, password=secret)

    def _call(self, helper: str, verb: str, message: str) -> str | None:
        """The helper's answer; None where it says that it has no such credential."""
        name = f"docker-credential-{helper}"
        program = shutil.which(name, path=self._environment.get("PATH"))
        if program is None:
            raise Unavailable(f"the credential helper {name} is not on the PATH")
        try:
            run = subprocess.run(
                [program, verb],
                input=message,
                capture_output=True,
                text=True,
                timeout=_TIMEOUT,
                env=dict(self._environment),
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise Unavailable(f"{name} {verb} did not answer in {_TIMEOUT:.0f} s") from None
        except (OSError, UnicodeDecodeError) as error:
            raise Unavailable(f"{name} {verb} cannot be used: {type(error).__name__}") from None
        if run.returncode == 0:
            return run.stdout
        if "credentials not found" in run.stdout:
            return None
        # What a helper prints may hold the secret it was given, so it is not repeated.
        raise Unavailable(f"{name} {verb} failed with exit code {run.returncode}")


def key_of(registry: str) -> str:
    """The key of a registry in ``config.json`` and for helpers."""
    return HUB_KEY if normal(registry) == HUB else registry


def normal(name: str) -> str:
    """The host of a key, which may be a host, or a URL as older versions of Docker wrote it."""
    host = name.partition("://")[2] or name
    host = host.partition("/")[0].lower()
    return HUB if host in ("index.docker.io", "registry-1.docker.io", HUB) else host


def _helper(tree: Mapping[str, Any], registry: str) -> str:
    for name, helper in _table(tree, "credHelpers").items():
        if normal(name) == normal(registry):
            return _program(helper)
    return _program(tree.get("credsStore") or "")


def _program(name: Any) -> str:
    if name and not (isinstance(name, str) and _PROGRAM.fullmatch(name)):
        raise InvalidInput("config.json of Docker names a credential helper that is no name")
    return str(name)


def _table(tree: Mapping[str, Any], name: str) -> dict[str, Any]:
    table = tree.get(name)
    return table if isinstance(table, dict) else {}


def _credential(entry: Mapping[str, Any]) -> Credential | None:
    user, password = str(entry.get("username") or ""), str(entry.get("password") or "")
    if entry.get("auth"):
        try:
            text = base64.b64decode(str(entry["auth"]), validate=True).decode("utf-8")
        except (binascii.Error, UnicodeDecodeError):
            raise InvalidInput("config.json of Docker holds an auth that is not base64") from None
        user, colon, password = text.partition(":")
        if not colon:
            raise InvalidInput("config.json of Docker holds an auth without a colon")
        password = password.rstrip("\x00")
    identity, bearer = str(entry.get("identitytoken") or ""), str(entry.get("registrytoken") or "")
    if not (user or identity or bearer):
        return None
    return Credential(username=user, password=password, identity=identity, bearer=bearer)


def _entry(credential: Credential) -> dict[str, Any]:
    password = "" if credential.identity else credential.password
    pair = f"{credential.username}:{password}".encode()
    entry = {"auth": base64.b64encode(pair).decode("ascii")}
    if credential.identity:
        entry["identitytoken"] = credential.identity
    return entry
