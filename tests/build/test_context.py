"""Contexts: directories, tars in each packing, and the digests that are remembered."""

from __future__ import annotations

import gzip
import io
import os
import tarfile
import time
from pathlib import Path

import pytest
import zstandard

from workbench.build.context import BuildContext, unpack_context
from workbench.build.digests import DigestCache, hash_file
from workbench.errors import Corrupt, InvalidInput, NotFound


def _tar(*names: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name in names:
            member = tarfile.TarInfo(name)
            member.size = len(name)
            tar.addfile(member, io.BytesIO(name.encode()))
    return buffer.getvalue()


@pytest.mark.parametrize("pack", [bytes, gzip.compress, zstandard.compress])
def test_a_tar_in_each_packing(tmp_path: Path, pack: object) -> None:
    data = pack(_tar("Dockerfile", "a/b"))  # type: ignore[operator]
    unpack_context(io.BytesIO(data), tmp_path)
    assert (tmp_path / "a/b").read_text() == "a/b"
    context = BuildContext.whole(tmp_path)
    assert context.read_dockerfile("Dockerfile", limit=100) == "Dockerfile"


def test_a_tar_does_not_lead_out(tmp_path: Path) -> None:
    inside = tmp_path / "in"
    inside.mkdir()
    with pytest.raises(Corrupt):
        unpack_context(io.BytesIO(_tar("../out")), inside)
    assert not (tmp_path / "out").exists()


def test_what_is_no_context(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="not found"):
        BuildContext.open(tmp_path / "none")
    (tmp_path / "file").touch()
    with pytest.raises(InvalidInput, match="is no directory"):
        BuildContext.open(tmp_path / "file")
    (tmp_path / ".dockerignore").write_text("[\n")
    with pytest.raises(InvalidInput, match="syntax error in pattern"):
        BuildContext.open(tmp_path)


def test_a_dockerfile_that_is_not_there_or_no_text(tmp_path: Path) -> None:
    context = BuildContext.whole(tmp_path)
    with pytest.raises(NotFound, match="open Dockerfile: no such file"):
        context.read_dockerfile("Dockerfile", limit=10)
    (tmp_path / "Dockerfile").write_bytes(b"\xff")
    with pytest.raises(InvalidInput, match="not UTF-8"):
        context.read_dockerfile("Dockerfile", limit=10)


def test_digests_are_remembered_across_processes(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * 200_000)
    fd = os.open(path, os.O_RDONLY)
    status = os.fstat(fd)
    digest = hash_file(fd, status.st_size)
    os.close(fd)
    time.sleep(0.15)
    cache = DigestCache(tmp_path / "cache")
    assert cache.get(status) is None
    cache.put(status, digest)
    cache.save()
    assert DigestCache(tmp_path / "cache").get(status) == digest
    path.write_bytes(b"y" * 200_000)
    assert DigestCache(tmp_path / "cache").get(path.stat()) is None


def test_a_file_that_changed_just_now_is_not_remembered(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()
    cache = DigestCache()
    cache.put(path.stat(), b"d" * 32)
    assert cache.get(path.stat()) is None


def test_a_damaged_cache_is_ignored(tmp_path: Path) -> None:
    (tmp_path / "cache").write_bytes(b"digests1" + b"junk" * 40)
    assert DigestCache(tmp_path / "cache").get(tmp_path.stat()) is None
