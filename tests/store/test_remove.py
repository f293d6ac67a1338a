"""Removing trees: at any depth, whatever the modes, and never through a link."""

from __future__ import annotations

import os
from pathlib import Path

from workbench.store.remove import remove_tree


def test_files_links_and_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/kept").touch()
    (tmp_path / "link").symlink_to("outside")
    for name in ("file", "link", "never"):
        remove_tree(str(tmp_path / name))
    assert [path.name for path in tmp_path.iterdir()] == ["outside"]


def test_links_inside_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/kept").touch()
    (tmp_path / "tree/d").mkdir(parents=True)
    (tmp_path / "tree/d/link").symlink_to(tmp_path / "outside")
    remove_tree(str(tmp_path / "tree"))
    assert (tmp_path / "outside/kept").exists()
    assert not (tmp_path / "tree").exists()


def test_a_bottomless_tree(tmp_path: Path) -> None:
    """Deeper than Python recurses, and than a path may be long."""
    (tmp_path / "tree").mkdir()
    fd = os.open(tmp_path / "tree", os.O_RDONLY)
    for _ in range(3000):
        os.mkdir("d", dir_fd=fd)
        os.mkdir(".removed-1", dir_fd=fd)
        inner = os.open("d", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = inner
    os.close(fd)
    remove_tree(str(tmp_path / "tree"))
    assert list(tmp_path.iterdir()) == []


def test_folders_without_permission(tmp_path: Path) -> None:
    (tmp_path / "tree/work/inner").mkdir(parents=True)
    (tmp_path / "tree/work/inner/f").touch()
    (tmp_path / "tree/work/inner").chmod(0)
    (tmp_path / "tree/work").chmod(0o500)
    remove_tree(str(tmp_path / "tree"))
    assert not (tmp_path / "tree").exists()
