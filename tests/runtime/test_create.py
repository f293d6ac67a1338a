"""Containers that really run: the MUSTs of runtime-spec that a program inside can see."""

from __future__ import annotations

import dataclasses
import errno
import os
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from workbench.errors import (
    CommandNotFound,
    CommandNotRunnable,
    Conflict,
    InvalidInput,
    Unsupported,
)
from workbench.linux import capabilities
from workbench.linux.host import Host
from workbench.linux.mount import mountinfo
from workbench.oci.runtime_spec import (
    Capabilities,
    Device,
    Hook,
    Hooks,
    IDMapping,
    Linux,
    MountPoint,
    Namespace,
    Personality,
    Rlimit,
    Scheduler,
    Seccomp,
    SeccompRule,
    TimeOffset,
    User,
)
from workbench.runtime import state
from workbench.runtime.create import start

from .conftest import KINDS, MOUNTS, make_spec

if TYPE_CHECKING:
    from .conftest import Box

pytestmark = pytest.mark.kernel


def status_field(text: str, name: str) -> str:
    return next(line.split()[1] for line in text.splitlines() if line.startswith(f"{name}:"))


# Life cycle


def test_created_program_does_not_run_before_start(box: Box) -> None:
    with box.streams() as (stdio, read):
        created = box.create(make_spec("sh", "-c", "echo ran"), stdio=stdio)
        time.sleep(0.05)
        assert read() == ""
        assert state.state(created.directory).status == "created"
        created.start()
        assert box.wait(created.pid) == 0
        assert read() == "ran\n"
    assert state.state(created.directory).status == "stopped"


@pytest.mark.parametrize("code", [0, 1, 7, 255])
def test_exit_code_is_that_of_the_program(box: Box, code: int) -> None:
    assert box.shell(f"exit {code}")[0] == code


def test_program_that_is_killed_shows_the_signal(box: Box) -> None:
    created = box.create(make_spec("sleep", "60"))
    created.start()
    assert state.state(created.directory).status == "running"
    state.kill(created.directory, signal.SIGKILL)
    assert box.wait(created.pid) == -signal.SIGKILL


def test_unknown_program_is_told_before_create_returns(box: Box) -> None:
    with pytest.raises(CommandNotFound) as caught:
        box.create(make_spec("nothing-here"))
    assert str(caught.value) == 'exec: "nothing-here": executable file not found in $PATH'
    assert caught.value.exit_code == 127


@pytest.mark.parametrize(
    ("program", "kind", "text"),
    [
        ("/bin/none", CommandNotFound, 'exec: "/bin/none": stat /bin/none: no such file or'),
        ("/etc/plain", CommandNotRunnable, 'exec: "/etc/plain": permission denied'),
        ("/etc", CommandNotRunnable, 'exec: "/etc": is a directory'),
    ],
)
def test_programs_that_cannot_run_are_told_in_dockers_words(
    box: Box, program: str, kind: type[Exception], text: str
) -> None:
    with pytest.raises(kind, match=text):
        box.create(make_spec(program))


def test_a_file_of_no_known_format_is_told_by_start(box: Box) -> None:
    created = box.create(make_spec("/bin/words"))
    with pytest.raises(CommandNotRunnable, match="exec format error"):
        created.start()


def test_failed_create_leaves_nothing(box: Box) -> None:
    bundle = box.bundle(make_spec("nothing-here"))
    before = _descriptors()
    with pytest.raises(CommandNotFound):
        box.create(make_spec("x"), bundle=bundle)
    assert _descriptors() == before
    assert not state.exists(bundle.path)
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_an_id_is_used_once(box: Box) -> None:
    created = box.create(make_spec("true"))
    with pytest.raises(Conflict, match="already exists"):
        box.create(make_spec("true"), bundle=box_bundle(created.directory))


def box_bundle(path: Path) -> object:
    from workbench.runtime.bundle import Bundle

    return Bundle(path)


def test_closing_the_channel_ends_a_container_that_was_not_started(box: Box) -> None:
    created = box.create(make_spec("sleep", "60"))
    assert created.channel is not None
    created.channel.close()
    assert box.wait(created.pid) == 1


