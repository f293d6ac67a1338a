"""The doctor: a mend for what is missing, and none for what is there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from workbench.engine.doctor import diagnose
from workbench.linux.host import Host

LACKING = Host(uid=1000, gid=1000, rootless=True)
WHOLE = Host(
    uid=0, gid=0, rootless=False, overlay=True, cgroup="v2", cgroup_writable=("memory",),
    seccomp=True, nftables=True, rung="root",
)  # fmt: skip


def mends(host: Host) -> dict[str, str]:
    return {line.name: line.mend for line in diagnose(host, Path("/r")).capabilities if line.mend}


def test_what_is_there_needs_no_mend() -> None:
    assert all(line.available for line in diagnose(WHOLE, Path("/r")).capabilities)
    assert mends(WHOLE) == {}


def test_what_is_missing_comes_with_its_mend() -> None:
    found = mends(LACKING)
    assert "WORKBENCH_ROOT" in found["overlay file system"]
    assert "Delegate=yes" in found["limits (cgroups)"]
    assert "uidmap" in found["many user ids"]
    assert "slirp4netns" in found["networks and ports"]


def test_a_closed_network_device_is_named_before_a_package_that_is_there() -> None:
    host = replace(
        LACKING, slirp4netns="/usr/bin/slirp4netns", reasons=(("network", "no access to it"),)
    )
    assert mends(host)["networks and ports"] == "chmod 0666 /dev/net/tun as root"
