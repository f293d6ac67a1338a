"""An ordinary user, end to end: doctor, base image, run, build, background, refusals."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
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

    def run(*words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [PYTHON, "-m", "workbench.cli.main", *words],
            input=stdin,
            env={
                "PATH": "/usr/bin:/bin",
                "HOME": str(place / "home"),
                "WORKBENCH_ROOT": str(place / "home/root"),
                "PYTHONPATH": str(place / "lib"),
                "PYTHONDONTWRITEBYTECODE": "1",
            },
            cwd=place / "home",
            user=NOBODY,
            group=NOBODY,
            extra_groups=[],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
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