def test_detached_container_is_started_by_anybody(box: Box) -> None:
    with box.streams() as (stdio, read):
        created = box.create(make_spec("sh", "-c", "echo hello"), stdio=stdio, detached=True)
        start(created.directory)
        assert box.wait(created.pid) == 0
        assert read() == "hello\n"
    with pytest.raises(Conflict, match="stopped"):
        start(created.directory)


def test_detached_start_tells_of_a_failed_execve(box: Box) -> None:
    created = box.create(make_spec("/bin/words"), detached=True)
    with pytest.raises(CommandNotRunnable, match="exec format error"):
        start(created.directory)


def test_a_long_state_directory_is_no_obstacle(box: Box, tmp_path: Path) -> None:
    directory = tmp_path.joinpath(*["long" * 20] * 3)
    created = box.create(make_spec("true"), detached=True, directory=directory)
    start(directory)
    assert box.wait(created.pid) == 0


# Namespaces


def test_namespaces_are_new(box: Box) -> None:
    script = "for n in pid net mnt ipc uts cgroup time; do readlink /proc/self/ns/$n; done"
    kinds = (*KINDS, "cgroup", "time")
    code, text = box.shell(script, kinds=kinds)
    assert code == 0
    ours = [str(Path(f"/proc/self/ns/{n}").readlink()) for n in
            ("pid", "net", "mnt", "ipc", "uts", "cgroup", "time")]  # fmt: skip
    lines = text.split()
    assert len(lines) == 7
    assert not set(lines) & set(ours)


def test_namespaces_that_are_not_asked_for_are_the_callers(box: Box) -> None:
    _, text = box.shell("readlink /proc/self/ns/net", kinds=("pid", "mount", "uts"))
    assert text.strip() == str(Path("/proc/self/ns/net").readlink())


def test_the_program_is_process_1(box: Box) -> None:
    assert box.shell("echo $$; ps")[1].startswith("1\n")


def test_host_name_is_the_containers_own(box: Box) -> None:
    before = socket.gethostname()
    assert box.shell("hostname", hostname="inside")[1] == "inside\n"
    assert socket.gethostname() == before


def test_loopback_is_up_in_a_new_network(box: Box) -> None:
    _, text = box.shell("ip addr show lo")
    assert "127.0.0.1/8" in text
    assert "UP" in text


def test_a_network_is_joined_by_path(box: Box) -> None:
    first = box.create(make_spec("sleep", "60"))
    path = f"/proc/{first.pid}/ns/net"
    linux = Linux(namespaces=(
        Namespace(type="network", path=path), Namespace(type="mount"), Namespace(type="uts"),
        Namespace(type="pid"),
    ))  # fmt: skip
    code, text = box.shell("readlink /proc/self/ns/net", linux=linux)
    assert (code, text.strip()) == (0, str(Path(path).readlink()))


def test_a_pid_namespace_is_joined_by_path(box: Box) -> None:
    first = box.create(make_spec("sleep", "61"))
    first.start()
    linux = Linux(namespaces=(
        Namespace(type="pid", path=f"/proc/{first.pid}/ns/pid"), Namespace(type="mount"),
        Namespace(type="uts"),
    ))  # fmt: skip
    code, text = box.shell("ps", linux=linux)
    assert code == 0
    assert "sleep 61" in text


def test_a_namespace_path_of_the_wrong_kind_is_refused(box: Box) -> None:
    linux = Linux(namespaces=(Namespace(type="network", path="/proc/self/ns/uts"),
                              Namespace(type="mount"), Namespace(type="uts")))  # fmt: skip
    with pytest.raises(InvalidInput, match="/proc/self/ns/uts"):
        box.shell("true", linux=linux)


def test_clock_offsets_of_a_time_namespace(box: Box) -> None:
    linux = Linux(
        namespaces=tuple(Namespace(type=kind) for kind in (*KINDS, "time")),
        time_offsets={"boottime": TimeOffset(secs=1_000_000)},
    )
    _, text = box.shell("cat /proc/uptime", linux=linux)
    assert float(text.split()[0]) > 1_000_000


