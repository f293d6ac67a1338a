"""Tokens: asked for once, kept, renewed; and secrets that stay where they belong."""

from __future__ import annotations

import io
import logging
import threading
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.fakes.faults import Answer, redirect
from tests.fakes.guards import Basic
from tests.fakes.registry import FakeRegistry
from tests.fakes.token_server import TokenServer
from tests.registry.conftest import PASSWORD, USER, Naps, repository_at
from workbench.errors import Denied, InvalidInput, Unauthorized, Unavailable, WorkbenchError
from workbench.oci.descriptor import OCI_LAYER, Descriptor
from workbench.registry.auth import Authenticator
from workbench.registry.challenge import Challenge
from workbench.registry.credentials import Credential, Given
from workbench.registry.failures import Intent
from workbench.registry.hosts import Endpoint
from workbench.registry.session import Session
from workbench.registry.settings import Settings

BLOB = Descriptor.of(OCI_LAYER, b"layer")


@pytest.fixture
def tokens(token_server: TokenServer) -> TokenServer:
    token_server.requests.clear()
    token_server.life = 300
    return token_server


@pytest.fixture
def guarded(tokens: TokenServer) -> Iterator[FakeRegistry]:
    with FakeRegistry(guard=tokens) as registry:
        registry.contents.add_blob("team/app", b"layer")
        registry.contents.add_blob("public/app", b"layer")
        yield registry


def known(host: str, naps: Naps, **more: str) -> Session:
    credential = Credential(**(more or {"username": USER, "password": PASSWORD}))
    return Session(Settings(), Given({host: credential}), sleep=naps)


def secret_places(registry: FakeRegistry) -> list[str | None]:
    return [item.headers.get("Authorization") for item in registry.requests]


def test_nothing_leaves_unasked(naps: Naps, fake: FakeRegistry) -> None:
    fake.contents.add_blob("team/app", b"layer")
    assert repository_at(fake.host, known(fake.host, naps)).has(BLOB)
    assert secret_places(fake) == [None]


def test_basic_is_sent_once_asked_and_then_at_once(naps: Naps) -> None:
    with FakeRegistry(guard=Basic(USER, PASSWORD)) as fake:
        repository = repository_at(fake.host, known(fake.host, naps))
        assert not repository.has(BLOB)
        assert not repository.has(BLOB)
        assert [bool(item) for item in secret_places(fake)] == [False, True, True]


def test_a_token_serves_until_it_expires(
    guarded: FakeRegistry, tokens: TokenServer, naps: Naps
) -> None:
    repository = repository_at(guarded.host, known(guarded.host, naps))
    for _ in range(3):
        assert repository.has(BLOB)
    assert [item.scopes for item in tokens.requests] == [("repository:team/app:pull,push",)]
    assert tokens.requests[0].user == USER
    with repository.open_blob(BLOB) as stream:
        assert stream.read() == b"layer"
    assert len(tokens.requests) == 2


def test_nobody_gets_a_token_too(guarded: FakeRegistry, tokens: TokenServer, naps: Naps) -> None:
    session = Session(sleep=naps)
    with repository_at(guarded.host, session, "public/app").open_blob(BLOB) as stream:
        assert stream.read() == b"layer"
    assert tokens.requests[0].user == ""
    with pytest.raises(Unauthorized, match="docker login"):
        repository_at(guarded.host, session, "team/app").open_blob(BLOB)


def test_a_worthless_token_is_replaced(
    guarded: FakeRegistry, tokens: TokenServer, naps: Naps
) -> None:
    repository = repository_at(guarded.host, known(guarded.host, naps))
    assert repository.has(BLOB)
    tokens.forget()
    assert repository.has(BLOB)
    assert len(tokens.requests) == 2


def test_expiry_by_the_clock(guarded: FakeRegistry, tokens: TokenServer, naps: Naps) -> None:
    session = known(guarded.host, naps)
    now = [1000.0]
    session.authenticator = Authenticator(
        session.transport,
        Given({guarded.host: Credential(username=USER, password=PASSWORD)}),
        session.retrier,
        lambda: now[0],
    )
    repository = repository_at(guarded.host, session)
    assert repository.has(BLOB)
    now[0] += 290
    assert repository.has(BLOB)
    assert len(tokens.requests) == 1
    now[0] += 8
    assert repository.has(BLOB)
    assert len(tokens.requests) == 2
    assert len([item for item in secret_places(guarded) if item is None]) == 1


