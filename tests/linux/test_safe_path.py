"""Paths beneath a root: with openat2 and by hand, the same."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from workbench.linux import libc, safe_path
from workbench.linux.safe_path import (
    make_directories,
    make_file,
    open_beneath,
    resolve_in_root,
)


@pytest.fixture(params=["openat2", "by hand"])
def tree(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    """A root with links that try to leave it, beside a secret."""
    if request.param == "by hand":

        def missing(name: str, *_: object) -> int:
            raise OSError(errno.ENOSYS, name)

        monkeypatch.setattr(safe_path.libc, "syscall", missing)
    root = tmp_path / "root"
    (root / "a/b").mkdir(parents=True)
    (root / "a/file").write_text("inside")
    (root / "etc").mkdir()
    (root / "etc/secret").write_text("inside secret")
    (tmp_path / "secret").write_text("outside")
    (root / "up").symlink_to("../../../../../../..")
    (root / "absolute").symlink_to("/etc/secret")
    (root / "relative").symlink_to("a/../a/file")
    (root / "loop").symlink_to("loop")
    (root / "dangling").symlink_to("/made/later")
    (root / "climb").symlink_to("../secret")
    yield root


def content(root: Path, path: str) -> str:
    descriptor = open_beneath(root, path, os.O_RDONLY)
    try:
        return os.read(descriptor, 100).decode()
    finally:
        os.close(descriptor)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("a/file", "inside"),
        ("/a/file", "inside"),
        ("relative", "inside"),
        ("absolute", "inside secret"),
        ("up/etc/secret", "inside secret"),
        ("../../../etc/secret", "inside secret"),
        ("a/b/../../etc/./secret", "inside secret"),
    ],
)
def test_links_mean_what_they_mean_inside(tree: Path, path: str, text: str) -> None:
    assert content(tree, path) == text


@pytest.mark.parametrize("path", ["climb", "up/secret", "../secret", "none", "a/none/x"])
def test_what_lies_outside_is_not_there(tree: Path, path: str) -> None:
    with pytest.raises(FileNotFoundError):
        content(tree, path)


def test_loops_and_refused_links(tree: Path) -> None:
    with pytest.raises(OSError, match=r".*") as caught:
        content(tree, "loop")
    assert caught.value.errno == errno.ELOOP
    with pytest.raises(OSError, match=r".*") as caught:
        open_beneath(tree, "relative", os.O_RDONLY, follow=False)
    assert caught.value.errno == errno.ELOOP


def test_the_root_itself(tree: Path) -> None:
    for path in ("", "/", ".", ".."):
        descriptor = open_beneath(tree, path, os.O_PATH)
        assert os.fstat(descriptor).st_ino == tree.stat().st_ino
        assert not os.get_inheritable(descriptor)
        os.close(descriptor)


def test_files_are_made(tree: Path) -> None:
    descriptor = open_beneath(tree, "a/new", os.O_CREAT | os.O_WRONLY | os.O_EXCL, 0o600)
    os.close(descriptor)
    assert stat.S_IMODE((tree / "a/new").stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("path", "made"),
    [
        ("x/y/z", "x/y/z"),
        ("up/x/y", "x/y"),
        ("dangling/sub", "made/later/sub"),
        ("a/b", "a/b"),
        ("../../q", "q"),
    ],
)
def test_directories_are_made_inside(tree: Path, path: str, made: str) -> None:
    os.close(make_directories(tree, path))
    assert (tree / made).is_dir()
    assert sorted(entry.name for entry in tree.parent.iterdir()) == ["root", "secret"]


def test_a_file_in_the_way_is_told(tree: Path) -> None:
    with pytest.raises(NotADirectoryError):
        make_directories(tree, "a/file/x")


@pytest.mark.parametrize("path", ["n/e/w", "up/n", "a/file", "dangling"])
def test_mount_points_for_files(tree: Path, path: str) -> None:
    descriptor = make_file(tree, path)
    assert stat.S_ISREG(os.fstat(descriptor).st_mode)
    os.close(descriptor)
    assert sorted(entry.name for entry in tree.parent.iterdir()) == ["root", "secret"]


def test_descriptors_are_not_leaked(tree: Path) -> None:
    before = _descriptors()
    for path in ("x/y", "loop", "a/file/x", "up/etc"):
        try:
            os.close(make_directories(tree, path))
        except OSError:
            continue
    assert _descriptors() == before


def test_magic_links_are_not_followed() -> None:
    with pytest.raises(OSError, match=r".*"):
        open_beneath("/", f"/proc/{os.getpid()}/root/etc/passwd", os.O_RDONLY)


def test_a_rename_race_does_not_lead_outside(tmp_path: Path) -> None:
    """EAGAIN from the kernel is tried again, not given up."""
    calls = []
    real = libc.syscall

    def flaky(name: str, *arguments: object) -> int:
        calls.append(name)
        if len(calls) < 3:
            raise OSError(errno.EAGAIN, name)
        return real(name, *arguments)  # type: ignore[arg-type]

    safe_path.libc.syscall, saved = flaky, real
    try:
        os.close(open_beneath(tmp_path, "", os.O_PATH))
    finally:
        safe_path.libc.syscall = saved
    assert len(calls) == 3


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("a/file", "a/file"),
        ("up/x", "x"),
        ("absolute", "etc/secret"),
        ("dangling/y", "made/later/y"),
        ("../..", ""),
    ],
)
def test_names_on_the_host(tree: Path, path: str, expected: str) -> None:
    assert resolve_in_root(tree, path) == f"{tree}/{expected}".rstrip("/")


def _descriptors() -> set[str]:
    return {entry.name for entry in Path("/proc/self/fd").iterdir()}
