"""Trees read and removed as root of a user namespace, by a process of its own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from workbench.errors import InvalidInput
from workbench.oci.runtime_spec import IDMapping
from workbench.runtime import idmap
from workbench.store.access import MappedAccess, TreeAccess
from workbench.store.options import ignore

OWN, SUBORDINATE = 65534, 300_000


def _map(pid: int) -> None:
    maps = [
        IDMapping(container_id=0, host_id=OWN, size=1),
        IDMapping(container_id=1, host_id=SUBORDINATE, size=1000),
    ]
    idmap.write_maps(pid, maps, maps)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """What a container with many ids leaves: another owner's closed folder, a file without mode."""
    made = tmp_path / "tree"
    (made / "closed").mkdir(parents=True)
    (made / "closed/secret").write_text("text")
    for path in (made / "closed/secret", made / "closed"):
        path.chmod(0o700 if path.is_dir() else 0)
        os.chown(path, SUBORDINATE + 6, SUBORDINATE + 6)
    os.chown(made, OWN, OWN)
    return made


@pytest.mark.kernel
def test_owners_are_those_that_the_container_saw(tree: Path) -> None:
    contents = {}
    owners = {}
    for entry, file in MappedAccess(_map).members(tree, lowers=(), notice=ignore):
        owners[entry.name] = (entry.kind, entry.uid, entry.gid, entry.mode)
        contents[entry.name] = os.read(file, 100) if file is not None else None
    assert owners == {"closed/": ("dir", 7, 7, 0o700), "closed/secret": ("file", 7, 7, 0)}
    assert contents == {"closed/": None, "closed/secret": b"text"}


@pytest.mark.kernel
def test_a_reader_that_stops_early_leaves_no_process_and_no_descriptor(tree: Path) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    members = MappedAccess(_map).members(tree, lowers=(), notice=ignore)
    next(members)
    next(members)
    members.close()  # type: ignore[attr-defined]
    assert len(list(Path("/proc/self/fd").iterdir())) == before


@pytest.mark.kernel
def test_errors_come_through_as_they_are(tree: Path, tmp_path: Path) -> None:
    (tree / ".wh.name").touch()
    access = MappedAccess(_map)
    with pytest.raises(InvalidInput, match=r"\.wh\.name") as caught:
        list(access.members(tree, lowers=(), notice=ignore))
    assert "removal" in caught.value.hint
    with pytest.raises(FileNotFoundError):
        list(access.members(tmp_path / "never", lowers=(), notice=ignore))


@pytest.mark.kernel
def test_what_its_owner_cannot_remove_root_of_the_namespace_can(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_name: str) -> None:
        raise PermissionError

    monkeypatch.setattr("workbench.store.access.remove_tree", refuse)
    os.chown(tree.parent, OWN, OWN)
    MappedAccess(_map).remove(tree)
    assert not tree.exists()


@pytest.mark.kernel
def test_measuring_is_the_same_either_way(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = TreeAccess().measure(tree)

    def refuse(_path: Path) -> None:
        raise PermissionError

    monkeypatch.setattr("workbench.store.access.measure", refuse)
    assert MappedAccess(_map).measure(tree) == plain
