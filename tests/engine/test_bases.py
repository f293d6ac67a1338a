"""Base images of this host, put together and used with chroot(2)."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from workbench.engine.bases import debian, python, toolbox
from workbench.engine.bases.archive import tar_stream
from workbench.engine.bases.plan import plan
from workbench.engine.bases.programs import locate
from workbench.engine.bases.tree import LABEL, BasePlan
from workbench.errors import InvalidInput, Unsupported

SYSTEM_PYTHON = Path("/usr/bin/python3")


def _unpack(base: BasePlan, target: Path) -> Path:
    with base, tarfile.open(fileobj=tar_stream(base), mode="r|") as archive:
        archive.extractall(target, filter="fully_trusted")
    return target


def _inside(root: Path, *command: str) -> str:
    """What a command prints in the image."""
    environment = {"PATH": python.PATH, "LANG": "C.UTF-8", "HOME": "/root"}
    run = subprocess.run(
        ["chroot", str(root), *command],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


def _digest(base: BasePlan) -> str:
    with base:
        return hashlib.file_digest(tar_stream(base), "sha256").hexdigest()


def _without_busybox(directory: Path) -> tuple[str, ...]:
    """The programs of the host, less busybox."""
    directory.mkdir()
    for name in toolbox._TOOLS.split():
        path = locate(name)
        if path is not None:
            (directory / name).symlink_to(path)
    return (str(directory),)


def test_an_unknown_kind_names_those_that_there_are() -> None:
    with pytest.raises(InvalidInput) as caught:
        plan("windows")
    assert "toolbox" in caught.value.hint


def test_the_toolbox_is_the_same_every_time() -> None:
    assert _digest(plan("toolbox")) == _digest(plan("toolbox:whatever"))


def test_the_toolbox_says_what_it_is() -> None:
    base = plan("toolbox")
    assert base.default_name == "toolbox:latest"
    assert base.config.cmd == ("sh",)
    assert base.labels[f"{LABEL}.kind"] == "toolbox"
    assert base.config.labels == base.labels
    paths = {entry.path: entry for entry in base.entries}
    assert paths["tmp"].mode == 0o1777
    assert paths["root"].mode == 0o700
    assert b"root:x:0:0" in paths["etc/passwd"].data


def test_a_host_without_a_shell_is_told_what_to_install(tmp_path: Path) -> None:
    with pytest.raises(Unsupported) as caught:
        toolbox.plan((str(tmp_path),))
    assert "apt-get install" in caught.value.hint


@pytest.mark.kernel
def test_a_toolbox_of_busybox_runs(tmp_path: Path, require: Callable[[object, str], None]) -> None:
    require(locate("busybox"), "needs busybox")
    root = _unpack(plan("toolbox"), tmp_path)
    assert _inside(root, "sh", "-c", "echo a b | awk '{print $2}'; id -un") == "b\nroot\n"
    assert "usr" in _inside(root, "ls", "/").split()


@pytest.mark.kernel
def test_a_toolbox_of_the_hosts_programs_runs(tmp_path: Path) -> None:
    base = toolbox.plan(_without_busybox(tmp_path / "programs"))
    assert base.labels[f"{LABEL}.made-from"] == "programs of the host"
    root = _unpack(base, tmp_path / "root")
    assert _inside(root, "sh", "-c", "echo a | sed s/a/b/ | cat; id -un") == "b\nroot\n"
    assert _inside(root, "grep", "-c", "root", "/etc/passwd").strip() == "1"


def test_python_is_the_same_every_time() -> None:
    assert _digest(python.plan()) == _digest(python.plan())


def test_python_is_named_after_the_version_that_runs() -> None:
    base = plan("python")
    series = f"{sys.version_info[0]}.{sys.version_info[1]}"
    assert base.default_name == f"python:{series}-slim"
    assert f"PYTHON_VERSION={sys.version.split()[0]}" in base.config.env
    assert base.config.cmd == ("python3",)


def test_python_leaves_out_what_no_container_needs() -> None:
    paths = [entry.path for entry in plan("python").entries]
    unwanted = ("/test/", "/idlelib/", "/tkinter/", "/turtledemo/", "/config-", "_tkinter.")
    assert not [path for path in paths if any(part in path for part in unwanted)]
    assert not [path for path in paths if path.endswith(".a")]


def _wheel(path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        info = "greeting-1.0.dist-info"
        archive.writestr("greeting.py", "def main():\n    print('hello from a wheel')\n")
        archive.writestr(
            f"{info}/METADATA", "Metadata-Version: 2.1\nName: greeting\nVersion: 1.0\n"
        )
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/entry_points.txt", "[console_scripts]\ngreet = greeting:main\n")
        archive.writestr(f"{info}/RECORD", "")
    return path


@pytest.mark.kernel
@pytest.mark.parametrize("interpreter", [None, SYSTEM_PYTHON], ids=["ours", "system"])
def test_python_runs_and_installs(
    tmp_path: Path, interpreter: Path | None, require: Callable[[object, str], None]
) -> None:
    require(interpreter is None or interpreter.exists(), f"needs {interpreter}")
    root = _unpack(python.plan(interpreter), tmp_path / "root")
    modules = "ssl, sqlite3, ctypes, json, lzma, bz2, zlib, uuid, hashlib, asyncio"
    code = f"import {modules}; ctypes.CDLL('libc.so.6').getpid(); print(ssl.OPENSSL_VERSION)"
    assert "SSL" in _inside(root, "python", "-c", code)
    assert _inside(root, "pip", "--version").startswith("pip ")
    wheel = _wheel(root / "tmp/greeting-1.0-py3-none-any.whl")
    _inside(root, "pip", "install", "--no-index", "--quiet", f"/tmp/{wheel.name}")
    assert _inside(root, "greet") == "hello from a wheel\n"
    assert "C.UTF-8" in _inside(root, "sh", "-c", "echo $LANG")


@pytest.mark.kernel
def test_compiled_modules_are_used_as_they_are(tmp_path: Path) -> None:
    root = _unpack(python.plan(), tmp_path)
    code = "import json.decoder as m, os; print(os.path.getmtime(m.__cached__), m.__cached__)"
    time, cached = _inside(root, "python", "-c", code).split()
    assert float(time) == 1577836800
    assert (root / cached.strip("/")).is_file()


def test_debian_names_what_it_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda *_args, **_kw: None)
    with pytest.raises(Unsupported) as caught:
        plan("debian:bookworm-slim")
    assert caught.value.hint == "apt-get install debootstrap"


@pytest.mark.parametrize("tag", ["Bookworm", "../etc", "a b", "--help"])
def test_debian_takes_only_names_of_releases(tag: str) -> None:
    with pytest.raises(InvalidInput):
        debian.plan(tag)


@pytest.mark.parametrize(
    "name,text,expected",
    [
        ("sources.list", "deb http://ftp.example.org/debian/ bookworm main\n",
         "http://ftp.example.org/debian"),
        ("sources.list", "deb [arch=amd64] https://m.example/debian bookworm main\n",
         "https://m.example/debian"),
        ("sources.list", "# deb http://old.example/debian x main\n", debian.MIRROR),
        ("sources.list.d/debian.sources", "Types: deb\nURIs: http://a.example/debian\n",
         "http://a.example/debian"),
        ("sources.list", "deb http://archive.ubuntu.com/ubuntu jammy main\n", debian.MIRROR),
    ],
)  # fmt: skip
def test_the_mirror_of_the_host_is_used(
    tmp_path: Path, name: str, text: str, expected: str
) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    assert debian.host_mirror(tmp_path) == expected


def test_a_failing_debootstrap_is_quoted_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from workbench.errors import Unavailable

    program = tmp_path / "debootstrap"
    program.write_text("#!/bin/sh\necho E: no such mirror\nexit 3\n")
    program.chmod(0o755)
    scratch = tmp_path / "scratch"
    monkeypatch.setattr(shutil, "which", lambda *_args, **_kw: str(program))
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr("tempfile.mkdtemp", lambda **_kw: scratch.mkdir() or str(scratch))
    with pytest.raises(Unavailable, match="no such mirror"):
        debian.plan("bookworm-slim")
    assert not scratch.exists()


def test_a_debian_tree_is_pruned_and_set_up(tmp_path: Path) -> None:
    from workbench.engine.bases.debian_tree import entries

    for name in ("usr/bin/perl", "usr/share/doc/perl/README", "usr/share/doc/perl/copyright",
                 "usr/share/man/man1/ls.1", "var/lib/apt/lists/x", "var/log/dpkg.log",
                 "etc/resolv.conf", "etc/hostname", "etc/passwd-", "etc/passwd",
                 "dev/null"):  # fmt: skip
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    (tmp_path / "usr/bin/perl5").hardlink_to(tmp_path / "usr/bin/perl")
    (tmp_path / "usr/bin/sh").symlink_to("dash")
    (tmp_path / "usr/bin/perl").chmod(0o4755)
    found = {entry.path: entry for entry in entries(tmp_path, "bookworm")}
    gone = {"usr/share/doc/perl/README", "usr/share/man/man1", "var/lib/apt/lists/x",
            "var/log/dpkg.log", "etc/resolv.conf", "etc/hostname", "etc/passwd-",
            "dev/null"}  # fmt: skip
    assert not gone & set(found)
    assert found["usr/share/doc/perl/copyright"].kind == "file"
    assert found["usr/bin/perl"].mode == 0o4755
    assert (found["usr/bin/perl5"].kind, found["usr/bin/perl5"].link) == (
        "hardlink",
        "usr/bin/perl",
    )
    assert found["usr/bin/sh"].link == "dash"
    assert b"bookworm-security" in found["etc/apt/sources.list"].data
    assert found["etc/machine-id"].data == b""
    assert found["var/cache/apt/archives/partial"].kind == "directory"
    assert list(found) == sorted(found)
