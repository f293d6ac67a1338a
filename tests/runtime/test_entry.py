"""Ways into a cgroup."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from workbench.linux import cgroup
from workbench.linux.mount import mountinfo
from workbench.runtime import entry

pytestmark = pytest.mark.kernel


def test_a_child_begins_in_a_group_of_v2(require: Callable[..., None]) -> None:
    top = next((entry.target for entry in mountinfo() if entry.type == "cgroup2"), "")
    require(top and os.access(top, os.W_OK), "needs a cgroup2 mount that may be written")
    place = Path(top, f"test-entry-{os.getpid()}")
    place.mkdir()
    try:
        pid, inside = entry.fork_into(cgroup.at({"": str(place)}), 0)
        if pid == 0:
            text = Path("/proc/self/cgroup").read_text()
            os._exit(0 if f"0::/{place.name}\n" in text else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        assert inside
    finally:
        place.rmdir()


def test_a_group_that_is_gone_leaves_the_child_where_it_was() -> None:
    pid, inside = entry.fork_into(cgroup.at({"": "/no/such/group"}), 0)
    if pid == 0:
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert not inside
