"""Repository against the fake registry: the verbs, and answers that lie."""

from __future__ import annotations

import hashlib
import io
import json

import pytest

from tests.fakes import registry as fake_module
from tests.fakes.contents import INDEX, referrers
from tests.fakes.faults import Answer, Endless, refusal
from tests.fakes.registry import FakeRegistry
from tests.registry.conftest import Naps, repository_at
from workbench.errors import (
    Corrupt,
    Denied,
    ImageNotFound,
    InvalidInput,
    LimitExceeded,
    Unavailable,
    Unsupported,
)
from workbench.oci.descriptor import (
    DOCKER_MANIFEST,
    OCI_CONFIG,
    OCI_LAYER_GZIP,
    OCI_MANIFEST,
    Descriptor,
)
from workbench.oci.digest import Digest
from workbench.oci.manifest import Manifest
from workbench.oci.reference import Reference
from workbench.registry.client import Repository
from workbench.registry.session import Session
from workbench.registry.settings import Settings

RAW = Manifest(config=Descriptor.of(OCI_CONFIG, b"{}"), media_type=OCI_MANIFEST).to_bytes()
MANIFEST = Descriptor.of(OCI_MANIFEST, RAW)
BLOB = Descriptor.of(OCI_LAYER_GZIP, b"layer")


def test_resolve_needs_one_request(fake: FakeRegistry, repository: Repository) -> None:
    fake.contents.add_manifest("team/app", OCI_MANIFEST, RAW, "1")
    assert repository.resolve() == MANIFEST
    assert [item.method for item in fake.asked("HEAD", "manifests")] == ["HEAD"]
    assert not fake.asked("GET", "manifests")
    assert OCI_MANIFEST in fake.asked("HEAD")[0].headers["Accept"]


@pytest.mark.parametrize(
    "head", [Answer(405), Answer(200, {"Content-Type": OCI_MANIFEST}), Answer(200)]
)
def test_resolve_reads_the_manifest_where_head_does_not_say(
    fake: FakeRegistry, repository: Repository, head: Answer
) -> None:
    fake.contents.add_manifest("team/app", OCI_MANIFEST, RAW, "1")
    fake.fault("HEAD", "manifests", head)
    assert repository.resolve() == MANIFEST


def test_the_documents_own_media_type_counts(fake: FakeRegistry, repository: Repository) -> None:
    raw = RAW.replace(OCI_MANIFEST.encode(), DOCKER_MANIFEST.encode())
    fake.contents.add_manifest("team/app", "application/json", raw, "1")
    assert repository.resolve().media_type == DOCKER_MANIFEST


@pytest.mark.parametrize(
    ("media_type", "raw", "words"),
    [
        ("application/vnd.docker.distribution.manifest.v1+prettyjws", b"{}", "schema version 1"),
        ("application/json", b'{"schemaVersion":1,"fsLayers":[]}', "schema version 1"),
        ("text/html", b'{"mediaType":"application/x-else"}', "unknown media type"),
    ],
)
def test_what_is_no_manifest_is_unsupported(
    fake: FakeRegistry, repository: Repository, media_type: str, raw: bytes, words: str
) -> None:
    fake.contents.add_manifest("team/app", media_type, raw, "1")
    with pytest.raises(Unsupported, match=words):
        repository.resolve()


@pytest.mark.parametrize("raw", [b"<html>", b"[]", b"[" * 100_000, b'"text"'])
def test_what_is_no_json_object_is_corrupt(
    fake: FakeRegistry, repository: Repository, raw: bytes
) -> None:
    digest = "sha256:" + hashlib.sha256(raw).hexdigest()
    answer = Answer(200, {"Content-Type": OCI_MANIFEST, "Docker-Content-Digest": digest}, raw)
    fake.fault("GET", "manifests", answer)
    with pytest.raises(Corrupt):
        repository.manifest()


def test_a_pinned_manifest_must_have_its_digest(fake: FakeRegistry, repository: Repository) -> None:
    pinned = Reference.parse(f"{fake.host}/team/app@{MANIFEST.digest}")
    other = RAW + b" "
    headers = {"Content-Type": OCI_MANIFEST, "Docker-Content-Digest": MANIFEST.digest}
    fake.fault("GET", "manifests", Answer(200, headers, other), times=2)
    with pytest.raises(Corrupt, match=MANIFEST.digest):
        repository.manifest(pinned)
    with pytest.raises(Corrupt, match=MANIFEST.digest):
        repository.fetch_manifest(MANIFEST)
    wrong = {**headers, "Docker-Content-Digest": Digest.of(other), "Content-Length": "9"}
    fake.fault("HEAD", "manifests", Answer(200, wrong))
    with pytest.raises(Corrupt):
        repository.resolve(pinned)