def test_threads_share_one_request_for_a_token(
    guarded: FakeRegistry, tokens: TokenServer, naps: Naps
) -> None:
    repository = repository_at(guarded.host, known(guarded.host, naps))
    barrier = threading.Barrier(6)

    def ask(_number: int) -> bool:
        barrier.wait()
        return repository.has(BLOB)

    with ThreadPoolExecutor(6) as pool:
        assert all(pool.map(ask, range(6)))
    assert len(tokens.requests) == 1


def test_an_upload_whose_token_dies_begins_again(
    guarded: FakeRegistry, tokens: TokenServer, naps: Naps
) -> None:
    repository = repository_at(guarded.host, known(guarded.host, naps))
    data = b"x" * 100_000
    challenge = tokens.challenge(None, "team/app", "push") or ""
    guarded.fault("PUT", "uploads", Answer(401, {"WWW-Authenticate": challenge}))
    repository.put(Descriptor.of(OCI_LAYER, data), io.BytesIO(data))
    assert data in guarded.contents.blobs.values()
    # The first goes without a token, to be asked for one.
    assert len(guarded.asked("POST")) == 3


def test_identity_tokens(guarded: FakeRegistry, tokens: TokenServer, naps: Naps) -> None:
    tokens.refresh["long-lived"] = USER
    assert repository_at(guarded.host, known(guarded.host, naps, identity="long-lived")).has(BLOB)
    assert tokens.requests[0].method == "POST"
    assert tokens.requests[0].fields["refresh_token"] == "long-lived"
    with pytest.raises(Unauthorized):
        repository_at(guarded.host, known(guarded.host, naps, identity="else")).has(BLOB)


def test_registry_tokens_are_used_as_they_are(
    guarded: FakeRegistry, tokens: TokenServer, naps: Naps
) -> None:
    token = tokens.issue(USER, ["repository:team/app:pull,push"])
    assert repository_at(guarded.host, known(guarded.host, naps, bearer=token)).has(BLOB)
    assert not tokens.requests


def test_known_but_not_allowed_is_denied(guarded: FakeRegistry, naps: Naps) -> None:
    with pytest.raises(Denied):
        repository_at(guarded.host, known(guarded.host, naps), "forbidden/app").open_blob(BLOB)


def test_a_token_server_that_stumbles(
    guarded: FakeRegistry, tokens: TokenServer, naps: Naps
) -> None:
    tokens.fail_next = [500, 503]
    assert repository_at(guarded.host, known(guarded.host, naps)).has(BLOB)
    assert len(naps) == 2
    tokens.fail_next = [500] * 9
    with pytest.raises(Unavailable):
        repository_at(guarded.host, known(guarded.host, naps)).has(BLOB)
    tokens.fail_next = []


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"nonsense", b'{"token":5}', b'{"token":"a\\nb"}', b'{"token":""}', b"[" * 99_999],
)
def test_token_servers_that_talk_nonsense(naps: Naps, body: bytes) -> None:
    with FakeRegistry() as registry, FakeRegistry() as server:
        challenge = {"WWW-Authenticate": f'Bearer realm="{server.url}/token",service="s"'}
        registry.fault("HEAD", "blobs", Answer(401, challenge))
        server.fault("GET", "/token", Answer(200, {}, body))
        with pytest.raises(Unavailable, match="sent no token"):
            repository_at(registry.host, Session(sleep=naps)).has(BLOB)


@pytest.mark.parametrize("header", ["", "Negotiate", 'Digest realm="x"'])
def test_challenges_that_we_cannot_meet(fake: FakeRegistry, naps: Naps, header: str) -> None:
    fake.fault("HEAD", "blobs", Answer(401, {"WWW-Authenticate": header}), times=3)
    with pytest.raises(Unauthorized):
        repository_at(fake.host, known(fake.host, naps)).has(BLOB)
    assert secret_places(fake) == [None]


