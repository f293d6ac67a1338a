"""Finding the hierarchies in the texts of /proc."""

from __future__ import annotations

from workbench.linux.cgroup_mounts import find, locate

V1 = """\
30 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755
32 30 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
35 30 0:32 /docker/abc /sys/fs/cgroup/memory ro,nosuid - cgroup cgroup rw,memory
40 30 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd
41 30 0:38 / /sys/fs/cgroup/uni\\040fied rw - cgroup2 cgroup2 rw
"""
OWN = """\
4:memory:/docker/abc
2:cpu,cpuacct:/
1:name=systemd:/
0::/
"""


def test_every_tree_is_found_with_its_controllers() -> None:
    found = find(V1, OWN)
    assert [item.controllers for item in found.v1] == [
        ("cpu", "cpuacct"),
        ("memory",),
        ("name=systemd",),
    ]
    assert found.v1[0].own == "/sys/fs/cgroup/cpu,cpuacct"
    assert found.v2 is not None
    assert found.v2.mount == "/sys/fs/cgroup/uni fied"


def test_a_mount_that_starts_at_our_own_group_is_our_place() -> None:
    memory = find(V1, OWN).v1[1]
    assert memory.own == memory.mount == "/sys/fs/cgroup/memory"


def test_a_host_without_cgroups_has_none() -> None:
    found = find("23 1 8:1 / / rw - ext4 /dev/sda rw\n", "")
    assert (found.v1, found.v2) == ((), None)


def test_a_process_is_located_in_every_tree() -> None:
    place = locate("4:memory:/docker/abc\n2:cpu,cpuacct:/\n0::/\n", find(V1, OWN))
    assert place == {
        "memory": "/sys/fs/cgroup/memory",
        "cpu": "/sys/fs/cgroup/cpu,cpuacct",
        "cpuacct": "/sys/fs/cgroup/cpu,cpuacct",
        "": "/sys/fs/cgroup/uni fied",
    }
