"""An ordinary user, end to end: doctor, base image, run, build, background, refusals."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import signal
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NOBODY = 65534
PYTHON = "/usr/bin/python3"
NEEDED = ("click", "isal", "zstandard")

Command = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """A directory of the user's with a readable copy of the project and of what it imports."""
    folder = Path(tempfile.mkdtemp(prefix="rootless-"))
    folder.chmod(0o755)
    shutil.copytree(ROOT / "workbench", folder / "lib/workbench")
    for name in NEEDED:
        found = importlib.util.find_spec(name)
        assert found is not None and found.origin is not None
        shutil.copytree(Path(found.origin).parent, folder / "lib" / name)
    (folder / "home").mkdir()
    os.chown(folder / "home", NOBODY, NOBODY)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def workbench(place: Path, require: Callable[[object, str], None]) -> Iterator[Command]:
    """Run the command as the user; its root has the toolbox image."""
    require(os.geteuid() == 0, "needs root to become another user")
    works = subprocess.run(
        [PYTHON, "-c", "import click, isal.igzip, zstandard"],
        env={"PYTHONPATH": str(place / "lib")},
        user=NOBODY,
        capture_output=True,
        check=False,
    )
    require(works.returncode == 0, f"{PYTHON} cannot load {', '.join(NEEDED)}")

    def run(
        *words: str, before: tuple[str, ...] = (), **how: object
    ) -> subprocess.CompletedProcess[str]:
        user = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if not before else {}
        return subprocess.run(  # type: ignore[call-overload, no-any-return]
            [*before, PYTHON, "-m", "workbench.cli.main", *words],
            env={
                "PATH": "/usr/bin:/bin",
                "HOME": str(place / "home"),
                "WORKBENCH_ROOT": str(place / "home/root"),
                "PYTHONPATH": str(place / "lib"),
                "PYTHONDONTWRITEBYTECODE": "1",
            },
            cwd=place / "home",
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            **user,
            **how,
        )

    made = run("base", "toolbox")
    assert made.returncode == 0, made.stderr
    yield run
    _end_launcher(place / "home/root")


def _end_launcher(root: Path) -> None:
    """The launcher ends by itself when its root has gone."""
    shutil.rmtree(root, ignore_errors=True)


@pytest.mark.kernel
def test_doctor_names_the_rung_and_the_mends(workbench: Command) -> None:
    said = workbench("doctor").stdout
    assert "an ordinary user" in said
    assert "no   limits (cgroups)" in said and "→" in said


@pytest.mark.kernel
def test_a_container_has_its_own_world(workbench: Command) -> None:
    ran = workbench("run", "--rm", "--network", "none", "toolbox", "sh", "-c", "id -u; echo $$")
    assert (ran.returncode, ran.stdout) == (0, "0\n1\n"), ran.stderr
    assert workbench("ps", "-aq").stdout == ""


@pytest.mark.kernel
def test_the_default_network_never_keeps_a_container_from_running(workbench: Command) -> None:
    ran = workbench("run", "--rm", "toolbox", "echo", "hello")
    assert (ran.returncode, ran.stdout) == (0, "hello\n"), ran.stderr


@pytest.mark.kernel
def test_exit_codes_are_dockers(workbench: Command) -> None:
    assert workbench("run", "--rm", "--network", "none", "toolbox", "false").returncode == 1
    missing = workbench("run", "--rm", "--network", "none", "toolbox", "nothing")
    assert missing.returncode == 127 and "not found" in missing.stderr


@pytest.mark.kernel
def test_a_build_runs_and_copies(workbench: Command, place: Path) -> None:
    context = place / "home/context"
    context.mkdir()
    (context / "file").write_text("copied\n")
    (context / "Dockerfile").write_text(
        "FROM toolbox\nWORKDIR /app\nRUN echo ran > made\nCOPY file .\n"
        'CMD ["cat", "made", "file"]\n'
    )
    os.chown(context, NOBODY, NOBODY)
    built = workbench("build", "-q", "-t", "app", str(context))
    assert built.returncode == 0, built.stderr
    assert workbench("run", "--rm", "--network", "none", "app").stdout == "ran\ncopied\n"
    assert "Untagged: app:latest" in workbench("rmi", "app").stdout


