"""How fast layers go in and out of the store, beside what the machine does without it.

    python tests/bench/bench_store.py [--files 10000] [--megabytes 150] [--root DIRECTORY]

Prints one line per measurement: the best of three runs, in seconds and per second.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import io
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from isal import igzip

from workbench.oci.descriptor import OCI_LAYER, Descriptor, Platform
from workbench.oci.image import Image, ImageConfig, RootFS
from workbench.store.content import ContentStore
from workbench.store.copying import CopyingSnapshotter
from workbench.store.layer import apply, capture
from workbench.store.overlay import OverlaySnapshotter
from workbench.store.packing import pack_layer
from workbench.store.unpack import unpack


def make_tree(root: Path, files: int, size: int) -> None:
    """``files`` files of text and noise in directories of 50, ``size`` bytes in all."""
    chance = random.Random(1)
    words = [chance.randbytes(chance.randrange(2, 9)).hex() for _ in range(4000)]
    for index in range(files):
        folder = root / f"usr/lib/part{index // 1000}/package{index // 50}"
        folder.mkdir(parents=True, exist_ok=True)
        length = size // files
        text = " ".join(chance.choices(words, k=length // 10 + 1)).encode()
        data = text[: length * 2 // 3] + chance.randbytes(length - length * 2 // 3)
        (folder / f"file{index}.py").write_bytes(data[:length])


class Bench:
    """Runs and prints."""

    def __init__(self, files: int, size: int) -> None:
        self._files = files
        self._size = size

    def measure(self, what: str, run: Callable[[], object], before: Callable[[], object]) -> None:
        best = float("inf")
        for _ in range(3):
            before()
            started = time.perf_counter()
            run()
            best = min(best, time.perf_counter() - started)
        rate = f"{self._files / best:>9,.0f} files/s {self._size / best / 1e6:>8,.0f} MB/s"
        sys.stdout.write(f"{what:<44}{best:>8.3f} s {rate}\n")
        sys.stdout.flush()


def floors(bench: Bench, work: Path, tree: Path, tar: Path) -> None:
    """What the machine does without us."""
    packed = work / "floor.gz"
    with igzip.open(packed, "wb", compresslevel=2) as file:
        file.write(tar.read_bytes())
    data, gz = tar.read_bytes(), packed.read_bytes()
    out = work / "floor"

    def clear() -> None:
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir()

    bench.measure("floor: sha256 of the tar", lambda: hashlib.sha256(data), lambda: None)
    bench.measure("floor: gunzip (isal)", lambda: igzip.decompress(gz), lambda: None)
    bench.measure("floor: gzip (isal, level 2)", lambda: igzip.compress(data, 2), lambda: None)
    bench.measure("floor: cp -a", lambda: _run("cp", "-a", f"{tree}/.", str(out)), clear)
    bench.measure("floor: tar -x", lambda: _run("tar", "-xf", str(tar), "-C", str(out)), clear)
    clear()


def _run(*words: str) -> None:
    subprocess.run(words, check=True)


def ours(bench: Bench, work: Path, tree: Path, tar: Path) -> None:
    """The store's own calls."""
    out = work / "out"

    def clear() -> None:
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir()

    def unpack_tar() -> None:
        with tar.open("rb") as stream:
            apply(stream, out)

    bench.measure("capture (tree to tar)", lambda: capture(tree, lambda _: None), lambda: None)
    bench.measure("apply (tar to tree, hashed)", unpack_tar, clear)
    clear()
    data = tar.read_bytes()
    descriptor = Descriptor.of(OCI_LAYER, data)
    for durable in (True, False):
        store = ContentStore(work / f"ingest-{durable}", durable=durable)

        def ingest(store: ContentStore = store) -> None:
            stream = io.BytesIO(data)
            with store.ingest(descriptor) as writer:
                while piece := stream.read(1 << 20):
                    writer.write(piece)
                writer.commit()

        bench.measure(
            f"ingest of the tar (durable={durable})",
            ingest,
            lambda store=store: store.delete(descriptor.digest),
        )
    images(bench, work, tree)


def images(bench: Bench, work: Path, tree: Path) -> None:
    """Packing a snapshot, and unpacking an image of it."""
    content = ContentStore(work / "store", durable=False)
    overlay = OverlaySnapshotter(work / "overlay")
    overlay.prepare("tree", None)
    _run("cp", "-a", f"{tree}/.", str(overlay.changes("tree")))
    bench.measure(
        "write_layer (capture, gzip, ingest)",
        lambda: pack_layer(content, overlay, "tree"),
        lambda: None,
    )
    layer = pack_layer(content, overlay, "tree").layer
    config = dataclasses.replace(
        ImageConfig.empty(Platform.host()), rootfs=RootFS(diff_ids=(layer.diff_id,))
    )
    image = Image.build(config, (layer,))
    for name, snapshotter in (
        ("overlay", overlay),
        ("copying", CopyingSnapshotter(work / "copying")),
    ):

        def forget(snapshotter: OverlaySnapshotter | CopyingSnapshotter = snapshotter) -> None:
            if snapshotter.exists(str(image.chain_id)):
                snapshotter.remove(str(image.chain_id))

        bench.measure(
            f"unpack (verify, gunzip, apply; {name})",
            lambda snapshotter=snapshotter: unpack(image, content, snapshotter),
            forget,
        )
    small(overlay, str(image.chain_id))


def small(overlay: OverlaySnapshotter, chain: str) -> None:
    """What stands between a cell and its container."""
    count = 200
    started = time.perf_counter()
    for index in range(count):
        overlay.prepare(f"container {index}", chain)
    middle = time.perf_counter()
    for index in range(count):
        overlay.remove(f"container {index}", wait=False)
    ended = time.perf_counter()
    sys.stdout.write(f"prepare {(middle - started) / count * 1e3:.3f} ms, ")
    sys.stdout.write(f"remove without wait {(ended - middle) / count * 1e3:.3f} ms\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--megabytes", type=int, default=150)
    parser.add_argument("--root", type=Path, default=None)
    options = parser.parse_args()
    work = Path(tempfile.mkdtemp(prefix="bench-store-", dir=options.root))
    try:
        tree, tar = work / "tree", work / "tree.tar"
        tree.mkdir()
        make_tree(tree, options.files, options.megabytes * 1_000_000)
        with tar.open("wb") as file:
            capture(tree, file.write)
        bench = Bench(options.files, options.megabytes * 1_000_000)
        os.sync()
        floors(bench, work, tree, tar)
        ours(bench, work, tree, tar)
    finally:
        shutil.rmtree(work)


if __name__ == "__main__":
    main()
