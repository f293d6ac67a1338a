"""Repeats, redirects, schemes, certificates, proxies."""

from __future__ import annotations

import shutil
import ssl
import time
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path

import pytest

from tests.fakes.certificates import Authority
from tests.fakes.faults import Answer, HangUp, redirect, refusal
from tests.fakes.registry import FakeRegistry
from tests.registry.conftest import Naps, repository_at
from workbench.errors import InvalidInput, Unavailable
from workbench.oci.descriptor import OCI_LAYER, Descriptor
from workbench.registry.client import Repository
from workbench.registry.http import Broken, Unreachable, Untrusted
from workbench.registry.session import Session
from workbench.registry.settings import Settings

BLOB = Descriptor.of(OCI_LAYER, b"layer")


@pytest.fixture
def tls_fake(authority: Authority) -> Iterator[FakeRegistry]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    pair = authority.issue("fake")
    context.load_cert_chain(pair.certificate, pair.key)
    with FakeRegistry(tls=context) as registry:
        yield registry


@pytest.mark.parametrize("status", [408, 500, 502, 503, 504])
def test_passing_errors_are_waited_out(
    fake: FakeRegistry, repository: Repository, naps: Naps, status: int
) -> None:
    fake.fault("HEAD", "blobs", Answer(status), times=4)
    assert not repository.has(BLOB)
    assert len(naps) == 4
    assert naps[3] > naps[0] / 2
    assert max(naps) <= 2.0


def test_errors_that_stay_are_reported(
    fake: FakeRegistry, repository: Repository, naps: Naps
) -> None:
    fake.fault("HEAD", "blobs", Answer(500), times=10)
    with pytest.raises(Unavailable):
        repository.has(BLOB)
    assert len(naps) == 4
    assert len(fake.requests) == 5


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 501])
def test_errors_that_will_not_pass_are_not_repeated(
    fake: FakeRegistry, repository: Repository, naps: Naps, status: int
) -> None:
    fake.fault("DELETE", "manifests", Answer(status))
    with pytest.raises(Exception, match=r"\w"):
        repository.delete("1")
    assert len(fake.requests) == 1
    assert not naps


def test_a_lost_connection_is_replaced(
    fake: FakeRegistry, repository: Repository, naps: Naps
) -> None:
    fake.fault("HEAD", "blobs", HangUp())
    assert not repository.has(BLOB)
    assert len(naps) == 1


def test_a_lost_post_is_not_repeated_blindly(fake: FakeRegistry, session: Session) -> None:
    fake.fault("POST", "uploads", HangUp())
    with pytest.raises(Broken):
        repository_at(fake.host, session).mount_blob(BLOB, "team/base")
    assert len(fake.asked("POST")) == 1


def test_retry_after_in_seconds_and_as_a_date(
    fake: FakeRegistry, repository: Repository, naps: Naps
) -> None:
    date = formatdate(time.time() + 30, usegmt=True)
    for text in ("12", date, "soon", "-5", "9" * 30):
        fake.fault("HEAD", "blobs", Answer(429, {"Retry-After": text}))
    with pytest.raises(Unavailable) as caught:
        repository.has(BLOB)
    assert naps[0] == 12.0
    assert 25 < naps[1] <= 30
    assert max(naps[2:]) < 3
    assert len(naps) == 4
    assert "try again in" in caught.value.hint


def test_a_long_retry_after_is_not_waited_for(
    fake: FakeRegistry, repository: Repository, naps: Naps
) -> None:
    fake.fault("HEAD", "blobs", refusal(429, "TOOMANYREQUESTS", Retry_After="3600"))
    with pytest.raises(Unavailable) as caught:
        repository.has(BLOB)
    assert not naps
    assert "3600 seconds" in caught.value.hint


def test_circles_end(fake: FakeRegistry, repository: Repository) -> None:
    fake.fault("HEAD", "blobs", redirect(f"/v2/team/app/blobs/{BLOB.digest}"), times=99)
    with pytest.raises(Unavailable, match="round in circles"):
        repository.has(BLOB)
    assert len(fake.requests) == 6


@pytest.mark.parametrize("location", ["", "file:///etc/passwd", "http://[bad"])
def test_redirects_to_nowhere(fake: FakeRegistry, repository: Repository, location: str) -> None:
    fake.fault("GET", "blobs", redirect(location))
    with pytest.raises((Unavailable, InvalidInput)):
        repository.open_blob(BLOB)