def test_a_user_namespace_of_root_maps_ids(box: Box) -> None:
    for path in {*box.place.parents, *box.lower.parents} - {Path("/"), Path("/tmp")}:
        path.chmod(path.stat().st_mode | 0o055)
    box.place.chmod(0o755)
    maps = (IDMapping(container_id=0, host_id=100_000, size=65_536),)
    linux = Linux(namespaces=tuple(Namespace(type=kind) for kind in (*KINDS, "user")),
                  uid_mappings=maps, gid_mappings=maps)  # fmt: skip
    script = "id -u; cat /proc/self/uid_map; ls /dev/null; touch /x && cat /proc/self/gid_map"
    spec = make_spec("sh", "-c", script, linux=linux)
    bundle = box.bundle(spec)
    for name in ("upper", "work", "rootfs"):
        os.chown(bundle.path / name, 100_000, 100_000)
    bundle.path.chmod(0o755)
    code, text = box.run(spec, bundle=bundle)
    assert code == 0, text
    assert text.split()[:4] == ["0", "0", "100000", "65536"]


# File systems


def test_nothing_stays_mounted_on_the_host(box: Box) -> None:
    box.shell("true")
    assert not [entry for entry in mountinfo() if str(box.place) in entry.target]


def test_devices_and_links_of_dev(box: Box) -> None:
    script = "stat -c '%n %t:%T %a' /dev/null /dev/zero /dev/full /dev/random /dev/urandom /dev/tty"
    _, text = box.shell(script)
    assert text.splitlines() == [
        "/dev/null 1:3 666", "/dev/zero 1:5 666", "/dev/full 1:7 666", "/dev/random 1:8 666",
        "/dev/urandom 1:9 666", "/dev/tty 5:0 666",
    ]  # fmt: skip
    _, links = box.shell("for n in fd stdin stdout stderr ptmx; do readlink /dev/$n; done")
    assert links.split() == [
        "/proc/self/fd", "/proc/self/fd/0", "/proc/self/fd/1", "/proc/self/fd/2", "pts/ptmx",
    ]  # fmt: skip


def test_a_configured_device_has_its_mode_and_owner(box: Box) -> None:
    device = Device(path="/dev/sub/mine", type="c", major=1, minor=3, file_mode=0o640, uid=5, gid=6)
    _, text = box.shell("stat -c '%t:%T %a %u %g' /dev/sub/mine", linux=Linux(devices=(device,)))
    assert text == "1:3 640 5 6\n"


def test_masked_paths_show_nothing(box: Box) -> None:
    linux = Linux(masked_paths=("/proc/timer_list", "/sys/firmware", "/proc/not-there"))
    code, text = box.shell(
        "cat /proc/timer_list; ls /sys/firmware; touch /sys/firmware/x", linux=linux
    )
    assert code != 0
    assert text.splitlines() == ["touch: /sys/firmware/x: Read-only file system"]


def test_readonly_paths_cannot_be_written(box: Box) -> None:
    linux = Linux(readonly_paths=("/proc/sys", "/tmp"))
    _, text = box.shell("touch /tmp/x; echo 1 > /proc/sys/kernel/panic; mount -o remount,rw /tmp",
                        linux=linux)  # fmt: skip
    assert text.count("Read-only file system") == 2


def test_readonly_root(box: Box) -> None:
    code, text = box.shell("touch /x || touch /dev/shm/x", readonly=True)
    assert "Read-only file system" in text
    assert code == 0


def test_dev_is_read_only_where_asked_but_has_its_devices(box: Box) -> None:
    mounts = tuple(
        dataclasses.replace(m, options=(*m.options, "ro")) if m.destination == "/dev" else m
        for m in MOUNTS
    )
    spec = dataclasses.replace(
        make_spec("sh", "-c", "echo x > /dev/null; touch /dev/x"), mounts=mounts
    )
    assert "/dev/x: Read-only file system" in box.run(spec)[1]


