"""Archives of `docker save` in all their forms, and such as only look like one."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import shutil
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zstandard

from tests.store.conftest import tar_of
from workbench.errors import Corrupt, InvalidInput, LimitExceeded, WorkbenchError
from workbench.oci.image import Image
from workbench.oci.manifest import Index
from workbench.oci.reference import Reference
from workbench.store.archive import platforms_present, read_archive
from workbench.store.archive_write import ArchiveSink
from workbench.store.content import ContentStore
from workbench.transfer import copy

LAYERS = [tar_of({"name": "a", "data": b"1"}), tar_of({"name": "b", "data": b"2"})]


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def config_of(*layers: bytes) -> bytes:
    diff_ids = [f"sha256:{sha(layer)}" for layer in layers]
    return json.dumps(
        {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": diff_ids}}
    ).encode()


CONFIG = config_of(*LAYERS)


def old_form(*, tags: Any = ("toolbox:1", "toolbox:2"), config: bytes = CONFIG) -> list[Any]:
    """What Docker wrote before 25; the second layer is a link, as for a layer that repeats."""
    table = [{"Config": f"{sha(CONFIG)}.json", "RepoTags": tags,
              "Layers": ["one/layer.tar", "two/layer.tar"]}]  # fmt: skip
    return [
        "one/",
        {"name": "one/VERSION", "data": b"1.0"},
        {"name": "one/json", "data": b"{}"},
        {"name": "one/layer.tar", "data": LAYERS[0]},
        {"name": "shared/layer.tar", "data": LAYERS[1]},
        {"name": "two/layer.tar", "type": tarfile.SYMTYPE, "linkname": "../shared/layer.tar"},
        {"name": f"{sha(CONFIG)}.json", "data": config},
        {"name": "manifest.json", "data": json.dumps(table).encode()},
        {"name": "repositories", "data": b'{"toolbox":{"1":"two","2":"two"}}'},
    ]


def load(content: ContentStore, data: bytes) -> Any:
    return read_archive(io.BytesIO(data), content)


@pytest.mark.parametrize("pack", [bytes, gzip.compress, zstandard.compress])
def test_the_old_form(content: ContentStore, pack: Callable[[bytes], bytes]) -> None:
    (image,) = load(content, pack(tar_of(*old_form())))
    assert image.references == (Reference.parse("toolbox:1"), Reference.parse("toolbox:2"))
    loaded = Image.parse(
        image.descriptor,
        content.read(image.descriptor, 1 << 20),
        CONFIG,
    )
    assert loaded.id == f"sha256:{sha(CONFIG)}"
    assert [content.read(item.descriptor, 1 << 20) for item in loaded.layers] == LAYERS
    assert len(list(content.walk())) == 4


def test_tables_may_come_first_and_names_may_be_missing(content: ContentStore) -> None:
    (image,) = load(content, tar_of(*reversed(old_form(tags=None))))
    assert image.references == ()


def save(content: ContentStore, *images: tuple[Image, str | None]) -> bytes:
    out = io.BytesIO()
    sink = ArchiveSink(out.write)
    for image, name in images:
        copy(image.descriptor, content, sink)
        if name is None:
            sink.add(image.descriptor)
        else:
            sink.tag(Reference.parse(name), image.descriptor)
    sink.close()
    return out.getvalue()


def test_several_images_go_out_and_come_in(
    tmp_path: Path, content: ContentStore, make_image: Callable[..., Image]
) -> None:
    one, two, three = make_image(*LAYERS), make_image(LAYERS[0]), make_image(LAYERS[1])
    data = save(
        content, (one, "toolbox:1"), (one, "localhost:5000/team/tool:x"), (two, "other"),
        (three, None),
    )  # fmt: skip
    other = ContentStore(tmp_path / "other", durable=False)
    images = {
        image.descriptor.digest: set(map(str, image.references)) for image in load(other, data)
    }
    assert images == {
        one.descriptor.digest: {"docker.io/library/toolbox:1", "localhost:5000/team/tool:x"},
        two.descriptor.digest: {"docker.io/library/other:latest"},
        three.descriptor.digest: set(),
    }
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        names = tar.getnames()
    assert len(names) == len(set(names))
    table = json.loads(_member(data, "manifest.json"))
    assert table[0]["RepoTags"] == ["toolbox:1", "localhost:5000/team/tool:x"]
    assert table[0]["Config"] == f"blobs/sha256/{one.id.hex}"
    assert json.loads(_member(data, "repositories"))["toolbox"] == {
        "1": one.layers[-1].descriptor.digest.hex
    }


def _member(data: bytes, name: str) -> bytes:
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        file = tar.extractfile(name)
        assert file is not None
        return file.read()


def test_the_same_images_give_the_same_archive(
    content: ContentStore, make_image: Callable[..., Image]
) -> None:
    image = make_image(LAYERS[0])
    assert save(content, (image, "a")) == save(content, (image, "a"))


def test_loaders_of_the_old_form_understand_the_new_one(
    tmp_path: Path, content: ContentStore, make_image: Callable[..., Image]
) -> None:
    """A reader that knows ``manifest.json`` alone finds the same image id."""
    image = make_image(*LAYERS)
    data = save(content, (image, "toolbox"))
    members = []
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        for info in tar.getmembers():
            if info.isfile() and info.name not in ("index.json", "oci-layout"):
                members.append({"name": info.name, "data": _member(data, info.name)})
    other = ContentStore(tmp_path / "other", durable=False)
    (loaded,) = load(other, tar_of(*members))
    manifest = json.loads(other.read(loaded.descriptor, 1 << 20))
    assert manifest["config"]["digest"] == image.id


def test_an_index_with_one_platform_inside(
    tmp_path: Path, content: ContentStore, make_image: Callable[..., Image]
) -> None:
    here, absent = make_image(LAYERS[0]), make_image(LAYERS[1])
    index = Index(manifests=(here.descriptor, absent.descriptor))
    root = content.put(index.media_type, index.to_bytes())
    out = io.BytesIO()
    sink = ArchiveSink(out.write)
    copy(root, content, sink, select=lambda found: found.manifests[:1])
    sink.tag(Reference.parse("multi"), root)
    sink.close()
    other = ContentStore(tmp_path / "other", durable=False)
    (image,) = load(other, out.getvalue())
    assert image.descriptor == root
    assert platforms_present(other, root) == (here.descriptor,)
    assert platforms_present(content, root) == (here.descriptor, absent.descriptor)


def test_docker_writes_a_bare_tag_beside_the_full_name(content: ContentStore) -> None:
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": {
                "mediaType": "application/vnd.oci.image.config.v1+json",
                "digest": f"sha256:{sha(CONFIG)}",
                "size": len(CONFIG),
            },
            "layers": [],
        }
    ).encode()
    entry = {
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "digest": f"sha256:{sha(manifest)}",
        "size": len(manifest),
        "annotations": {
            "io.containerd.image.name": "docker.io/library/busybox:latest",
            "org.opencontainers.image.ref.name": "latest",
        },
    }
    data = tar_of(
        {"name": f"blobs/sha256/{sha(CONFIG)}", "data": CONFIG},
        {"name": f"blobs/sha256/{sha(manifest)}", "data": manifest},
        {"name": "index.json", "data": json.dumps({"manifests": [entry]}).encode()},
        {"name": "oci-layout", "data": b'{"imageLayoutVersion":"1.0.0"}'},
    )
    (image,) = load(content, data)
    assert image.references == (Reference.parse("busybox"),)
    assert image.descriptor.annotations == {}


TABLE = [{"Config": "c.json", "RepoTags": [], "Layers": ["l"]}]
BAD: dict[str, tuple[type[WorkbenchError], list[Any]]] = {
    "a bare tree": (InvalidInput, ["etc/", "etc/passwd"]),
    "an empty tar": (InvalidInput, []),
    "a config that is another": (Corrupt, old_form(config=CONFIG + b" ")),
    "a blob that is another": (
        Corrupt,
        [{"name": f"blobs/sha256/{'0' * 64}", "data": b"x"}, {"name": "index.json", "data": b"{}"}],
    ),
    "a table without files": (
        Corrupt,
        [{"name": "manifest.json", "data": json.dumps(TABLE).encode()}],
    ),
    "a table that is no JSON": (InvalidInput, [{"name": "manifest.json", "data": b"["}]),
    "a table that is no table": (InvalidInput, [{"name": "manifest.json", "data": b"7"}]),
    "fewer layers than promised": (Corrupt, [
        {"name": "c.json", "data": CONFIG},
        {"name": "l", "data": LAYERS[0]},
        {"name": "manifest.json", "data": json.dumps(TABLE).encode()},
    ]),
    "an index of what is missing": (Corrupt, [
        {"name": "index.json", "data": json.dumps({"manifests": [
            {"mediaType": "x", "digest": f"sha256:{'0' * 64}", "size": 1}]}).encode()},
    ]),
    "links in a circle": (Corrupt, [
        {"name": "c.json", "type": tarfile.SYMTYPE, "linkname": "l"},
        {"name": "l", "type": tarfile.SYMTYPE, "linkname": "c.json"},
        {"name": "manifest.json", "data": json.dumps(TABLE).encode()},
    ]),
    "a link out of the archive": (Corrupt, [
        {"name": "c.json", "type": tarfile.SYMTYPE, "linkname": "../../etc/passwd"},
        {"name": "manifest.json", "data": json.dumps(TABLE).encode()},
    ]),
    "a name that is none": (InvalidInput, old_form(tags=["UPPER:x y"])),
    "a table of paths that lead out": (Corrupt, [
        {"name": "manifest.json",
         "data": json.dumps([{**TABLE[0], "Config": "../x"}]).encode()},
    ]),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_what_is_refused(content: ContentStore, name: str) -> None:
    error, members = BAD[name]
    with pytest.raises(error):
        load(content, tar_of(*members))
    assert list((content.root / "ingest").iterdir()) == []
    assert content.references() == {}


def test_a_huge_table_is_not_read(content: ContentStore) -> None:
    with pytest.raises(LimitExceeded):
        load(content, tar_of({"name": "manifest.json", "data": bytes(5 << 20)}))


def test_skopeo_reads_what_we_write_and_we_read_what_it_writes(
    tmp_path: Path,
    content: ContentStore,
    make_image: Callable[..., Image],
    require: Callable[[object, str], None],
) -> None:
    require(shutil.which("skopeo"), "skopeo is not installed")
    image = make_image(*LAYERS)
    (tmp_path / "ours.tar").write_bytes(save(content, (image, "toolbox:1")))
    for source in ("docker-archive", "oci-archive"):
        words = ["skopeo", "inspect", "--config", f"{source}:{tmp_path}/ours.tar"]
        run = subprocess.run(words, capture_output=True, text=True, check=True)
        diff_ids = json.loads(run.stdout)["rootfs"]["diff_ids"]
        assert diff_ids == [item.diff_id for item in image.layers]
    for kind in ("docker-archive", "oci-archive"):
        target = tmp_path / f"{kind}.tar"
        words = ["skopeo", "--insecure-policy", "copy", f"docker-archive:{tmp_path}/ours.tar"]
        subprocess.run([*words, f"{kind}:{target}:toolbox:9"], capture_output=True, check=True)
        other = ContentStore(tmp_path / kind, durable=False)
        with target.open("rb") as stream:
            (loaded,) = read_archive(stream, other)
        assert loaded.references == (Reference.parse("toolbox:9"),)
        manifest = json.loads(other.read(loaded.descriptor, 1 << 20))
        if kind == "docker-archive":
            assert manifest["config"]["digest"] == image.id
