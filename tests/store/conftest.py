"""What the store's tests share: stores in temporary folders, small images, trees as values."""

from __future__ import annotations

import dataclasses
import io
import os
import stat
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from workbench.oci.descriptor import OCI_LAYER, Platform
from workbench.oci.image import History, Image, ImageConfig, Layer, append_layer
from workbench.store.content import ContentStore
from workbench.store.options import ApplyOptions

ROOT = os.geteuid() == 0


@pytest.fixture
def content(tmp_path: Path) -> ContentStore:
    return ContentStore(tmp_path / "store", durable=False)


@pytest.fixture
def options() -> ApplyOptions:
    """What this user may do."""
    return ApplyOptions(owners=ROOT, devices=ROOT, user_attributes=not ROOT)


def tar_of(*members: dict[str, Any] | str) -> bytes:
    """A tar made by Python's own writer; a member is its name or tarfile's fields and ``data``."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for member in members:
            fields = {"name": member} if isinstance(member, str) else dict(member)
            data = fields.pop("data", b"")
            if isinstance(member, str) and member.endswith("/"):
                fields["type"] = tarfile.DIRTYPE
            info = tarfile.TarInfo()
            info.mode = 0o755 if fields.get("type") == tarfile.DIRTYPE else 0o644
            for key, value in fields.items():
                setattr(info, key, value)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def listing(root: Path) -> dict[str, tuple[Any, ...]]:
    """A tree as a value: path to (kind, mode, what it holds)."""
    found: dict[str, tuple[Any, ...]] = {}
    for folder, folders, files in os.walk(root):
        for name in folders + files:
            path = Path(folder) / name
            status = path.lstat()
            if stat.S_ISDIR(status.st_mode):
                held: Any = None
            elif stat.S_ISLNK(status.st_mode):
                held = str(path.readlink())
            elif stat.S_ISREG(status.st_mode):
                held = path.read_bytes()
            else:
                held = status.st_rdev
            kind = stat.S_IFMT(status.st_mode)
            mode = 0 if stat.S_ISLNK(status.st_mode) else stat.S_IMODE(status.st_mode)
            found[str(path.relative_to(root))] = (kind, mode, held)
    return found


def put_layer(content: ContentStore, data: bytes) -> Layer:
    """A tar as a plain layer of the store."""
    descriptor = content.put(OCI_LAYER, data)
    return Layer(descriptor=descriptor, diff_id=descriptor.digest)


@pytest.fixture
def make_image(content: ContentStore) -> Callable[..., Image]:
    """``make_image(tar, ...)``: an image of these layers, in the store."""

    def make(*tars: bytes) -> Image:
        image = Image.build(ImageConfig.empty(Platform.host()), ())
        for data in tars:
            layer = put_layer(content, data)
            image = append_layer(image, layer, History(created_by="test"))
        return store_image(content, image)

    return make


def store_image(content: ContentStore, image: Image) -> Image:
    """Put the documents of an image into the store."""
    content.put(image.blobs()[0].media_type, image.raw_config)
    content.put(image.descriptor.media_type, image.raw_manifest)
    return dataclasses.replace(image)
