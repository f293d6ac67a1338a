"""A launcher whose runtime just forks and executes: ``python fake_launcher.py ROOT``.

The containers' own ``config.json`` says what to run; there is no root file system and no namespace.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sys
from pathlib import Path

from workbench.errors import CommandNotFound, Conflict, Unsupported
from workbench.monitor import launcher
from workbench.monitor.driver import Child
from workbench.monitor.record import process_start
from workbench.monitor.streams import Ends
from workbench.oci.runtime_spec import Process, Spec


class FakeRuntime:
    """Forks; ``create`` waits in the child for ``start``, as the true one does."""

    def prepare(self, root: Path) -> None:
        self.root = root

    def create(self, directory: Path, container_id: str, ends: Ends | None) -> Child:
        if (directory / "state.json").exists():
            raise Conflict(f"container {container_id} exists")
        process = self.process(directory)
        pid, console, gate = _fork(process, ends)
        facts = {"pid": pid, "start": process_start(pid)}
        (directory / "state.json").write_text(json.dumps(facts))

        def start() -> None:
            os.write(gate, b"+")
            os.close(gate)

        return Child(pid=pid, console=console, start=start)

    def execute(self, directory: Path, process: Process, ends: Ends | None) -> Child:
        self._pid(directory)
        pid, console, gate = _fork(process, ends)
        os.write(gate, b"+")
        os.close(gate)
        return Child(pid=pid, console=console, start=lambda: None)

    def process(self, directory: Path) -> Process:
        return Spec.parse((directory / "config.json").read_bytes()).process or Process()

    def kill(self, directory: Path, number: int, *, everything: bool = False) -> None:
        pid = self._pid(directory)
        try:
            os.killpg(pid, number) if everything else os.kill(pid, number)
        except ProcessLookupError:
            raise Conflict("container not running") from None

    def pause(self, directory: Path) -> None:
        self.kill(directory, signal.SIGSTOP)

    def resume(self, directory: Path) -> None:
        self.kill(directory, signal.SIGCONT)

    def oom_kills(self, directory: Path) -> int:
        return 1 if (directory / "oom").exists() else 0

    def delete(self, directory: Path) -> None:
        with contextlib.suppress(Conflict):
            self.kill(directory, signal.SIGKILL, everything=True)
        (directory / "state.json").unlink(missing_ok=True)

    def _pid(self, directory: Path) -> int:
        try:
            return int(json.loads((directory / "state.json").read_text())["pid"])
        except FileNotFoundError:
            raise Conflict("container not running") from None


def _fork(process: Process, ends: Ends | None) -> tuple[int, int | None, int]:
    if process.args[0] == "unsupported":
        raise Unsupported("this host cannot do it", hint="another could")
    program = shutil.which(process.args[0])
    if program is None:
        raise CommandNotFound(f'exec: "{process.args[0]}": executable file not found in $PATH')
    master = slave = -1
    if ends is None:
        master, slave = os.openpty()
        ends = Ends(stdin=slave, stdout=slave, stderr=slave)
    waits, gate = os.pipe2(os.O_CLOEXEC)
    handled = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    signal.pthread_sigmask(signal.SIG_BLOCK, handled)
    pid = os.fork()
    if pid == 0:
        for number in handled:
            signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, handled)
    if pid == 0:
        try:
            _become(program, process, ends, waits, gate, terminal=slave >= 0)
        finally:
            os._exit(125)
    os.close(waits)
    if slave >= 0:
        os.close(slave)
    return pid, master if master >= 0 else None, gate


def _become(
    program: str, process: Process, ends: Ends, waits: int, gate: int, *, terminal: bool
) -> None:
    os.close(gate)
    os.setsid()
    if os.read(waits, 1) != b"+":
        return
    if terminal:
        import fcntl
        import termios

        fcntl.ioctl(ends.stdin, termios.TIOCSCTTY, 0)
    for target, fd in enumerate((ends.stdin, ends.stdout, ends.stderr)):
        os.dup2(fd, target)
    env = dict(item.split("=", 1) for item in process.env)
    os.execve(program, list(process.args), env)


if __name__ == "__main__":
    sys.exit(launcher.main(sys.argv[1:], FakeRuntime()))
