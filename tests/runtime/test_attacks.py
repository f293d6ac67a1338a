"""Images and containers that try to reach what is not theirs."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from workbench.errors import CommandNotFound, InvalidInput, WorkbenchError
from workbench.linux import capabilities
from workbench.linux.mount import overlay
from workbench.oci.runtime_spec import Capabilities, Device, Linux, MountPoint, Process
from workbench.runtime.bundle import Bundle

from .conftest import make_lower, make_spec

if TYPE_CHECKING:
    from collections.abc import Callable

    from .conftest import Box

pytestmark = pytest.mark.kernel


def evil_bundle(box: Box, change: Callable[[Path], None], *args: str, **options: object) -> Bundle:
    """A container whose image was changed by ``change``."""
    lower = make_lower(box.place / f"evil{len(box.bundles)}")
    change(lower)
    spec = make_spec(*args, **options)  # type: ignore[arg-type]
    bundle = box.bundle(spec)
    mounts = (overlay([lower], bundle.path / "upper", bundle.path / "work"),)
    return Bundle.write(bundle.path, spec, mounts)


def link(name: str, target: str) -> Callable[[Path], None]:
    def change(root: Path) -> None:
        place = root / name
        if place.is_dir() and not place.is_symlink():
            place.rmdir()
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(target)

    return change


@pytest.mark.parametrize("name", ["dev", "proc", "sys", "dev/pts", "dev/shm"])
@pytest.mark.parametrize("up", ["", "../../../../../../../../.."])
def test_mount_targets_that_are_links_stay_inside(box: Box, name: str, up: str) -> None:
    outside = box.place / "outside"
    outside.mkdir()
    target = f"{up}{outside}"
    bundle = evil_bundle(box, link(name, target), "sh", "-c", "true")
    assert box.run(make_spec("x"), bundle=bundle)[0] == 0
    assert list(outside.iterdir()) == []


def test_a_bind_target_below_a_link_stays_inside(box: Box) -> None:
    outside = box.place / "outside"
    outside.mkdir()
    (box.place / "data").write_text("inside only")
    mount = MountPoint(destination="/vol/sub/file", type="bind", source=str(box.place / "data"),
                       options=("bind",))  # fmt: skip
    bundle = evil_bundle(box, link("vol", str(outside)), "cat", "/vol/sub/file", mounts=(mount,))
    assert box.run(make_spec("x"), bundle=bundle) == (0, "inside only")
    assert list(outside.iterdir()) == []


def test_the_working_directory_is_made_inside(box: Box) -> None:
    outside = box.place / "outside"
    outside.mkdir()
    bundle = evil_bundle(box, link("work", str(outside)), "true", cwd="/work/made")
    assert box.run(make_spec("x"), bundle=bundle)[0] == 0
    assert list(outside.iterdir()) == []


def test_devices_are_made_inside(box: Box) -> None:
    outside = box.place / "outside"
    outside.mkdir()
    device = Device(path="/made/node", type="c", major=1, minor=3)
    bundle = evil_bundle(box, link("made", str(outside)), "true", linux=Linux(devices=(device,)))
    box.run(make_spec("x"), bundle=bundle)
    assert list(outside.iterdir()) == []


def test_masks_follow_no_link_to_the_host(box: Box) -> None:
    secret = box.place / "secret"
    secret.write_text("host")
    linux = Linux(masked_paths=("/etc/hidden",), readonly_paths=("/etc/hidden",))
    bundle = evil_bundle(box, link("etc/hidden", str(secret)), "true", linux=linux)
    assert box.run(make_spec("x"), bundle=bundle)[0] == 0
    assert secret.read_text() == "host"


@pytest.mark.parametrize("number", range(3, 12))
def test_the_working_directory_cannot_be_a_descriptor_of_ours(box: Box, number: int) -> None:
    """CVE-2024-21626."""
    directory = os.open("/", os.O_RDONLY)
    os.set_inheritable(directory, True)
    try:
        with pytest.raises(InvalidInput, match=r"cwd|working directory"):
            box.shell("ls ../..", cwd=f"/proc/self/fd/{number}")
    finally:
        os.close(directory)


@pytest.mark.parametrize("number", range(3, 12))
def test_no_program_is_run_through_a_descriptor_of_ours(box: Box, number: int) -> None:
    path = f"/proc/self/fd/{number}/../../../../../../../../bin/ls"
    with pytest.raises(WorkbenchError):
        box.run(make_spec(path))


@pytest.mark.parametrize("how", ["script", "link"])
def test_our_interpreter_cannot_be_run_from_inside(box: Box, how: str) -> None:
    """CVE-2019-5736: /proc/self/exe must never be a program of the host."""

    def change(root: Path) -> None:
        if how == "link":
            (root / "bin/evil").symlink_to("/proc/self/exe")
        else:
            (root / "bin/evil").write_text("#!/proc/self/exe -c\n")
            (root / "bin/evil").chmod(0o755)

    bundle = evil_bundle(box, change, "/bin/evil", "-c", "import os; os.write(1, b'python')")
    try:
        code, text = box.run(make_spec("x"), bundle=bundle)
    except WorkbenchError:
        return
    assert code != 0
    assert "python" not in text


def test_our_executable_is_out_of_reach_while_a_process_joins(box: Box) -> None:
    """Nothing inside ever sees a process whose exe is not from the image."""
    script = """
    while :; do for p in /proc/[0-9]*; do
      e=$(readlink $p/exe); case "$e" in ""|/bin/busybox|/memfd:*) ;; *) echo "seen $e";; esac
    done; done
    """
    with box.streams() as (stdio, read):
        created = box.create(make_spec("sh", "-c", script), stdio=stdio)
        created.start()
        for _ in range(20):
            assert box.execute(created, Process(args=("true",), env=("PATH=/bin",)))[0] == 0
        os.kill(created.pid, signal.SIGKILL)
        box.wait(created.pid)
        assert read() == ""


def test_no_module_is_loaded_from_the_image(box: Box) -> None:
    """Whatever the image has at the interpreter's own paths, init does not look at it."""

    def change(root: Path) -> None:
        for name in ("usr/lib/python3.11", "root/.pyenv/versions/3.11.7/lib/python3.11"):
            place = root / name / "encodings"
            place.mkdir(parents=True)
            for module in ("__init__", "idna", "latin_1", "utf_16"):
                (place / f"{module}.py").write_text("import os; os._exit(66)")

    bundle = evil_bundle(box, change, "sh", "-c", "exit 3")
    assert box.run(make_spec("x"), bundle=bundle)[0] == 3


