"""Log in and out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.fakes.faults import Answer
from tests.fakes.guards import Basic
from tests.fakes.registry import FakeRegistry
from tests.fakes.token_server import TokenServer
from tests.registry.conftest import PASSWORD, USER, Naps, RealRegistry, repository_at
from workbench.errors import Denied, ImageNotFound, InvalidInput, Unauthorized
from workbench.registry.credentials import Credential, DockerKeychain
from workbench.registry.login import login, logout
from workbench.registry.session import Session

GOOD = Credential(username=USER, password=PASSWORD)
BAD = Credential(username=USER, password="battery staple")


@pytest.fixture
def keychain(tmp_path: Path) -> DockerKeychain:
    return DockerKeychain(tmp_path / "config.json", {"PATH": "/nowhere"})


def test_basic(naps: Naps, keychain: DockerKeychain) -> None:
    with FakeRegistry(guard=Basic(USER, PASSWORD)) as fake:
        session = Session(keychain=keychain, sleep=naps)
        with pytest.raises(Unauthorized, match="incorrect username or password") as caught:
            login(fake.host, BAD, session, keychain)
        assert "battery" not in repr(caught.value)
        assert keychain.get(fake.host) is None
        assert login(fake.host, GOOD, session, keychain) == "Login Succeeded"
        with pytest.raises(ImageNotFound):
            repository_at(fake.host, session).resolve()
        assert logout(fake.host, keychain)
        assert not logout(fake.host, keychain)


def test_tokens_become_identity_tokens(
    naps: Naps, keychain: DockerKeychain, token_server: TokenServer, tmp_path: Path
) -> None:
    with FakeRegistry(guard=token_server) as fake:
        session = Session(keychain=keychain, sleep=naps)
        with pytest.raises(Unauthorized):
            login(fake.host, BAD, session, keychain)
        login(fake.host, GOOD, session, keychain)
        entry = json.loads((tmp_path / "config.json").read_text())["auths"][fake.host]
        assert token_server.refresh[entry["identitytoken"]] == USER
        assert PASSWORD not in (tmp_path / "config.json").read_text()
        with pytest.raises(ImageNotFound):
            repository_at(fake.host, session).resolve()


def test_a_registry_that_asks_nobody(
    naps: Naps, keychain: DockerKeychain, fake: FakeRegistry
) -> None:
    login(fake.host, GOOD, Session(sleep=naps), keychain)
    assert keychain.get(fake.host) == GOOD
    assert all("Authorization" not in item.headers for item in fake.requests)


def test_what_cannot_be_a_login(naps: Naps, keychain: DockerKeychain, fake: FakeRegistry) -> None:
    session = Session(sleep=naps)
    with pytest.raises(InvalidInput):
        login(fake.host, Credential(username=USER), session, keychain)
    fake.fault("GET", "/v2/", Answer(403))
    with pytest.raises(Denied):
        login(fake.host, GOOD, session, keychain)
    fake.fault("GET", "/v2/", Answer(401, {"WWW-Authenticate": "Negotiate"}))
    with pytest.raises(Unauthorized, match="no way to log in"):
        login(fake.host, GOOD, session, keychain)


def test_a_real_registry(
    naps: Naps, keychain: DockerKeychain, real_htpasswd: RealRegistry, real_token: RealRegistry
) -> None:
    session = Session(keychain=keychain, sleep=naps)
    for host in (real_htpasswd.host, real_token.host):
        with pytest.raises(Unauthorized):
            login(host, BAD, session, keychain)
        login(host, GOOD, session, keychain)
        with pytest.raises(ImageNotFound):
            repository_at(host, session, "team/nothing:1").resolve()
