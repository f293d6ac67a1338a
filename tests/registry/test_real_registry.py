"""The client against the distribution project's registry: plain, htpasswd, TLS, tokens."""

from __future__ import annotations

import contextlib
import gzip
import io
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.fakes.token_server import TokenServer
from tests.registry.conftest import PASSWORD, USER, RealRegistry, repository_at
from workbench.errors import BlobNotFound, Denied, ImageNotFound, Unauthorized
from workbench.oci.descriptor import OCI_CONFIG, OCI_INDEX, OCI_LAYER_GZIP, OCI_MANIFEST, Descriptor
from workbench.oci.manifest import Index, Manifest
from workbench.oci.reference import Reference
from workbench.registry.client import Repository
from workbench.registry.credentials import Credential, Given, Keychain
from workbench.registry.http import Untrusted
from workbench.registry.session import Session
from workbench.registry.settings import Settings

LAYER = os.urandom(3_000_000)


@contextlib.contextmanager
def opened(settings: Settings | None = None, keychain: Keychain | None = None) -> Iterator[Session]:
    with contextlib.closing(Session(settings or Settings(), keychain)) as session:
        yield session


def push_image(repository: Repository, layer: bytes = LAYER, tag: str = "1") -> Descriptor:
    config_raw = b'{"architecture":"amd64","os":"linux"}'
    config = Descriptor.of(OCI_CONFIG, config_raw)
    blob = Descriptor.of(OCI_LAYER_GZIP, layer)
    repository.put(config, io.BytesIO(config_raw))
    repository.put(blob, io.BytesIO(layer))
    manifest = Manifest(config=config, layers=(blob,))
    return repository.push_manifest(manifest.to_bytes(), OCI_MANIFEST, tag)


def check_round_trip(repository: Repository) -> None:
    pushed = push_image(repository)
    found = repository.resolve()
    assert found == pushed
    manifest = Manifest.parse(repository.fetch_manifest(found))
    with repository.open_blob(manifest.layers[0]) as stream:
        assert stream.read() == LAYER


def test_what_is_pushed_comes_back(real: RealRegistry) -> None:
    with opened() as session:
        check_round_trip(repository_at(real.host, session))


def test_a_second_push_sends_nothing(real: RealRegistry) -> None:
    with opened() as session:
        repository = repository_at(real.host, session, "team/twice:1")
        push_image(repository)
        blob = Descriptor.of(OCI_LAYER_GZIP, LAYER)
        assert repository.has(blob)


def test_large_blobs_go_up_in_chunks(real: RealRegistry) -> None:
    with opened(Settings(chunk=1_000_000)) as session:
        repository = repository_at(real.host, session, "team/chunked:1")
        check_round_trip(repository)


def test_download_from_an_offset(real: RealRegistry) -> None:
    with opened() as session:
        repository = repository_at(real.host, session)
        push_image(repository)
        blob = Descriptor.of(OCI_LAYER_GZIP, LAYER)
        with repository.open_blob(blob, 2_000_000) as stream:
            assert stream.read() == LAYER[2_000_000:]
        with repository.open_blob(blob, len(LAYER)) as stream:
            assert stream.read() == b""


def test_a_blob_is_mounted_from_its_neighbour(real: RealRegistry) -> None:
    data = os.urandom(1000)
    blob = Descriptor.of(OCI_LAYER_GZIP, data)
    with opened() as session:
        repository_at(real.host, session, "team/first:1").put(blob, io.BytesIO(data))
        second = repository_at(real.host, session, "team/second:1")
        assert not second.has(blob)
        assert second.mount_blob(blob, "team/first")
        assert second.has(blob)


def test_a_mount_that_cannot_be_becomes_an_upload(real: RealRegistry) -> None:
    data = os.urandom(1000)
    blob = Descriptor.of(OCI_LAYER_GZIP, data)
    with opened() as session:
        repository = repository_at(real.host, session, "team/lonely:1")
        assert not repository.mount_blob(blob, "team/nowhere")
        assert repository.push_blob(blob, io.BytesIO(data), source="team/nowhere")
        assert repository.has(blob)


def test_indexes_tags_and_deletion(real: RealRegistry) -> None:
    with opened() as session:
        repository = repository_at(real.host, session, "team/many:1")
        image = push_image(repository)
        index = Index(manifests=(image,))
        repository.put(index.descriptor, io.BytesIO(index.to_bytes()))
        repository.tag(repository.reference.with_tag("all"), index.descriptor)
        assert set(repository.tags()) == {"1", "all"}
        assert repository.resolve(repository.reference.with_tag("all")).media_type == OCI_INDEX
        repository.delete(index.descriptor.digest)
        with pytest.raises(ImageNotFound):
            repository.resolve(repository.reference.with_tag("all"))