@pytest.mark.parametrize(
    ("realm", "kind"),
    [
        ("http://auth.example.com/token", Unauthorized),
        ("https://u:p@auth.example.com/token", InvalidInput),
        ("ftp://auth.example.com/token", InvalidInput),
        ("", InvalidInput),
    ],
)
def test_token_servers_that_are_not_asked(
    naps: Naps, realm: str, kind: type[WorkbenchError]
) -> None:
    session = known("example.com", naps)
    endpoint = Endpoint(base="https://example.com", registry="example.com")
    intent = Intent(action="pull", name="x", subject="x", registry="example.com")
    challenge = Challenge(scheme="bearer", parameters={"realm": realm})
    with pytest.raises(kind):
        session.authenticator.token(endpoint, frozenset(), challenge, intent, None)


def test_credentials_do_not_follow_a_redirect(
    guarded: FakeRegistry, naps: Naps, fake: FakeRegistry
) -> None:
    fake.contents.add_blob("team/app", b"layer")
    repository = repository_at(guarded.host, known(guarded.host, naps))
    assert repository.has(BLOB)
    target = f"{fake.url}/v2/team/app/blobs/{BLOB.digest}?signature=x"
    guarded.fault("GET", "blobs", redirect(target), times=2)
    with repository.open_blob(BLOB) as stream:
        assert stream.read() == b"layer"
    assert len(fake.requests) == 1
    assert secret_places(fake) == [None]


def test_credentials_do_not_come_back_through_another_host(
    guarded: FakeRegistry, naps: Naps, fake: FakeRegistry
) -> None:
    repository = repository_at(guarded.host, known(guarded.host, naps))
    assert repository.has(BLOB)
    path = f"/v2/team/app/blobs/{BLOB.digest}"
    guarded.fault("GET", "blobs", redirect(f"{fake.url}{path}"))
    fake.fault("GET", "blobs", redirect(f"{guarded.url}{path}"))
    before = len(guarded.requests)
    with repository.open_blob(BLOB):
        pass
    sent = secret_places(guarded)[before:]
    assert sent[0] is None or sent[0].startswith("Bearer")
    assert None in sent


def test_credentials_do_not_go_to_another_host_that_asks(guarded: FakeRegistry, naps: Naps) -> None:
    with FakeRegistry(guard=Basic("eve", "x")) as other:
        repository = repository_at(guarded.host, known(guarded.host, naps))
        target = f"{other.url}/v2/team/app/blobs/{BLOB.digest}"
        guarded.fault("GET", "blobs", redirect(target), times=2)
        with pytest.raises(Unauthorized):
            repository.open_blob(BLOB)
        assert secret_places(other) == [None] * len(other.requests)
        assert other.requests


def test_upload_locations_elsewhere_get_no_credentials(
    guarded: FakeRegistry, naps: Naps, fake: FakeRegistry
) -> None:
    fake.contents.uploads["there"] = bytearray()
    location = f"{fake.url}/v2/team/app/blobs/uploads/there"
    repository = repository_at(guarded.host, known(guarded.host, naps))
    assert repository.has(BLOB)
    guarded.fault("POST", "uploads", Answer(202, {"Location": location}))
    repository.push_blob(BLOB, io.BytesIO(b"layer"))
    assert secret_places(fake) == [None]


def test_secrets_stand_in_no_error_repr_or_log(
    guarded: FakeRegistry, naps: Naps, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    session = known(guarded.host, naps, username=USER, password="wrong-password-9")
    repository = repository_at(guarded.host, session)
    with pytest.raises(Unauthorized) as caught:
        repository.has(BLOB)
    told = "".join(traceback.format_exception(caught.value))
    told += repr(caught.value) + caplog.text + repr(repository) + repr(session.settings)
    assert "wrong-password-9" not in told
    assert "Basic " not in told


def test_sessions_of_different_users_share_only_connections(
    guarded: FakeRegistry, naps: Naps
) -> None:
    session = known(guarded.host, naps)
    assert repository_at(guarded.host, session).has(BLOB)
    nobody = session.with_keychain(Given({}))
    assert nobody.transport is session.transport
    with pytest.raises(Unauthorized):
        repository_at(guarded.host, nobody).has(BLOB)
