"""The facts about a machine."""

from __future__ import annotations

import os
import time
from pathlib import Path

from workbench.linux import host
from workbench.linux.mount import mountinfo


def test_probe_never_raises_and_leaves_nothing(tmp_path: Path) -> None:
    mounts = mountinfo()
    found = host.probe(tmp_path)
    assert mountinfo() == mounts
    assert list(tmp_path.iterdir()) == []
    assert found.uid == os.geteuid()
    assert found.rootless == (os.geteuid() != 0)
    assert found.machine == os.uname().machine
    assert "mount" in found.namespaces
    assert found.rung in ("root", "rootless", "rootless-bound-proc", "chroot", "images-only")


def test_a_root_that_does_not_exist_is_tried_at_its_parent(tmp_path: Path) -> None:
    assert host.probe(tmp_path / "a/b/c").overlay == host.probe(tmp_path).overlay
    assert not (tmp_path / "a").exists()


def test_probe_is_quick(tmp_path: Path) -> None:
    host.probe(tmp_path)
    before = time.perf_counter()
    host.probe(tmp_path)
    assert time.perf_counter() - before < 0.5


def test_the_own_id_comes_first_then_the_granted_ranges(tmp_path: Path) -> None:
    name = str(os.geteuid())
    table = tmp_path / "subuid"
    table.write_text(f"other:1:2\n{name}:100000:65536\n# no\n{name}:x:1\n{name}:300000:10\n")
    found = host._mapped(str(table), 1000, True)
    assert [(m.container_id, m.host_id, m.size) for m in found] == [
        (0, 1000, 1), (1, 100_000, 65_536), (65_537, 300_000, 10),
    ]  # fmt: skip
    assert len(host._mapped(str(table), 1000, False)) == 1


def test_an_overlay_that_cannot_be_mounted_has_a_reason(tmp_path: Path) -> None:
    assert "cannot be mounted below" in host.try_overlay(tmp_path / "missing", userxattr=False)


def test_outside_tools_are_looked_for_in_system_directories() -> None:
    assert host.find_tool("sh").endswith("/sh")
    assert host.find_tool("no-such-tool") == ""