@pytest.mark.kernel
def test_a_background_container_is_seen_and_removed(workbench: Command) -> None:
    started = workbench(
        "run", "-d", "--name", "back", "--network", "none", "toolbox", "sleep", "99"
    )
    assert started.returncode == 0, started.stderr
    assert "back" in workbench("ps").stdout
    assert workbench("rm", "-f", "back").stdout == "back\n"
    assert workbench("ps", "-aq").stdout == ""


@pytest.mark.kernel
def test_what_cannot_be_given_is_refused_with_the_reason(workbench: Command) -> None:
    limited = workbench("run", "--rm", "--network", "none", "-m", "64m", "toolbox", "true")
    assert limited.returncode == 125 and "cgroup" in limited.stderr
    other = workbench("run", "--rm", "--network", "none", "-u", "1000", "toolbox", "true")
    assert other.returncode == 125 and "1000" in other.stderr
    assert "Traceback" not in limited.stderr + other.stderr


@pytest.mark.kernel
def test_layers_hold_closed_files_and_belong_to_root(workbench: Command, place: Path) -> None:
    """As the container saw them: not under the number of the user, and whatever the mode."""
    context = place / "home/closed"
    context.mkdir()
    (context / "Dockerfile").write_text(
        "FROM toolbox\nRUN mkdir -m 0 /shut && echo text > /shut/file && chmod 0 /shut/file\n"
        "RUN rm -r /mnt && mkdir -m 700 /mnt\n"
    )
    os.chown(context, NOBODY, NOBODY)
    built = workbench("build", "-q", "-t", "closed", str(context))
    assert built.returncode == 0, built.stderr
    show = "cat /shut/file; stat -c '%a %u' /shut /shut/file"
    ran = workbench("run", "--rm", "--network", "none", "closed", "sh", "-c", show)
    assert ran.stdout == "text\n0 0\n0 0\n", ran.stderr
    assert _owners(place / "home/root/store/blobs/sha256") == {(0, 0)}
    assert "Untagged: closed:latest" in workbench("rmi", "closed").stdout
    assert list((place / "home/root/snapshots/trash").iterdir()) == []


def _owners(blobs: Path) -> set[tuple[int, int]]:
    found = set()
    for blob in blobs.iterdir():
        if tarfile.is_tarfile(blob):
            with tarfile.open(blob) as layer:
                found |= {(member.uid, member.gid) for member in layer}
    return found


_WITH_TUN = """
set -e
mount --make-rprivate /
mount -t tmpfs -o mode=755 tmpfs "$1"
mknod "$1/tun" c 10 200
chmod 666 "$1/tun"
mount --bind "$1/tun" /dev/net/tun
shift
exec setpriv --reuid=65534 --regid=65534 --clear-groups "$@"
"""


@pytest.mark.kernel
def test_slirp_connects_a_container_before_it_starts(
    workbench: Command, place: Path, require: Callable[[object, str], None]
) -> None:
    """In a mount namespace where the user may open /dev/net/tun, as on most machines."""
    tools = all(map(shutil.which, ("slirp4netns", "setpriv", "unshare")))
    require(tools and Path("/dev/net/tun").exists(), "needs slirp4netns and /dev/net/tun")
    (place / "tun").mkdir()
    before = ("unshare", "-m", "sh", "-c", _WITH_TUN, "sh", str(place / "tun"))
    show = "cat /sys/class/net/tap0/operstate; grep 10.0.2.100 /etc/hosts"
    ran = workbench("run", "--rm", "--hostname", "me", "toolbox", "sh", "-c", show, before=before)
    assert ran.returncode == 0, ran.stderr
    assert "me" in ran.stdout and ran.stderr == ""


@pytest.mark.kernel
def test_a_container_outlives_its_monitor_and_is_still_removed(
    workbench: Command, place: Path
) -> None:
    made = workbench("run", "-d", "--name", "lone", "--network", "none", "toolbox", "sleep", "99")
    where = place / "home/root/containers" / made.stdout.strip()
    os.kill(json.loads((where / "monitor.pid").read_text())["pid"], signal.SIGKILL)
    assert "lone" in workbench("ps").stdout
    assert workbench("rm", "-f", "lone").stdout == "lone\n"
    assert not where.exists()