@pytest.mark.parametrize("kind", ["directory", "file"])
def test_bind_mounts_make_their_target(box: Box, kind: str) -> None:
    source = box.place / "source"
    if kind == "directory":
        source.mkdir()
        (source / "inside").write_text("data")
    else:
        source.write_text("data")
    mount = MountPoint(
        destination="/new/place", type="bind", source=str(source), options=("rbind", "ro")
    )
    name = "/new/place/inside" if kind == "directory" else "/new/place"
    code, text = box.shell(f"cat {name}; echo x > {name}", mounts=(mount,))
    assert text.startswith("data")
    assert "Read-only" in text
    assert code == 1


def test_a_bind_source_that_is_missing_is_told_as_docker_does(box: Box) -> None:
    mount = MountPoint(destination="/new", type="bind", source="/no/such/thing", options=("bind",))
    with pytest.raises(InvalidInput, match='error mounting "/no/such/thing" to rootfs at "/new"'):
        box.shell("true", mounts=(mount,))


def test_recursive_read_only_reaches_what_is_mounted_below(box: Box) -> None:
    source = box.place / "tree"
    (source / "below").mkdir(parents=True)
    mounts = (
        MountPoint(destination="/t", type="bind", source=str(source), options=("rbind",)),
        MountPoint(destination="/t/below", type="tmpfs", source="tmpfs"),
        MountPoint(destination="/u", type="bind", source="/dev/shm", options=("rbind", "rro")),
    )
    assert "Read-only" in box.shell("touch /t/below/x; touch /u/x", mounts=mounts)[1]


def test_mounts_come_in_their_order(box: Box) -> None:
    mounts = (
        MountPoint(destination="/a", type="tmpfs", source="one"),
        MountPoint(destination="/a/b", type="tmpfs", source="two", options=("size=64k",)),
    )
    _, text = box.shell("cat /proc/mounts", mounts=mounts)
    lines = [line.split()[:2] for line in text.splitlines()]
    assert lines.index(["one", "/a"]) < lines.index(["two", "/a/b"])


def test_the_working_directory_is_made(box: Box) -> None:
    assert box.run(make_spec("sh", "-c", "pwd", cwd="/made/for/me"))[1] == "/made/for/me\n"


def test_no_pivot_enters_the_root_as_well(box: Box) -> None:
    code, text = box.run(make_spec("sh", "-c", "ls /; cat /proc/mounts"), no_pivot=True)
    assert code == 0
    assert "busybox" not in text.split("\n")
    assert str(box.place) not in text.replace("lowerdir", "").split("overlay / ")[0]


def test_a_plain_directory_serves_as_root(box: Box) -> None:
    from .conftest import make_lower

    bundle = box.bundle(make_spec("sh", "-c", "ls /bin/true"), mounts=())
    (bundle.path / "rootfs").rmdir()
    make_lower(bundle.path / "rootfs")
    assert box.run(make_spec("x"), bundle=bundle)[0] == 0


@pytest.mark.parametrize(
    ("asked", "shown"), [("shared", "shared:"), ("private", ""), ("slave", "")]
)
def test_propagation_of_the_root(box: Box, asked: str, shown: str) -> None:
    _, text = box.shell("cat /proc/self/mountinfo", linux=Linux(rootfs_propagation=asked))
    root = next(line for line in text.splitlines() if line.split()[4] == "/")
    assert ("shared:" in root) == bool(shown)


def test_an_id_mapped_mount_shows_shifted_owners(box: Box) -> None:
    source = box.place / "owned"
    source.mkdir()
    os.chown(source, 5000, 5000)
    maps = (IDMapping(container_id=5000, host_id=7000, size=10),)
    mount = MountPoint(destination="/m", type="bind", source=str(source), options=("bind", "idmap"),
                       uid_mappings=maps, gid_mappings=maps)  # fmt: skip
    try:
        code, text = box.shell("stat -c %u:%g /m", mounts=(mount,))
    except (Unsupported, InvalidInput) as error:
        pytest.skip(f"this file system has no id-mapped mounts: {error}")
    assert (code, text) == (0, "7000:7000\n")