def test_a_tag_must_have_the_digest_that_the_registry_says(
    fake: FakeRegistry, repository: Repository
) -> None:
    headers = {"Content-Type": OCI_MANIFEST, "Docker-Content-Digest": Digest.of(b"else")}
    fake.fault("GET", "manifests", Answer(200, headers, RAW))
    with pytest.raises(Corrupt):
        repository.manifest()


def test_sha512_digests_are_verified(fake: FakeRegistry, repository: Repository) -> None:
    digest = Digest(f"sha512:{hashlib.sha512(RAW).hexdigest()}")
    pinned = Descriptor(media_type=OCI_MANIFEST, digest=digest, size=len(RAW))
    answer = Answer(200, {"Content-Type": OCI_MANIFEST}, RAW)
    fake.fault("GET", "manifests", answer)
    assert repository.fetch_manifest(pinned) == RAW
    fake.fault("GET", "manifests", Answer(200, {"Content-Type": OCI_MANIFEST}, RAW[:-1]))
    with pytest.raises(Corrupt):
        repository.fetch_manifest(pinned)


@pytest.mark.parametrize(
    "bomb",
    [
        Answer(200, {"Content-Type": OCI_MANIFEST}, bytes(5 * 1024**2)),
        Endless({"Content-Type": OCI_MANIFEST}),
    ],
)
def test_manifest_bombs_are_defused(
    fake: FakeRegistry, repository: Repository, bomb: Answer
) -> None:
    fake.fault("GET", "manifests", bomb, times=2)
    with pytest.raises(LimitExceeded, match="4194304"):
        repository.manifest()
    with pytest.raises(LimitExceeded):
        repository.fetch_manifest(MANIFEST)


def test_a_limit_of_the_caller_counts_before_anything_is_asked(
    fake: FakeRegistry, repository: Repository
) -> None:
    fake.contents.add_manifest("team/app", OCI_MANIFEST, RAW, "1")
    with pytest.raises(LimitExceeded):
        repository.fetch_manifest(MANIFEST, limit=10)
    with pytest.raises(LimitExceeded):
        repository.fetch_manifest("1", limit=10)
    assert repository.fetch_manifest("1") == RAW


def test_unknown_names_and_refusals(fake: FakeRegistry, repository: Repository) -> None:
    with pytest.raises(ImageNotFound, match="not found: name unknown"):
        repository.resolve()
    fake.contents.add_blob("team/app", b"x")
    with pytest.raises(ImageNotFound, match="not found: manifest unknown"):
        repository.resolve()
    for method in ("HEAD", "GET"):
        fake.fault(method, "manifests", refusal(403, "DENIED"))
    with pytest.raises(Denied, match="pull access denied for"):
        repository.resolve()


def test_pushing_under_a_tag_and_a_digest(fake: FakeRegistry, repository: Repository) -> None:
    repository.put(Descriptor.of(OCI_CONFIG, b"{}"), io.BytesIO(b"{}"))
    repository.put(MANIFEST, io.BytesIO(RAW))
    repository.tag(repository.reference.with_tag("new"), MANIFEST)
    assert fake.contents.manifests["team/app", "new"] == (OCI_MANIFEST, RAW)
    assert repository.has(MANIFEST)
    assert not repository.has(Descriptor.of(OCI_MANIFEST, b"else"))
    with repository.open(MANIFEST) as stream:
        assert stream.read() == RAW


def test_a_sink_takes_only_what_was_promised(fake: FakeRegistry, repository: Repository) -> None:
    with pytest.raises(Corrupt):
        repository.put(MANIFEST, io.BytesIO(RAW + b" "))
    with pytest.raises(InvalidInput):
        repository.tag(Reference.parse("elsewhere/app:1"), MANIFEST)
    assert not fake.asked("PUT")


def test_a_registry_that_alters_a_manifest_is_caught(
    fake: FakeRegistry, repository: Repository
) -> None:
    fake.fault("PUT", "manifests", Answer(201, {"Docker-Content-Digest": Digest.of(b"else")}))
    with pytest.raises(Corrupt):
        repository.push_manifest(RAW, OCI_MANIFEST, "1")