def test_tls_is_not_given_up(tls_fake: FakeRegistry, fake: FakeRegistry, naps: Naps) -> None:
    session = Session(Settings(insecure=(tls_fake.host,)), sleep=naps)
    tls_fake.fault("GET", "blobs", redirect(f"{fake.url}/x"))
    with pytest.raises(Unavailable, match="from https to plain http"):
        repository_at(tls_fake.host, session).open_blob(BLOB)
    assert not fake.requests


def test_the_scheme_is_found_out_once(fake: FakeRegistry, session: Session) -> None:
    assert session.endpoint(fake.host).base == f"http://{fake.host}"
    assert session.endpoint(fake.host) is session.endpoint(fake.host)


def test_tls_on_loopback_must_be_trusted(tls_fake: FakeRegistry, session: Session) -> None:
    with pytest.raises(Untrusted, match="not trusted") as caught:
        repository_at(tls_fake.host, session).has(BLOB)
    assert f"{tls_fake.host}/ca.crt" in caught.value.hint
    assert not tls_fake.requests


def test_trust_from_the_environment(
    tls_fake: FakeRegistry, authority: Authority, naps: Naps
) -> None:
    environment = {"SSL_CERT_FILE": str(authority.ca.certificate)}
    session = Session(Settings(environment=environment), sleep=naps)
    assert not repository_at(tls_fake.host, session).has(BLOB)


def test_a_client_certificate(authority: Authority, tmp_path: Path, naps: Naps) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    pair = authority.issue("mutual")
    context.load_cert_chain(pair.certificate, pair.key)
    context.load_verify_locations(authority.ca.certificate)
    context.verify_mode = ssl.CERT_REQUIRED
    ours = authority.issue("us")
    with FakeRegistry(tls=context) as fake:
        folder = tmp_path / fake.host
        folder.mkdir()
        shutil.copy(authority.ca.certificate, folder / "ca.crt")
        settings = Settings(certs=tmp_path, tries=1)
        with pytest.raises(Unavailable):
            repository_at(fake.host, Session(settings, sleep=naps)).has(BLOB)
        shutil.copy(ours.certificate, folder / "client.cert")
        with pytest.raises(InvalidInput, match=r"missing key .*client\.key"):
            repository_at(fake.host, Session(settings, sleep=naps)).has(BLOB)
        shutil.copy(ours.key, folder / "client.key")
        assert not repository_at(fake.host, Session(settings, sleep=naps)).has(BLOB)
        (folder / "client.cert").unlink()
        with pytest.raises(InvalidInput, match="missing client certificate"):
            repository_at(fake.host, Session(settings, sleep=naps)).has(BLOB)
        (folder / "ca.crt").write_text("nonsense")
        with pytest.raises(InvalidInput, match=r"ca\.crt"):
            repository_at(fake.host, Session(settings, sleep=naps)).has(BLOB)


def test_a_proxy_is_asked_in_place_of_the_host(fake: FakeRegistry, naps: Naps) -> None:
    proxy = fake.url.replace("http://", "http://me:proxy-secret@")
    settings = Settings(
        environment={"HTTP_PROXY": proxy, "HTTPS_PROXY": "http://127.0.0.1:9"},
        insecure=("registry.example.com",),
        connect_timeout=1.0,
        tries=1,
    )
    session = Session(settings, sleep=naps)
    fake.fault("HEAD", "registry.example.com", Answer(200))
    repository = repository_at("registry.example.com", session)
    assert repository.has(BLOB)
    assert fake.requests[-1].headers["Host"] == "registry.example.com"
    assert fake.requests[-1].headers["proxy-authorization"].startswith("Basic ")
    assert "proxy-secret" not in repr(settings)


def test_a_dead_proxy_is_named_as_the_cause(naps: Naps) -> None:
    environment = {"HTTPS_PROXY": "http://me:proxy-secret@127.0.0.1:9"}
    settings = Settings(environment=environment, tries=1, connect_timeout=1.0)
    with pytest.raises(Unreachable, match="through the proxy") as caught:
        repository_at("registry.example.com", Session(settings, sleep=naps)).has(BLOB)
    assert "proxy-secret" not in repr(caught.value)


def test_connections_are_kept(fake: FakeRegistry, session: Session) -> None:
    repository = repository_at(fake.host, session)
    before = fake.connections
    for _ in range(5):
        repository.has(BLOB)
    # One for the question whether there is TLS, one for all the rest.
    assert fake.connections - before <= 3
    session.close()
    assert not repository.has(BLOB)