def test_sysctls_of_the_containers_own_namespaces(box: Box) -> None:
    linux = Linux(sysctl={"net.ipv4.ip_forward": "1", "kernel.msgmax": "4096"})
    script = "cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/msgmax"
    before = Path("/proc/sys/kernel/msgmax").read_text()
    assert box.shell(script, linux=linux)[1].split() == ["1", "4096"]
    assert Path("/proc/sys/kernel/msgmax").read_text() == before


def test_a_sysctl_that_does_not_exist_is_named(box: Box) -> None:
    with pytest.raises(InvalidInput, match=r"net\.ipv4\.nothing"):
        box.shell("true", linux=Linux(sysctl={"net.ipv4.nothing": "1"}))


# The process


def test_user_and_groups(box: Box) -> None:
    user = User(uid=1000, gid=1001, additional_gids=(7, 8))
    _, text = box.shell("cat /proc/self/status; echo HOME=$HOME", user=user)
    assert "Uid:\t1000\t1000\t1000\t1000" in text
    assert "Gid:\t1001\t1001\t1001\t1001" in text
    assert "Groups:\t7 8" in text
    assert "HOME=/home" in text


def test_umask_and_home_of_root(box: Box) -> None:
    assert box.shell("umask; echo $HOME", user=User(umask=0o027))[1] == "0027\n/root\n"


def test_environment_is_exactly_what_was_given(box: Box) -> None:
    env = ("PATH=/bin", "A=1", "EMPTY=", "HOME=/x", "A=2", "SPACE=a b")
    _, text = box.run(make_spec("env", env=env))
    assert sorted(text.splitlines()) == ["A=2", "EMPTY=", "HOME=/x", "PATH=/bin", "SPACE=a b"]


def test_default_capabilities(box: Box, host: Host) -> None:
    _, text = box.shell("cat /proc/self/status")
    expected = capabilities.mask(set(capabilities.DEFAULT) & host.capabilities)
    for name in ("CapPrm", "CapEff", "CapBnd"):
        assert int(status_field(text, name), 16) == expected
    for name in ("CapInh", "CapAmb"):
        assert int(status_field(text, name), 16) == 0


def test_five_sets_for_an_ordinary_user(box: Box) -> None:
    one, two = ("CAP_NET_RAW",), ("CAP_NET_RAW", "CAP_CHOWN")
    sets = Capabilities(bounding=two, effective=one, permitted=one, inheritable=one, ambient=one)
    _, text = box.shell("cat /proc/self/status", user=User(uid=1000, gid=1000), capabilities=sets)
    raw = capabilities.mask(one)
    for name in ("CapPrm", "CapEff", "CapInh", "CapAmb"):
        assert int(status_field(text, name), 16) == raw
    assert int(status_field(text, "CapBnd"), 16) == capabilities.mask(two)


def test_all_capabilities_are_cut_to_what_the_host_has(box: Box, host: Host) -> None:
    every = Capabilities(
        bounding=capabilities.ALL, effective=capabilities.ALL, permitted=capabilities.ALL
    )
    _, text = box.shell("cat /proc/self/status", capabilities=every)
    assert int(status_field(text, "CapEff"), 16) == capabilities.mask(host.capabilities)


def test_no_capabilities_section_means_none(box: Box) -> None:
    _, text = box.shell("cat /proc/self/status", capabilities=None)
    assert int(status_field(text, "CapEff"), 16) == 0
    assert int(status_field(text, "CapBnd"), 16) == 0


@pytest.mark.parametrize("no_new", [True, False])
def test_filter_and_no_new_privileges(box: Box, no_new: bool) -> None:
    rule = SeccompRule(names=("mkdir", "mkdirat"), action="SCMP_ACT_ERRNO", errno_ret=errno.EXDEV)
    seccomp = Seccomp(default_action="SCMP_ACT_ALLOW", syscalls=(rule,))
    script = "cat /proc/self/status; busybox mkdir /tmp/x"
    code, text = box.shell(script, linux=Linux(seccomp=seccomp), no_new_privileges=no_new)
    assert status_field(text, "NoNewPrivs") == str(int(no_new))
    assert status_field(text, "Seccomp") == "2"
    assert "Invalid cross-device link" in text
    assert code == 1


