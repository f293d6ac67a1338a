"""Further processes in a running container."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from workbench.errors import CommandNotFound, CommandNotRunnable, Conflict, ContainerNotFound
from workbench.linux import capabilities
from workbench.oci.runtime_spec import (
    Capabilities,
    ConsoleSize,
    Linux,
    Process,
    Rlimit,
    Seccomp,
    SeccompRule,
    User,
)
from workbench.runtime import state
from workbench.runtime.create import Created
from workbench.runtime.execute import execute

from .conftest import make_spec

if TYPE_CHECKING:
    from .conftest import Box

pytestmark = pytest.mark.kernel


def process(*args: str, **fields: object) -> Process:
    fields.setdefault("env", ("PATH=/bin",))
    return Process(args=args, **fields)  # type: ignore[arg-type]


@pytest.fixture
def running(box: Box) -> Created:
    created = box.create(make_spec("sleep", "77"))
    created.start()
    return created


def test_it_sees_what_the_container_sees(box: Box, running: Created) -> None:
    code, text = box.execute(running, process("sh", "-c", "hostname; ps; readlink /proc/1/ns/net"))
    assert code == 0
    assert text.startswith("box\n")
    assert "sleep 77" in text
    assert text.splitlines()[-1] == str(Path(f"/proc/{running.pid}/ns/net").readlink())


def test_it_is_in_every_namespace_of_the_container(box: Box) -> None:
    created = box.create(make_spec("sleep", "77", kinds=("pid", "network", "mount", "ipc", "uts",
                                                         "cgroup", "time")))  # fmt: skip
    created.start()
    script = "for n in pid net mnt ipc uts cgroup time user; do readlink /proc/self/ns/$n; done"
    _, text = box.execute(created, process("sh", "-c", script))
    names = ("pid", "net", "mnt", "ipc", "uts", "cgroup", "time", "user")
    assert text.split() == [
        str(Path(f"/proc/{created.pid}/ns/{name}").readlink()) for name in names
    ]


def test_exit_code_and_child(box: Box, running: Created) -> None:
    assert box.execute(running, process("sh", "-c", "exit 9"))[0] == 9


def test_it_works_before_start_as_well(box: Box) -> None:
    created = box.create(make_spec("sleep", "77"))
    assert box.execute(created, process("hostname"))[1] == "box\n"


def test_unknown_programs(box: Box, running: Created) -> None:
    with pytest.raises(CommandNotFound, match="executable file not found"):
        box.execute(running, process("nothing-here"))
    with pytest.raises(CommandNotRunnable, match="permission denied"):
        box.execute(running, process("/etc/plain"))
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    assert children == [str(running.pid)]


def test_user_limits_directory_and_umask_are_its_own(box: Box, running: Created) -> None:
    wanted = process(
        "sh", "-c", "id -u; id -g; pwd; umask; ulimit -n; echo $HOME", cwd="/tmp",
        user=User(uid=1000, gid=1000, umask=0o077),
        rlimits=(Rlimit(type="RLIMIT_NOFILE", soft=99, hard=99),),
    )  # fmt: skip
    _, text = box.execute(running, wanted)
    assert text.split() == ["1000", "1000", "/tmp", "0077", "99", "/home"]


def test_capabilities_are_those_of_the_container_unless_given(box: Box, running: Created) -> None:
    _, text = box.execute(running, process("cat", "/proc/self/status"))
    default = capabilities.mask(set(capabilities.DEFAULT) & box.host.capabilities)
    assert f"CapEff:\t{default:016x}" in text
    one = Capabilities(bounding=("CAP_KILL",), effective=("CAP_KILL",), permitted=("CAP_KILL",))
    _, text = box.execute(running, process("cat", "/proc/self/status", capabilities=one))
    assert f"CapBnd:\t{capabilities.mask(('CAP_KILL',)):016x}" in text


@pytest.mark.parametrize("refused", ["mkdir", "clone"])
@pytest.mark.parametrize("no_new", [True, False])
def test_the_filter_of_the_container_holds(box: Box, refused: str, no_new: bool) -> None:
    rule = SeccompRule(names=(refused, "mkdir"), action="SCMP_ACT_ERRNO", errno_ret=errno.EXDEV)
    seccomp = Seccomp(default_action="SCMP_ACT_ALLOW", syscalls=(rule,))
    created = box.create(make_spec("sleep", "77", linux=Linux(seccomp=seccomp)))
    created.start()
    done = process("busybox", "mkdir", "/x", no_new_privileges=no_new)
    code, text = box.execute(created, done)
    assert (code, "cross-device" in text) == (1, True)


def test_nothing_is_left_open(box: Box, running: Created) -> None:
    assert box.execute(running, process("ls", "/proc/self/fd"))[1].split() == ["0", "1", "2", "3"]


def test_preserved_descriptors(box: Box, running: Created) -> None:
    number = os.memfd_create("kept")
    os.write(number, b"kept")
    _, text = box.execute(running, process("cat", "/proc/self/fd/3"), preserved_fds=[number])
    os.close(number)
    assert text == "kept"


def _all_of(console: int) -> str:
    """What a terminal had to say: reading it fails with EIO when its last writer has gone."""
    data = b""
    with contextlib.suppress(OSError):
        while piece := os.read(console, 1000):
            data += piece
    return data.decode()


def test_a_terminal_of_the_containers_own_devpts(box: Box, running: Created) -> None:
    wanted = process("sh", "-c", "busybox stty size; readlink /proc/self/fd/0; echo ok > /dev/tty",
                     terminal=True, console_size=ConsoleSize(height=33, width=99))  # fmt: skip
    done = box.start_executed(running, wanted)
    assert done.console_fd is not None
    assert box.wait(done.pid) == 0
    text = _all_of(done.console_fd)
    os.close(done.console_fd)
    os.close(done.pidfd)
    assert text.splitlines()[0] == "33 99"
    assert text.splitlines()[1].startswith("/dev/pts/")
    assert text.splitlines()[2] == "ok"


def test_a_false_multiplexer_is_not_opened(box: Box) -> None:
    script = "busybox umount /dev/pts; busybox mknod /dev/pts/ptmx p; sleep 77"
    created = box.create(make_spec("sh", "-c", script, capabilities=_everything()))
    created.start()
    place = Path(f"/proc/{created.pid}/root/dev/pts/ptmx")
    until = time.monotonic() + 5
    while not (place.exists() and place.is_fifo()) and time.monotonic() < until:
        time.sleep(0.005)
    with pytest.raises(Exception, match="multiplexer"):
        box.execute(created, process("true", terminal=True))


def _everything() -> Capabilities:
    every = capabilities.ALL
    return Capabilities(bounding=every, effective=every, permitted=every)


def test_it_joins_a_user_namespace(box: Box) -> None:
    from workbench.oci.runtime_spec import IDMapping, Namespace

    maps = (IDMapping(container_id=0, host_id=0, size=65_536),)
    linux = Linux(namespaces=tuple(Namespace(type=k) for k in ("user", "pid", "mount", "uts")),
                  uid_mappings=maps, gid_mappings=maps)  # fmt: skip
    created = box.create(make_spec("sleep", "77", linux=linux))
    created.start()
    _, text = box.execute(created, process("sh", "-c", "readlink /proc/self/ns/user; id -u"))
    assert text.split() == [str(Path(f"/proc/{created.pid}/ns/user").readlink()), "0"]


def test_a_stopped_container_takes_no_process(box: Box, running: Created) -> None:
    state.kill(running.directory, signal.SIGKILL)
    box.wait(running.pid)
    with pytest.raises(Conflict, match="stopped"):
        box.execute(running, process("true"))


def test_an_unknown_container(box: Box) -> None:
    with pytest.raises(ContainerNotFound):
        execute(box.place, process("true"))
