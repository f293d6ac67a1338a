"""Blobs to and from a loopback registry, beside the raw floors of the same run.

Run ``python tests/bench/bench_registry.py [MEGABYTES]`` from the root of the source tree. The
layers are random bytes, as compressed ones look. Figures are the best of three.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import resource
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from workbench.oci.descriptor import OCI_CONFIG, OCI_LAYER_GZIP, OCI_MANIFEST, Descriptor
from workbench.oci.digest import Digest
from workbench.oci.manifest import Manifest
from workbench.oci.reference import Reference
from workbench.registry.client import Repository
from workbench.registry.pull import download
from workbench.registry.push import upload
from workbench.registry.session import Session

REGISTRY = "/usr/bin/docker-registry"
LAYERS = 5
CHUNK = 1024 * 1024


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[str]:
    """A docker-registry on a free port of loopback."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    config = {
        "version": 0.1,
        "log": {"level": "error", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": str(folder / "data")}},
        "http": {"addr": f"127.0.0.1:{port}", "secret": "bench"},
    }
    (folder / "config.yml").write_text(json.dumps(config))
    process = subprocess.Popen(
        [REGISTRY, "serve", folder / "config.yml"], stderr=subprocess.DEVNULL
    )
    try:
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.02)
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


class Folder:
    """A sink of plain files that verifies nothing: the client does."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(exist_ok=True)

    def has(self, descriptor: Descriptor) -> bool:
        return (self.path / descriptor.digest).exists()

    def put(self, descriptor: Descriptor, stream: BinaryIO) -> None:
        with (self.path / descriptor.digest).open("wb") as file:
            while data := stream.read(CHUNK):
                file.write(data)

    def open(self, descriptor: Descriptor) -> BinaryIO:
        return (self.path / descriptor.digest).open("rb")

    def clear(self) -> None:
        for file in self.path.iterdir():
            file.unlink()


def make_layers(folder: Folder, megabytes: int) -> list[Descriptor]:
    """``LAYERS`` files of random bytes, ``megabytes`` together."""
    made = []
    for _ in range(LAYERS):
        temporary, digest, size = folder.path / "new", hashlib.sha256(), 0
        with temporary.open("wb") as file:
            while size < megabytes * CHUNK // LAYERS:
                data = os.urandom(CHUNK)
                digest.update(data)
                size += file.write(data)
        found = Digest.from_hex(digest.hexdigest())
        temporary.rename(folder.path / found)
        made.append(Descriptor(media_type=OCI_LAYER_GZIP, digest=found, size=size))
    return made


def best(work: Callable[[], object], before: Callable[[], object] = lambda: None) -> float:
    """Seconds of the quickest of three."""
    times = []
    for _ in range(3):
        before()
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def hash_all(folder: Folder, layers: list[Descriptor]) -> None:
    for layer in layers:
        with folder.open(layer) as file:
            hashlib.file_digest(file, "sha256")


def copy_all(folder: Folder, layers: list[Descriptor], sink: Folder) -> None:
    for layer in layers:
        with folder.open(layer) as file:
            sink.put(layer, file)


def curl_all(host: str, layers: list[Descriptor], sink: Folder) -> None:
    """What a client in C takes to fetch the same, unverified."""
    for layer in layers:
        url = f"http://{host}/v2/bench/image/blobs/{layer.digest}"
        subprocess.run(["curl", "-sf", "-o", sink.path / layer.digest, url], check=True)


def push_all(repository: Repository, folder: Folder, layers: list[Descriptor]) -> None:
    config = b'{"architecture":"amd64","os":"linux"}'
    manifest = Manifest(config=Descriptor.of(OCI_CONFIG, config), layers=tuple(layers))
    list(upload(layers, folder.open, repository))
    if not repository.has(manifest.config):
        repository.put(manifest.config, io.BytesIO(config))
    repository.push_manifest(manifest.to_bytes(), OCI_MANIFEST, "1")


def main() -> None:
    megabytes = int(sys.argv[1]) if len(sys.argv) > 1 else 150
    with tempfile.TemporaryDirectory() as name, serving(Path(name)) as host:
        source, sink = Folder(Path(name) / "source"), Folder(Path(name) / "sink")
        layers = make_layers(source, megabytes)
        numbers = iter(range(1000))

        def repository(path: str) -> Repository:
            return Repository(Reference.parse(f"{host}/{path}:1"), Session())

        rows = [("sha256 of the bytes (floor)", best(lambda: hash_all(source, layers)))]
        rows.append(
            ("copy of the files (floor)", best(lambda: copy_all(source, layers, sink), sink.clear))
        )
        start = time.perf_counter()
        push_all(repository("bench/image"), source, layers)
        rows.append(("push, cold (once)", time.perf_counter() - start))
        rows.append(
            ("push, present", best(lambda: push_all(repository("bench/image"), source, layers)))
        )
        mounted = {layer.digest: "bench/image" for layer in layers}
        rows.append(
            (
                "push, mounted",
                best(
                    lambda: list(
                        upload(
                            layers,
                            source.open,
                            repository(f"bench/other{next(numbers)}"),
                            sources=mounted,
                        )
                    )
                ),
            )
        )
        rows.append(
            ("curl of the layers (floor)", best(lambda: curl_all(host, layers, sink), sink.clear))
        )
        rows.append(
            (
                "pull, verified",
                best(
                    lambda: list(download(layers, repository("bench/image").open_blob, sink)),
                    sink.clear,
                ),
            )
        )
        report(rows, megabytes)


def report(rows: list[tuple[str, float]], megabytes: int) -> None:
    out = sys.stdout
    out.write(f"{LAYERS} layers, {megabytes} MB together\n")
    for label, seconds in rows:
        out.write(f"{label:32} {seconds:8.3f} s {megabytes / seconds:10.0f} MB/s\n")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    out.write(f"{'peak memory of the client':32} {peak:8} MB\n")


if __name__ == "__main__":
    main()