def test_without_filter_seccomp_is_off(box: Box) -> None:
    assert status_field(box.shell("cat /proc/self/status")[1], "Seccomp") == "0"


def test_a_filter_that_forbids_the_trampoline_still_runs_the_program(box: Box) -> None:
    rule = SeccompRule(names=("execveat", "fcntl"), action="SCMP_ACT_ERRNO", errno_ret=1)
    seccomp = Seccomp(default_action="SCMP_ACT_ALLOW", syscalls=(rule,))
    spec = make_spec("/bin/true", linux=Linux(seccomp=seccomp), no_new_privileges=True)
    assert box.run(spec)[0] == 0


def test_rlimits(box: Box) -> None:
    limits = (
        Rlimit(type="RLIMIT_NOFILE", soft=100, hard=200),
        Rlimit(type="RLIMIT_CORE", soft=0, hard=0),
    )
    _, text = box.shell("ulimit -Sn; ulimit -Hn; ulimit -Hc", rlimits=limits)
    assert text.split() == ["100", "200", "0"]


def test_a_limit_that_may_not_be_raised_stays(
    box: Box, host: Host, require: Callable[..., None]
) -> None:
    require("CAP_SYS_RESOURCE" not in host.capabilities, "this host may raise every limit")
    limits = (Rlimit(type="RLIMIT_MEMLOCK", soft=1 << 62, hard=1 << 62),)
    code, text = box.shell("ulimit -Hl", rlimits=limits)
    assert code == 0
    assert text.strip()


def test_unknown_limits_are_refused(box: Box) -> None:
    with pytest.raises(InvalidInput, match="RLIMIT_NOTHING"):
        box.shell("true", rlimits=(Rlimit(type="RLIMIT_NOTHING", soft=1, hard=1),))


def test_oom_score_scheduler_and_personality(box: Box) -> None:
    scheduler = Scheduler(policy="SCHED_BATCH", nice=5)
    linux = Linux(personality=Personality(domain="LINUX32"))
    script = "cat /proc/self/oom_score_adj; cat /proc/self/stat; busybox uname -m"
    _, text = box.shell(script, oom_score_adj=321, scheduler=scheduler, linux=linux)
    score, line, machine = text.splitlines()
    assert (score, line.rpartition(")")[2].split()[16]) == ("321", "5")
    assert machine in ("i686", "armv8l") or os.uname().machine not in ("x86_64", "aarch64")


# Terminals and descriptors


def test_a_terminal_is_the_controlling_one(box: Box) -> None:
    script = "readlink /proc/self/fd/0; stat -c %F /dev/console; echo > /dev/tty"
    spec = make_spec("sh", "-c", script, terminal=True)
    created = box.create(spec)
    assert created.console_fd is not None
    created.start()
    assert box.wait(created.pid) == 0
    text = os.read(created.console_fd, 4096).decode()
    os.close(created.console_fd)
    assert text.splitlines()[:2] == ["/dev/pts/0", "character special file"]


def test_the_console_socket_gets_the_master(box: Box) -> None:
    path = box.place / "console.sock"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen(1)
        created = box.create(make_spec("sh", "-c", "echo hi", terminal=True), console_socket=path)
        connection, _ = server.accept()
        with connection:
            _, descriptors, _, _ = socket.recv_fds(connection, 100, 1)
    assert created.console_fd is None
    created.start()
    box.wait(created.pid)
    assert os.read(descriptors[0], 100) == b"hi\r\n"
    os.close(descriptors[0])


def test_no_descriptor_of_ours_is_left(box: Box) -> None:
    leaks = [os.open("/etc/passwd", os.O_RDONLY) for _ in range(3)]
    for leak in leaks:
        os.set_inheritable(leak, True)
    try:
        _, text = box.run(make_spec("ls", "/proc/self/fd"))
    finally:
        for leak in leaks:
            os.close(leak)
    assert text.split() == ["0", "1", "2", "3"]  # 3 is the directory that ls reads


