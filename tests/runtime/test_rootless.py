"""The same containers for a user who is not root: in a process that gave root up."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import make_lower

pytestmark = pytest.mark.kernel
NOBODY = 65534
PYTHON = "/usr/bin/python3"
ROOT = Path(__file__).resolve().parents[2]

PROGRAM = """
import json, os, sys
sys.path[:0] = [{root!r}]
from pathlib import Path
from workbench.linux.host import probe
from workbench.linux.mount import overlay
from workbench.oci.runtime_spec import *
from workbench.oci.codec import loads
from workbench.runtime import state
from workbench.runtime.bundle import Bundle
from workbench.runtime.create import create
from workbench.runtime.execute import execute
from workbench.errors import WorkbenchError

place = Path({place!r})
host = probe(place)
asked = json.loads(sys.argv[1])
one = (IDMapping(container_id=0, host_id=os.getuid(), size=1),)
mounts = tuple(MountPoint(destination=d, type=t, source=t, options=tuple(o)) for d, t, o in (
    ("/proc", "proc", ()), ("/dev", "tmpfs", ("mode=755",)),
    ("/dev/pts", "devpts", ("newinstance", "ptmxmode=0666", "gid=5")), ("/sys", "sysfs", ("ro",))))
linux = Linux(namespaces=tuple(Namespace(type=kind) for kind in asked["kinds"]),
              uid_mappings=one, gid_mappings=one, masked_paths=("/proc/timer_list",),
              resources=Resources(pids=PidsLimits(limit=5)) if asked.get("limit") else None)
process = Process(args=("sh", "-c", asked["script"]), env=("PATH=/bin",), oom_score_adj=50)
spec = Spec(root=Root(path="rootfs"), hostname="box", process=process, mounts=mounts, linux=linux)
for name in ("rootfs", "upper", "work"):
    (place / "b" / name).mkdir(parents=True)
layers = overlay([place / "lower"], place / "b/upper", place / "b/work", userxattr=True)
bundle = Bundle.write(place / "b", spec, (layers,))
try:
    made = create(bundle, "c", host=host)
    made.start()
    if asked.get("execute"):
        further = Process(args=("sh", "-c", asked["execute"]), env=("PATH=/bin",))
        done = execute(bundle.path, further, host=host)
        os.waitpid(done.pid, 0)
        state.kill(bundle.path, 9)
    code = os.waitstatus_to_exitcode(os.waitpid(made.pid, 0)[1])
    state.delete(bundle.path)
except WorkbenchError as error:
    sys.stdout.write(type(error).__name__ + ": " + str(error))
    code = 99
sys.exit(code & 0xFF)
"""


@pytest.fixture
def rootless(
    tmp_path: Path, require: Callable[..., None]
) -> Callable[..., subprocess.CompletedProcess[str]]:
    require(Path(PYTHON).exists(), "needs the system's own python3")
    require(os.access(ROOT, os.X_OK), "the source must be readable for everybody")
    for parent in tmp_path.parents:
        if parent not in (Path("/"), Path("/tmp")):
            parent.chmod(parent.stat().st_mode | 0o055)
    tmp_path.chmod(0o755)
    place = tmp_path / "work"
    place.mkdir()
    make_lower(place / "lower")
    for path in (place, *place.rglob("*")):
        os.chown(path, NOBODY, NOBODY, follow_symlinks=False)
    program = tmp_path / "program.py"
    program.write_text(PROGRAM.format(root=str(ROOT), place=str(place)))

    def run(script: str, kinds: tuple[str, ...] = ("user", "pid", "network", "mount", "ipc", "uts"),
            **more: object) -> subprocess.CompletedProcess[str]:  # fmt: skip
        asked = json.dumps({"script": script, "kinds": kinds, **more})
        return subprocess.run(
            [PYTHON, "-B", str(program), asked], user=NOBODY, group=NOBODY, extra_groups=[],
            capture_output=True, text=True, timeout=60, cwd="/", env={},
        )  # fmt: skip

    probe = run("true")
    require("namespaces" not in probe.stdout, f"no user namespaces: {probe.stdout}")

    shutil.rmtree(place / "b")
    return run


def test_an_ordinary_user_is_root_inside(
    rootless: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    run = rootless("id -u; hostname; touch /made && stat -c %u /made; echo > /dev/null; exit 7")
    assert run.returncode == 7, run.stderr
    assert run.stdout.split() == ["0", "box", "0"]


def test_masks_and_oom_score(rootless: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    run = rootless("cat /proc/timer_list; cat /proc/self/oom_score_adj")
    assert (run.returncode, run.stdout) == (0, "50\n"), run.stderr


def test_without_pid_and_network_namespaces_proc_and_sys_are_bound(
    rootless: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    run = rootless("cat /proc/self/mountinfo", kinds=("user", "mount", "uts"))
    assert run.returncode == 0, run.stdout + run.stderr
    assert " /proc " in run.stdout
    assert " /sys ro" in run.stdout


def test_a_further_process(rootless: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    run = rootless("sleep 60", execute="id -u; ps; readlink /proc/1/exe")
    assert "sleep 60" in run.stdout, run.stderr
    assert run.stdout.startswith("0\n")
    assert run.stdout.endswith("/bin/busybox\n")


def test_limits_without_delegation_are_refused(
    rootless: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    run = rootless("true", limit=True)
    if run.returncode == 0:
        pytest.skip("cgroups are delegated to this user")
    assert run.stdout.startswith("Unsupported: limits (pids) need a cgroup"), run.stdout
