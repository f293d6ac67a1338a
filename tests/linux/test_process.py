"""Processes, descriptors, terminals."""

from __future__ import annotations

import os
import signal
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from workbench.linux import libc, process, pty, trampoline

ROOT = Path(__file__).resolve().parents[2]


def test_errors_name_the_call() -> None:
    with pytest.raises(FileNotFoundError, match="umount2"):
        libc.call("umount2", b"/no/such/place", 0)
    with pytest.raises(OSError, match="openat2"):
        libc.syscall("openat2", -1, b"x", struct.pack("=QQQ", 0, 0, 0), 24)


def test_fork_returns_twice() -> None:
    child = process.fork()
    if child == 0:
        os._exit(17)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 17


def test_signals_through_a_pidfd() -> None:
    child = os.posix_spawn("/bin/sleep", ["sleep", "60"], {})
    descriptor = process.pidfd_open(child)
    process.pidfd_send_signal(descriptor, signal.SIGKILL)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    with pytest.raises(ProcessLookupError):
        process.pidfd_send_signal(descriptor, 0)
    os.close(descriptor)


def test_start_time_of_a_strange_name(tmp_path: Path) -> None:
    program = tmp_path / "a) Z (b"
    program.symlink_to("/bin/sleep")
    child = os.posix_spawn(program, ["sleep", "60"], {})
    try:
        assert process.start_time(child) >= process.start_time(os.getpid())
        assert process.is_alive(child)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    with pytest.raises(ProcessLookupError):
        process.start_time(child)


def run(code: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True,
                          text=True, check=True)  # fmt: skip
    return done.stdout


def test_closing_all_but_some() -> None:
    code = """
import os
from workbench.linux import process
numbers = [os.open("/dev/null", 0) for _ in range(8)]
process.close_from(3, keep=frozenset({numbers[2], numbers[5]}))
print(*[n for n in numbers if os.path.exists(f"/proc/self/fd/{n}")], numbers[2], numbers[5])
"""
    first, second, *kept = run(code).split()
    assert [first, second] == kept


def test_close_on_exec_and_subreaper() -> None:
    code = """
import os
from workbench.linux import process
n = os.open("/dev/null", 0); os.set_inheritable(n, True)
process.close_on_exec_from(3)
process.set_child_subreaper()
print(os.get_inheritable(n), process.working_directory() == os.getcwd())
"""
    assert run(code).split() == ["False", "True"]


def test_a_pty_pair() -> None:
    master, slave = pty.open_pty()
    try:
        pty.set_size(master, 12, 34)
        assert os.get_terminal_size(slave) == (34, 12)
        assert os.ttyname(slave) == f"/dev/pts/{pty.number(master)}"
        os.write(slave, b"hi\n")
        assert os.read(master, 10) == b"hi\r\n"
    finally:
        os.close(master)
        os.close(slave)


def test_what_is_no_multiplexer_is_not_opened(tmp_path: Path) -> None:
    (tmp_path / "ptmx").touch()
    before = _descriptors()
    with pytest.raises(OSError, match="multiplexer"):
        pty.open_pty(tmp_path, "ptmx")
    assert _descriptors() == before


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_the_trampoline_is_a_small_program_for_its_machine(machine: str) -> None:
    data = trampoline.image(b"/bin/sh", 9, machine)
    assert data[:4] == b"\x7fELF"
    assert struct.unpack_from("<H", data, 18)[0] == {"x86_64": 62, "aarch64": 183}[machine]
    assert data.endswith(b"/bin/sh\0")
    assert len(data) < 400


@pytest.mark.parametrize(
    ("path", "expected"),
    [(b"/bin/echo", (0, b"a b\n", b"")), (b"/none", (127, b"", struct.pack("=q", -2)))],
)
def test_the_trampoline_executes_or_reports(
    path: bytes, expected: tuple[int, bytes, bytes]
) -> None:
    reader, writer = os.pipe()
    output, given = os.pipe()
    sealed = trampoline.make(path, writer)
    if sealed is None:
        pytest.skip("no trampoline for this machine")
    with pytest.raises(PermissionError):
        os.write(sealed, b"x")
    child = os.fork()
    if child == 0:
        os.dup2(given, 1)
        os.set_inheritable(writer, True)
        os.execve(sealed, ["echo", "a", "b"], {"X": "1"})
    for number in (writer, given, sealed):
        os.close(number)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert (code, os.read(output, 100), os.read(reader, 100)) == expected
    os.close(reader)
    os.close(output)


def test_an_unknown_machine_has_no_trampoline() -> None:
    assert trampoline.make(b"/x", 9, "vax") is None


def _descriptors() -> set[str]:
    return {entry.name for entry in Path("/proc/self/fd").iterdir()}