def test_preserved_descriptors_are_3_and_on(box: Box) -> None:
    numbers = [os.memfd_create("kept"), os.memfd_create("kept")]
    os.write(numbers[1], b"second")
    spec = make_spec("sh", "-c", "cat /proc/self/fd/4; ls /proc/self/fd")
    _, text = box.run(spec, preserved_fds=numbers)
    for number in numbers:
        os.close(number)
    assert text.split() == ["second0", "1", "2", "3", "4", "5"]


def test_signals_are_as_for_a_fresh_program(box: Box) -> None:
    before = signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        _, text = box.run(make_spec("cat", "/proc/self/status"))
    finally:
        signal.signal(signal.SIGUSR1, before)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    for name in ("SigIgn", "SigBlk", "SigCgt"):
        assert int(status_field(text, name), 16) == 0


def test_non_root_users_can_open_their_standard_output_by_name(box: Box) -> None:
    reader, writer = os.pipe()
    nothing = os.open("/dev/null", os.O_RDONLY)
    from workbench.runtime.create import Stdio

    spec = make_spec("sh", "-c", "echo hi > /dev/stdout", user=User(uid=1000, gid=1000))
    created = box.create(spec, stdio=Stdio(nothing, writer, writer))
    os.close(writer)
    created.start()
    assert box.wait(created.pid) == 0
    assert os.read(reader, 10) == b"hi\n"
    os.close(reader)
    os.close(nothing)


# Hooks


def hook_script(box: Box, name: str, body: str) -> Path:
    path = box.place / name
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


def test_hooks_run_in_their_order_and_read_the_state(box: Box) -> None:
    log = box.place / "log"

    def hook(kind: str) -> Hook:
        body = f"read -r state || true; echo {kind} $1 $state >> {log}"
        return Hook(path=str(hook_script(box, kind, body)), args=(kind, "arg"))

    inside = Hook(path="/bin/sh", args=("sh", "-c", "cat > /inside; echo start >> /inside"))
    hooks = Hooks(
        prestart=(hook("prestart"),), create_runtime=(hook("createRuntime"),),
        create_container=(hook("createContainer"),), start_container=(inside,),
        poststart=(hook("poststart"),), poststop=(hook("poststop"),),
    )  # fmt: skip
    spec = dataclasses.replace(make_spec("cat", "/inside"), hooks=hooks)
    with box.streams() as (stdio, read):
        created = box.create(spec, stdio=stdio)
        assert [line.split()[0] for line in log.read_text().splitlines()] == [
            "prestart", "createRuntime", "createContainer",
        ]  # fmt: skip
        assert f'"pid": {created.pid}' in log.read_text()
        assert '"status": "creating"' in log.read_text()
        created.start()
        box.wait(created.pid)
        assert read().rstrip().endswith("start")
    assert log.read_text().splitlines()[3].startswith("poststart arg")
    state.delete(created.directory)
    assert log.read_text().splitlines()[4].startswith("poststop arg")


@pytest.mark.parametrize("kind", ["prestart", "create_runtime", "create_container"])
def test_a_failing_hook_ends_the_creation(box: Box, kind: str) -> None:
    hook = Hook(path=str(hook_script(box, "bad", "echo why; exit 3")))
    spec = dataclasses.replace(make_spec("true"), hooks=Hooks(**{kind: (hook,)}))
    with pytest.raises(Exception, match=r"exit status 3, output: why"):
        box.create(spec)


def test_a_hook_that_takes_too_long_is_killed(box: Box) -> None:
    hook = Hook(path="/bin/sleep", args=("sleep", "60"), timeout=1)
    spec = dataclasses.replace(make_spec("true"), hooks=Hooks(create_runtime=(hook,)))
    with pytest.raises(Exception, match="no end after 1 seconds"):
        box.create(spec)


def _descriptors() -> set[str]:
    return {entry.name for entry in Path("/proc/self/fd").iterdir()}
