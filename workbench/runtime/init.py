"""The child's side: perform the plan, wait for start, become the program.

This is our interpreter, forked, in the middle of somebody else's file system. So it loads no
module (``_forget_the_caller`` takes the means away), keeps no descriptor of the caller, and ends
only by execve(2) or ``os._exit``.
"""

from __future__ import annotations

import fcntl
import gc
import os
import signal
import socket
import sys
from collections.abc import Sequence
from typing import NoReturn

from workbench.linux import namespaces, process
from workbench.runtime import perform, steps
from workbench.runtime.channel import Channel, error_message
from workbench.runtime.plan import InitPlan
from workbench.runtime.scene import Scene

_FAILED = 125


def run(
    plan: InitPlan,
    channel: Channel,
    *,
    stdio: Sequence[int] | None,
    preserved: Sequence[int] = (),
    listener: socket.socket | None = None,
) -> NoReturn:
    """Never returns. Failures go to the parent as a message; the exit code is 125 then.

    ``stdio`` None keeps 0, 1 and 2. ``listener`` is the socket on which another process says
    start; without it the parent does.
    """
    scene: Scene | None = None
    try:
        _forget_the_caller()
        channel, listener = arrange_descriptors(channel, listener, stdio, preserved)
        proc = os.open("/proc", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        scene = Scene(channel=channel, proc=proc)
        for step in plan.prepare:
            scene.doing = step.describe()
            perform.perform(step, scene)
        for step in plan.begin:
            scene.doing = step.describe()
            if isinstance(step, steps.AwaitStart):
                scene.channel = _await_start(scene, listener)
            else:
                perform.perform(step, scene)
    except BaseException as error:  # noqa: BLE001 - whatever it is, the parent must hear of it
        report(scene.channel if scene else channel, error, scene.doing if scene else "init")
    os._exit(_FAILED)


def report(channel: Channel, error: BaseException, doing: str) -> None:
    """Tell the parent. Where nobody listens any more there is nothing left to do."""
    try:
        channel.send("error", **error_message(error, doing))
    except OSError:
        os._exit(_FAILED)


def _forget_the_caller() -> None:
    """Signals as for a fresh program; nothing is imported from now on, as paths change meaning."""
    gc.disable()
    sys.meta_path.clear()
    sys.path.clear()
    signal.set_wakeup_fd(-1)
    for number in signal.valid_signals():
        if signal.getsignal(number) not in (signal.SIG_DFL, None) and number not in _FIXED:
            signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


_FIXED = (signal.SIGKILL, signal.SIGSTOP)


def arrange_descriptors(
    channel: Channel,
    listener: socket.socket | None,
    stdio: Sequence[int] | None,
    preserved: Sequence[int],
) -> tuple[Channel, socket.socket | None]:
    """0, 1, 2 as given, then what is preserved, then ours (close-on-exec); the rest is closed."""
    first = 3 + len(preserved)
    wanted = [*(stdio if stdio is not None else (0, 1, 2)), *preserved]
    sources = [channel.fileno(), *([listener.fileno()] if listener else []), *wanted]
    safe = [fcntl.fcntl(number, fcntl.F_DUPFD_CLOEXEC, first + len(sources)) for number in sources]
    ours = safe[: -len(wanted)]
    for target, source in enumerate(safe[-len(wanted) :]):
        os.dup2(source, target)
    process.close_from(first, keep=frozenset(ours))
    moved = Channel(socket.socket(fileno=ours[0]))
    return moved, socket.socket(fileno=ours[1]) if listener else None


def _await_start(scene: Scene, listener: socket.socket | None) -> Channel:
    """The channel on which to report from now on: that of whoever says start."""
    scene.channel.send("created")
    if listener is None:
        perform.await_message(scene, "start")
        return scene.channel
    scene.channel.close()
    connection, _ = listener.accept()
    listener.close()
    return Channel(connection)


def join_and_clone(plan: InitPlan, channel: Channel) -> int:
    """Enter the namespaces of ``plan.join`` and clone init as our parent's child.

    Runs in a stage process of its own. Returns 0 in init; in the stage, the pid of init.
    Paths are opened before the first setns(2), which changes what they mean.
    """
    process.set_dumpable(on=False)
    opened = [(ns, os.open(ns.path, os.O_RDONLY | os.O_CLOEXEC)) for ns in plan.join]
    for namespace, descriptor in opened:
        try:
            namespaces.setns(descriptor, namespaces.FLAGS[namespace.type])
        except OSError as error:
            raise OSError(error.errno, os.strerror(error.errno or 0), namespace.path) from None
        os.close(descriptor)
    process.set_dumpable(on=True)
    return process.fork(plan.flags | namespaces.CLONE_PARENT)