def test_a_link_to_the_hosts_passwd_is_read_inside(box: Box) -> None:
    def change(root: Path) -> None:
        (root / "etc/passwd").unlink()
        (root / "etc/passwd").symlink_to("../../../../../etc/passwd")

    bundle = evil_bundle(box, change, "sh", "-c", "echo $HOME")
    assert box.run(make_spec("x"), bundle=bundle) == (0, "/\n")


def test_a_fifo_as_passwd_does_not_hold_us_up(box: Box) -> None:
    def change(root: Path) -> None:
        (root / "etc/passwd").unlink()
        os.mkfifo(root / "etc/passwd")

    before = time.monotonic()
    bundle = evil_bundle(box, change, "sh", "-c", "echo $HOME")
    assert box.run(make_spec("x"), bundle=bundle) == (0, "/\n")
    assert time.monotonic() - before < 2


def test_all_capabilities_do_not_unmask_the_old_root(box: Box) -> None:
    every = capabilities.ALL
    sets = Capabilities(bounding=every, effective=every, permitted=every)
    script = "busybox umount -l / 2>/dev/null; ls /; cat /proc/self/mountinfo"
    _, text = box.shell(script, capabilities=sets)
    assert "root" not in text.split("\n")[:10]
    assert str(box.place / "bundle0/rootfs") not in text


def test_a_program_name_that_climbs_out_finds_nothing(box: Box) -> None:
    with pytest.raises(CommandNotFound):
        box.run(make_spec(f"../../../../../..{Path('/usr/bin/env')}"))