def test_referrers_of_an_old_registry_come_from_the_tag(real: RealRegistry) -> None:
    with opened() as session:
        repository = repository_at(real.host, session, "team/signed:1")
        image = push_image(repository)
        assert repository.referrers(image.digest) == ()
        note = push_image(repository, b"signature", "note")
        table = Index(manifests=(note,)).to_bytes()
        repository.push_manifest(table, OCI_INDEX, f"sha256-{image.digest.hex}")
        assert [item.digest for item in repository.referrers(image.digest)] == [note.digest]


def test_what_is_missing_is_said_in_dockers_words(real: RealRegistry) -> None:
    with opened() as session:
        repository = repository_at(real.host, session, "team/app:nope")
        push_image(repository_at(real.host, session))
        with pytest.raises(ImageNotFound) as caught:
            repository.resolve()
        name = f"{real.host}/team/app:nope"
        assert str(caught.value) == f"manifest for {name} not found: manifest unknown"
        with pytest.raises(BlobNotFound):
            repository.open_blob(Descriptor.of(OCI_LAYER_GZIP, b"never stored"))
        with pytest.raises(ImageNotFound, match="name unknown"):
            repository_at(real.host, session, "team/unheard-of:1").tags()


def test_htpasswd(real_htpasswd: RealRegistry) -> None:
    host = real_htpasswd.host
    with opened(keychain=Given({host: Credential(username=USER, password=PASSWORD)})) as session:
        check_round_trip(repository_at(host, session))
    with (
        opened() as session,
        pytest.raises(Unauthorized, match="may require 'docker login'") as caught,
    ):
        repository_at(host, session).resolve()
    assert host in caught.value.hint
    wrong = Given({host: Credential(username=USER, password="battery staple")})
    with opened(keychain=wrong) as session, pytest.raises(Unauthorized) as caught:
        repository_at(host, session).resolve()
    assert "battery" not in repr(caught.value)


def test_tls_by_a_private_authority(real_tls: RealRegistry) -> None:
    assert real_tls.certs is not None
    with opened(Settings(certs=real_tls.certs)) as session:
        check_round_trip(repository_at(real_tls.host, session))
    with opened(Settings(certs=real_tls.certs / "none")) as session:
        with pytest.raises(Untrusted) as caught:
            repository_at(real_tls.host, session).resolve()
        assert "ca.crt" in caught.value.hint
    with opened(Settings(certs=real_tls.certs / "none", insecure=(real_tls.host,))) as session:
        assert repository_at(real_tls.host, session).resolve()


def test_tokens(real_token: RealRegistry, token_server: TokenServer) -> None:
    host = real_token.host
    known = Given({host: Credential(username=USER, password=PASSWORD)})
    with opened(keychain=known) as session:
        before = len(token_server.requests)
        check_round_trip(repository_at(host, session, "public/app:1"))
        # One for pull,push and one for pull, whatever the number of requests.
        assert len(token_server.requests) - before == 2
        with pytest.raises(Denied):
            repository_at(host, session, "forbidden/app:1").tags()
    with opened() as session:
        assert repository_at(host, session, "public/app:1").resolve()
        with pytest.raises(Unauthorized):
            push_image(repository_at(host, session, "public/app:1"))


def test_mounting_asks_for_both_repositories(
    real_token: RealRegistry, token_server: TokenServer
) -> None:
    known = Given({real_token.host: Credential(username=USER, password=PASSWORD)})
    blob = Descriptor.of(OCI_LAYER_GZIP, LAYER)
    with opened(keychain=known) as session:
        push_image(repository_at(real_token.host, session, "team/one:1"))
        target = Repository(Reference.parse(f"{real_token.host}/team/two:1"), session)
        assert not target.push_blob(blob, io.BytesIO(LAYER), source="team/one")
    assert "repository:team/one:pull" in token_server.requests[-1].scopes


def test_other_tools_read_what_we_push_and_the_other_way_round(
    real: RealRegistry, require: Callable[[object, str], None], tmp_path: Path
) -> None:
    require(shutil.which("skopeo"), "needs the program skopeo")
    here, there = f"{real.host}/team/ours:1", f"{real.host}/team/theirs:1"
    with opened() as session:
        layer = gzip.compress(LAYER[:100_000])
        pushed = push_image(Repository(Reference.parse(here), session), layer)
        _skopeo("copy", "--src-tls-verify=false", f"docker://{here}", f"oci:{tmp_path}/layout:1")
        _skopeo("copy", "--dest-tls-verify=false", f"oci:{tmp_path}/layout:1", f"docker://{there}")
        theirs = Repository(Reference.parse(there), session)
        assert theirs.resolve() == pushed
        manifest = Manifest.parse(theirs.fetch_manifest(pushed))
        with theirs.open_blob(manifest.layers[0]) as stream:
            assert stream.read() == layer


def _skopeo(*arguments: str) -> None:
    subprocess.run(
        ["skopeo", "--insecure-policy", *arguments], check=True, capture_output=True, timeout=60
    )
