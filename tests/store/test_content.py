"""The content store: what is visible, when, and after which accident."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import jsonschema
import pytest
import referencing
import referencing.jsonschema

from tests.store.conftest import tar_of
from workbench.errors import BlobNotFound, Corrupt, ImageNotFound, InvalidInput, LimitExceeded
from workbench.oci.descriptor import Descriptor
from workbench.oci.digest import Digest
from workbench.oci.image import Image
from workbench.oci.reference import Reference
from workbench.store.content import ContentStore

KIND = "application/octet-stream"
SCHEMAS = Path(__file__).resolve().parents[1] / "golden" / "oci-schema"


def of(data: bytes) -> Descriptor:
    return Descriptor.of(KIND, data)


def test_put_open_read(content: ContentStore) -> None:
    blob = content.put(KIND, b"hello")
    assert blob == of(b"hello")
    assert content.has(blob)
    assert content.read(blob, 100) == b"hello"
    with content.open(blob) as stream:
        assert stream.read(2) == b"he"
        assert stream.read() == b"llo"
    assert content.info(blob.digest).size == 5
    assert content.path(blob.digest).read_bytes() == b"hello"


def test_put_twice_is_one_blob(content: ContentStore) -> None:
    content.put(KIND, b"same")
    content.put(KIND, b"same")
    assert [info.digest for info in content.walk()] == [Digest.of(b"same")]


def test_nothing_is_visible_before_commit(content: ContentStore) -> None:
    with content.ingest(of(b"abc")) as writer:
        writer.write(b"abc")
        assert not content.has(of(b"abc"))
        writer.commit()
        assert content.has(of(b"abc"))
    assert list((content.root / "ingest").iterdir()) == []


def test_an_ingest_without_commit_leaves_nothing(content: ContentStore) -> None:
    with content.ingest() as writer:
        writer.write(b"abc")
    assert list(content.walk()) == []
    assert list((content.root / "ingest").iterdir()) == []


@pytest.mark.parametrize("data", [b"abx", b"ab", b"", b"abcd", b"abcabc"])
def test_other_bytes_than_promised_are_refused(content: ContentStore, data: bytes) -> None:
    with pytest.raises(Corrupt), content.ingest(of(b"abc")) as writer:
        writer.write(data)
        writer.commit()
    assert list(content.walk()) == []


def test_a_blob_nobody_announced_needs_a_type(content: ContentStore) -> None:
    with pytest.raises(InvalidInput), content.ingest() as writer:
        writer.write(b"abc")
        writer.commit()


def test_an_ingest_goes_on_under_its_key(content: ContentStore) -> None:
    with pytest.raises(ConnectionError), content.ingest(of(b"abcdef"), key="pull") as writer:
        writer.write(b"abc")
        raise ConnectionError
    with content.ingest(of(b"abcdef"), key="pull") as writer:
        assert writer.offset == 3
        writer.write(b"def")
        assert writer.commit() == of(b"abcdef")
    assert content.read(of(b"abcdef"), 10) == b"abcdef"


def test_a_wrong_partial_is_forgotten(content: ContentStore) -> None:
    with content.ingest(of(b"abcdef"), key="pull") as writer:
        writer.write(b"xyz")
    with pytest.raises(Corrupt), content.ingest(of(b"abcdef"), key="pull") as writer:
        writer.write(b"def")
        writer.commit()
    with content.ingest(of(b"abcdef"), key="pull") as writer:
        assert writer.offset == 0


def test_two_ingests_under_one_key_take_turns(content: ContentStore) -> None:
    order: list[str] = []

    def second() -> None:
        with content.ingest(of(b"abc"), key="k") as writer:
            order.append(f"second at {writer.offset}")

    with content.ingest(of(b"abc"), key="k") as writer:
        thread = threading.Thread(target=second)
        thread.start()
        writer.write(b"ab")
        time.sleep(0.05)
        order.append("first ends")
    thread.join(10)
    assert order == ["first ends", "second at 2"]


def test_many_threads_put_the_same_blobs(content: ContentStore) -> None:
    def work() -> None:
        for number in range(20):
            content.put(KIND, b"blob %d" % number)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert {info.digest for info in content.walk()} == {
        Digest.of(b"blob %d" % number) for number in range(20)
    }
    assert list((content.root / "ingest").iterdir()) == []


def test_a_killed_writer_leaves_a_partial_that_goes_later(content: ContentStore) -> None:
    code = (
        "import os, sys; from pathlib import Path\n"
        "from workbench.store.content import ContentStore\n"
        f"store = ContentStore(Path({str(content.root)!r}))\n"
        "with store.ingest() as writer:\n"
        "    writer.write(b'half'); os.kill(os.getpid(), 9)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=False)
    (partial,) = (content.root / "ingest").iterdir()
    assert partial.read_bytes() == b"half"
    assert content.drop_partials(3600) == 0
    assert content.drop_partials(-1) == 1
    assert list(content.walk()) == []


def test_a_partial_in_use_is_not_dropped(content: ContentStore) -> None:
    with content.ingest() as writer:
        writer.write(b"abc")
        assert content.drop_partials(-1) == 0
        writer.commit(KIND)
    assert content.has(of(b"abc"))


def test_damage_on_disk_is_noticed(content: ContentStore) -> None:
    blob = content.put(KIND, b"hello")
    content.path(blob.digest).write_bytes(b"hellO")
    with content.open(blob) as stream, pytest.raises(Corrupt):
        stream.read()
    content.path(blob.digest).write_bytes(b"hell")
    with pytest.raises(Corrupt):
        content.open(blob)


def test_what_is_missing_or_too_large(content: ContentStore) -> None:
    with pytest.raises(BlobNotFound):
        content.open(of(b"x"))
    with pytest.raises(BlobNotFound):
        content.info(of(b"x").digest)
    with pytest.raises(LimitExceeded):
        content.read(content.put(KIND, b"abc"), 2)
    assert content.delete(of(b"x").digest) is False


def test_delete_spares_what_was_used(content: ContentStore) -> None:
    blob = content.put(KIND, b"abc")
    os.utime(content.path(blob.digest), (1, 1))
    assert content.has(blob)
    assert content.delete(blob.digest, unused_since=time.time() - 60) is False
    os.utime(content.path(blob.digest), (1, 1))
    assert content.delete(blob.digest, unused_since=time.time() - 60) is True


def test_sha512_blobs(content: ContentStore) -> None:
    digest = Digest("sha512:" + hashlib.sha512(b"abc").hexdigest())
    blob = Descriptor(media_type=KIND, digest=digest, size=3)
    with content.ingest(blob) as writer:
        writer.write(b"abc")
        writer.commit()
    assert content.read(blob, 10) == b"abc"
    assert [info.digest for info in content.walk()] == [digest]


# -- names


def test_names_move_and_go(content: ContentStore) -> None:
    one, two = content.put(KIND, b"one"), content.put(KIND, b"two")
    content.tag("toolbox:latest", one)
    content.tag("docker.io/library/toolbox:latest", two)
    content.tag("localhost:5000/a/b:1", one)
    assert content.references() == {
        Reference.parse("toolbox"): two,
        Reference.parse("localhost:5000/a/b:1"): one,
    }
    assert content.resolve("toolbox") == two
    assert content.untag("toolbox") == two
    assert content.untag("toolbox") is None
    with pytest.raises(ImageNotFound, match="No such image: toolbox:latest"):
        content.resolve("toolbox")


def test_only_what_is_there_can_be_named(content: ContentStore) -> None:
    with pytest.raises(BlobNotFound):
        content.tag("toolbox", of(b"nowhere"))


def test_names_by_many_threads_are_all_kept(content: ContentStore) -> None:
    blob = content.put(KIND, b"x")

    def work(thread: int) -> None:
        for number in range(10):
            content.tag(f"name{thread}:{number}", blob)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(content.references()) == 40


def test_a_broken_index_is_said_to_be_so(content: ContentStore) -> None:
    (content.root / "index.json").write_text("{")
    with pytest.raises(Corrupt, match=r"index\.json"):
        content.references()


def test_a_bare_tag_of_another_tool_names_nothing(content: ContentStore) -> None:
    blob = content.put(KIND, b"x")
    entry = {
        "mediaType": KIND,
        "digest": blob.digest,
        "size": 1,
        "annotations": {"org.opencontainers.image.ref.name": "v1"},
    }
    (content.root / "index.json").write_text(json.dumps({"manifests": [entry]}))
    assert content.references() == {}
    content.tag("toolbox", blob)
    assert len(json.loads((content.root / "index.json").read_text())["manifests"]) == 2


def _schema(uri: str) -> referencing.Resource:
    # The schemas name each other by file, below whatever id surrounds the reference.
    schema = json.loads((SCHEMAS / uri.rpartition("/")[2]).read_text())
    return referencing.jsonschema.DRAFT4.create_resource(schema)


def _validator(name: str) -> jsonschema.protocols.Validator:
    registry = referencing.Registry(retrieve=_schema)
    return jsonschema.Draft4Validator(_schema(name).contents, registry=registry)


def test_documents_fit_the_schemas_of_the_specification(
    content: ContentStore, make_image: Callable[..., Image]
) -> None:
    image = make_image(tar_of("a"), tar_of("b"))
    content.tag("toolbox:latest", image.descriptor)
    _validator("image-layout-schema.json").validate(
        json.loads((content.root / "oci-layout").read_text())
    )
    index = json.loads((content.root / "index.json").read_text())
    _validator("image-index-schema.json").validate(index)
    _validator("image-manifest-schema.json").validate(json.loads(image.raw_manifest))
    _validator("config-schema.json").validate(json.loads(image.raw_config))
    with pytest.raises(jsonschema.ValidationError):
        _validator("image-index-schema.json").validate({**index, "schemaVersion": 7})
    with pytest.raises(jsonschema.ValidationError):
        index["manifests"][0]["digest"] = "nonsense"
        _validator("image-index-schema.json").validate(index)


def test_skopeo_reads_the_store(
    content: ContentStore,
    make_image: Callable[..., Image],
    require: Callable[[object, str], None],
) -> None:
    require(shutil.which("skopeo"), "skopeo is not installed")
    image = make_image(tar_of("a"), tar_of("b"))
    for name in ("toolbox:latest", "localhost:5000/team/tool:1.2"):
        content.tag(name, image.descriptor)
        run = subprocess.run(
            ["skopeo", "inspect", f"oci:{content.root}:{name}"],
            capture_output=True,
            text=True,
            check=True,
        )
        assert json.loads(run.stdout)["Layers"] == [item.descriptor.digest for item in image.layers]
