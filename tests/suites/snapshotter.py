"""What every snapshotter does: a suite that runs over any, given a fixture ``snapshotter``."""

from __future__ import annotations

import io
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from workbench.errors import Conflict, InvalidInput, NotFound, WorkbenchError
from workbench.store.layer import write_members
from workbench.store.snapshots import Kind, SnapshotInfo, Snapshotter
from workbench.store.tar_read import TarReader


class SnapshotterSuite:
    """Subclass it beside a fixture ``snapshotter``."""

    @pytest.fixture
    def stack(self, snapshotter: Snapshotter) -> Snapshotter:
        """Two committed layers: "one" with a, d/x; "two" on it with b."""
        snapshotter.prepare("k1", None)
        root = snapshotter.changes("k1")
        (root / "a").write_text("a")
        (root / "d").mkdir()
        (root / "d/x").write_text("x")
        snapshotter.commit("k1", "one")
        snapshotter.prepare("k2", "one")
        (snapshotter.changes("k2") / "b").write_text("bb")
        snapshotter.commit("k2", "two")
        return snapshotter

    def infos(self, snapshotter: Snapshotter) -> set[tuple[str, str | None, Kind]]:
        return {(info.key, info.parent, info.kind) for info in snapshotter.walk()}

    def test_a_new_one_is_empty_and_writable(self, snapshotter: Snapshotter) -> None:
        (mount,) = snapshotter.prepare("k", None)
        assert list(snapshotter.changes("k").iterdir()) == []
        assert "ro" not in mount.options
        assert snapshotter.mounts("k") == [mount]
        assert Path(mount.source).is_absolute() or mount.type == "overlay"

    def test_life(self, stack: Snapshotter) -> None:
        stack.prepare("container", "two")
        assert self.infos(stack) == {
            ("one", None, Kind.COMMITTED),
            ("two", "one", Kind.COMMITTED),
            ("container", "two", Kind.ACTIVE),
        }
        assert stack.exists("container")
        assert stack.info("two") == SnapshotInfo(
            key="two", parent="one", kind=Kind.COMMITTED, used=stack.info("two").used
        )
        assert stack.remove("container") is True
        assert not stack.exists("container")

    def test_commit_moves_the_key(self, stack: Snapshotter) -> None:
        assert not stack.exists("k1")
        with pytest.raises(NotFound):
            stack.mounts("k1")
        with pytest.raises(Conflict):
            stack.mounts("one")
        assert stack.changes("one").joinpath("a").read_text() == "a"

    def test_names_are_taken_once(self, stack: Snapshotter) -> None:
        stack.prepare("k", "one")
        for key in ("k", "one", "two"):
            with pytest.raises(Conflict):
                stack.prepare(key, None)
            with pytest.raises(Conflict):
                stack.view(key, None)
        with pytest.raises(Conflict):
            stack.commit("k", "two")
        assert stack.exists("k")
        assert stack.info("k").kind is Kind.ACTIVE

    def test_parents_must_be_committed(self, stack: Snapshotter) -> None:
        stack.prepare("active", "one")
        with pytest.raises(Conflict):
            stack.prepare("k", "active")
        with pytest.raises(NotFound):
            stack.prepare("k", "never")
        assert not stack.exists("k")

    def test_only_active_ones_are_committed(self, stack: Snapshotter) -> None:
        stack.view("v", "one")
        for key, error in (("v", Conflict), ("one", Conflict), ("never", NotFound)):
            with pytest.raises(error):
                stack.commit(key, "new")

    def test_a_view_is_read_only(self, stack: Snapshotter) -> None:
        for parent in (None, "one", "two"):
            (mount,) = stack.view(f"view of {parent}", parent)
            assert "ro" in mount.options
            assert not [item for item in mount.options if item.startswith("upperdir")]

    def test_parents_are_not_removed(self, stack: Snapshotter) -> None:
        stack.prepare("k", "two")
        for key in ("one", "two"):
            with pytest.raises(Conflict):
                stack.remove(key)
        for key in ("k", "two", "one"):
            stack.remove(key)
        assert self.infos(stack) == set()

    def test_what_is_not_there(self, snapshotter: Snapshotter) -> None:
        for call in (
            snapshotter.mounts,
            snapshotter.changes,
            snapshotter.lowers,
            snapshotter.usage,
            snapshotter.info,
            snapshotter.remove,
            snapshotter.members,
        ):
            with pytest.raises(NotFound):
                call("never")
        assert not snapshotter.exists("never")

    @pytest.mark.parametrize(
        "key", ["sha256:" + "0" * 64, "a b", "../up", "/etc", ".", "..", "é", "%2F", "x" * 200]
    )
    def test_keys_of_any_text(self, snapshotter: Snapshotter, key: str) -> None:
        snapshotter.prepare(key, None)
        snapshotter.commit(key, f"{key}!")
        assert self.infos(snapshotter) == {(f"{key}!", None, Kind.COMMITTED)}

    @pytest.mark.parametrize("key", ["", "x" * 300])
    def test_keys_that_cannot_be(self, snapshotter: Snapshotter, key: str) -> None:
        with pytest.raises(InvalidInput):
            snapshotter.prepare(key, None)

    def test_changes_are_seen_as_members(self, stack: Snapshotter) -> None:
        assert self.members(stack, "one") == ["a", "d/", "d/x"]
        assert self.members(stack, "two") == ["b"]

    def members(self, snapshotter: Snapshotter, key: str) -> list[str]:
        out = io.BytesIO()
        write_members(snapshotter.members(key), out.write)
        return [entry.name for entry in TarReader(io.BytesIO(out.getvalue()))]

    def test_usage_counts_bytes_and_inodes(self, snapshotter: Snapshotter) -> None:
        snapshotter.prepare("k", None)
        root = snapshotter.changes("k")
        (root / "f").write_bytes(bytes(1000))
        (root / "g").hardlink_to(root / "f")
        (root / "d").mkdir()
        usage = snapshotter.usage("k")
        assert (usage.bytes, usage.inodes) == (1000, 2)
        snapshotter.commit("k", "one")
        assert snapshotter.usage("one") == snapshotter.usage("one") == usage

    def test_the_roots_looks_are_handed_on(self, snapshotter: Snapshotter) -> None:
        snapshotter.prepare("k", None)
        snapshotter.changes("k").chmod(0o1710)
        snapshotter.commit("k", "one")
        snapshotter.prepare("l", "one")
        assert snapshotter.changes("l").stat().st_mode & 0o7777 == 0o1710

    def test_removed_ones_go_with_the_sweep(self, stack: Snapshotter) -> None:
        tree = stack.changes("two")
        assert stack.remove("two", wait=False)
        assert not tree.exists()
        assert stack.sweep() == 1
        assert stack.sweep() == 0
        assert self.infos(stack) == {("one", None, Kind.COMMITTED)}

    def test_a_use_spares_a_snapshot(self, stack: Snapshotter) -> None:
        cutoff = time.time() + 0.02
        time.sleep(0.04)
        assert stack.exists("two")
        assert stack.remove("two", unused_since=cutoff) is False
        assert stack.remove("two", unused_since=time.time() + 60) is True

    def test_exclusive_names(self, snapshotter: Snapshotter) -> None:
        with snapshotter.exclusive("name"):
            with snapshotter.try_exclusive("name") as held:
                assert held is None
            with snapshotter.try_exclusive("other") as held:
                assert held is not None
            snapshotter.sweep()
            with snapshotter.try_exclusive("name") as held:
                assert held is None
        with snapshotter.try_exclusive("name") as held:
            assert held is not None

    def test_many_threads_at_once(self, stack: Snapshotter) -> None:
        errors: list[Exception] = []

        def work(thread: int) -> None:
            try:
                for number in range(10):
                    stack.prepare(f"{thread} {number}", "two")
                    if number % 2:
                        stack.remove(f"{thread} {number}", wait=False)
                    else:
                        stack.commit(f"{thread} {number}", f"done {thread} {number}")
                    stack.sweep()
            except (WorkbenchError, OSError) as error:
                errors.append(error)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert errors == []
        done = {key for key, _, _ in self.infos(stack) if key.startswith("done")}
        assert done == {f"done {t} {n}" for t in range(4) for n in range(0, 10, 2)}

    def test_two_threads_commit_one_name(self, stack: Snapshotter) -> None:
        outcomes: list[str] = []
        barrier = threading.Barrier(4)

        def work(key: str) -> None:
            stack.prepare(key, "two")
            barrier.wait(10)
            try:
                stack.commit(key, "winner")
                outcomes.append("won")
            except Conflict:
                outcomes.append("lost")

        threads = [threading.Thread(target=work, args=(f"k{n}",)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert sorted(outcomes) == ["lost"] * 3 + ["won"]

    def test_a_killed_process_leaves_no_half_snapshot(
        self, stack: Snapshotter, tmp_path: Path
    ) -> None:
        """Whatever step the child dies after, the records are whole again after a sweep."""
        for step in range(12):
            child = os.fork()
            if not child:
                _die_after(step, lambda: stack.prepare("victim", "two"))
                os._exit(1)
            os.waitpid(child, 0)
            if stack.exists("victim"):
                assert stack.changes("victim").is_dir()
                assert stack.mounts("victim")
                stack.remove("victim")
            stack.sweep()
            assert list(stack.damaged()) == []
            assert self.infos(stack) == {
                ("one", None, Kind.COMMITTED),
                ("two", "one", Kind.COMMITTED),
            }


def _die_after(step: int, call: Callable[[], object]) -> None:
    """Run ``call`` and end the process after the given number of changes to the file system."""
    left = [step]

    def audit(event: str, _arguments: object) -> None:
        if event in ("os.mkdir", "os.symlink", "os.rename", "os.utime", "os.chmod"):
            if left[0] == 0:
                os._exit(0)
            left[0] -= 1

    sys.addaudithook(audit)
    call()
    os._exit(0)