def test_tags_over_several_pages(
    fake: FakeRegistry, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fake_module, "PAGE", 2)
    for number in range(5):
        fake.contents.add_manifest("team/app", OCI_MANIFEST, RAW, f"v{number}")
    assert repository.tags() == ("v0", "v1", "v2", "v3", "v4")
    assert len(fake.asked("GET", "tags/list")) == 3


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({"Link": '</v2/team/app/tags/list?n=1000>; rel="next"'}, b'{"tags":[]}'),
        ({"Link": '<http://elsewhere/secret>; rel="next"'}, b'{"tags":[]}'),
        ({}, b'{"tags":"v1"}'),
        ({}, b"[]"),
        ({}, b"nonsense"),
    ],
)
def test_lists_that_are_none(
    fake: FakeRegistry, repository: Repository, headers: dict[str, str], body: bytes
) -> None:
    fake.fault("GET", "tags/list", Answer(200, headers, body))
    with pytest.raises(Corrupt):
        repository.tags()


@pytest.mark.parametrize("api", [True, False])
def test_referrers(naps: Naps, api: bool) -> None:
    with FakeRegistry(referrers=api) as fake:
        repository = repository_at(fake.host, Session(Settings(), sleep=naps))
        assert repository.referrers(MANIFEST.digest) == ()
        note = json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": OCI_MANIFEST,
                "artifactType": "application/note",
                "config": {"mediaType": OCI_CONFIG, "digest": Digest.of(b"{}"), "size": 2},
                "layers": [],
                "subject": {"mediaType": OCI_MANIFEST, "digest": MANIFEST.digest, "size": 1},
            }
        ).encode()
        digest = fake.contents.add_manifest("team/app", OCI_MANIFEST, note)
        if not api:
            table = {
                "schemaVersion": 2,
                "mediaType": INDEX,
                "manifests": list(referrers(fake.contents, "team/app", MANIFEST.digest)),
            }
            fake.contents.add_manifest(
                "team/app", INDEX, json.dumps(table).encode(),
                MANIFEST.digest.replace(":", "-"),
            )  # fmt: skip
        assert [item.digest for item in repository.referrers(MANIFEST.digest)] == [digest]
        assert repository.referrers(MANIFEST.digest, "application/note")
        assert not repository.referrers(MANIFEST.digest, "application/else")


def test_deletion(fake: FakeRegistry, repository: Repository) -> None:
    fake.contents.add_blob("team/app", b"layer")
    fake.contents.add_manifest("team/app", OCI_MANIFEST, RAW, "1")
    repository.delete(MANIFEST.digest)
    repository.delete_blob(BLOB)
    assert not repository.has(MANIFEST)
    assert not repository.has(BLOB)
    with pytest.raises(ImageNotFound):
        repository.delete("nope")
    fake.fault("DELETE", "blobs", refusal(405, "UNSUPPORTED"))
    with pytest.raises(Unsupported):
        repository.delete_blob(BLOB)


def test_mirrors_are_asked_first_and_forgiven(naps: Naps) -> None:
    with FakeRegistry() as good, FakeRegistry() as empty:
        good.contents.add_manifest("library/tool", OCI_MANIFEST, RAW, "latest")
        good.contents.add_blob("library/tool", b"layer")
        dead = "http://127.0.0.1:9"
        settings = Settings(mirrors=(dead, empty.url, good.url), connect_timeout=1.0)
        repository = Repository(Reference.parse("tool"), Session(settings, sleep=naps))
        assert repository.resolve() == MANIFEST
        with repository.open_blob(BLOB) as stream:
            assert stream.read() == b"layer"
        assert empty.asked("HEAD", "/v2/library/tool/manifests/latest")
        assert not naps


def test_mirrors_serve_docker_hub_alone(fake: FakeRegistry, naps: Naps) -> None:
    with FakeRegistry() as mirror:
        session = Session(Settings(mirrors=(mirror.url,)), sleep=naps)
        fake.contents.add_manifest("team/app", OCI_MANIFEST, RAW, "1")
        assert repository_at(fake.host, session).resolve() == MANIFEST
        assert not mirror.requests


def test_a_dead_registry_is_unavailable(naps: Naps) -> None:
    session = Session(Settings(connect_timeout=1.0, tries=3), sleep=naps)
    with pytest.raises(Unavailable, match=r"cannot reach 127\.0\.0\.1:9: Connection refused"):
        repository_at("127.0.0.1:9", session).resolve()
