"""The child's side: perform the plan, wait for start, become the program.

This is our interpreter, forked, in the middle of somebody else's file system. So it loads no
module (``forget_the_caller`` takes the means away), keeps no descriptor of the caller, and ends
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
from workbench.runtime import perform
from workbench.runtime.channel import Channel, error_message
from workbench.runtime.plan import InitPlan
from workbench.runtime.scene import Scene
from workbench.runtime.steps import Step

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
        forget_the_caller()
        ours = [channel.fileno(), *([listener.fileno()] if listener else [])]
        number, *rest = arrange_descriptors(ours, stdio, preserved)
        scene = Scene(channel=Channel.of(number), proc=open_proc())
        if rest:
            scene.listener = socket.socket(fileno=rest[0])
        perform_all(plan.prepare, scene)
        perform_all(plan.begin, scene)
    except BaseException as error:  # noqa: BLE001 - whatever it is, the parent must hear of it
        report(scene.channel if scene else channel, error, scene)
    os._exit(_FAILED)


def perform_all(todo: Sequence[Step], scene: Scene) -> None:
    """The loop: one step after the other. Raises what the step raises."""
    for step in todo:
        scene.step = step
        perform.perform(step, scene)


def report(channel: Channel, error: BaseException, scene: Scene | None) -> None:
    """Tell the parent. Where nobody listens any more there is nothing left to do."""
    doing = scene.step.describe() if scene and scene.step else "starting"
    try:
        channel.send("error", **error_message(error, scene.doing or doing if scene else doing))
    except OSError:
        os._exit(_FAILED)


def open_proc() -> int:
    """The host's procfs, before anything of the container's could stand in its place."""
    return os.open("/proc", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)


def forget_the_caller() -> None:
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
    ours: Sequence[int], stdio: Sequence[int] | None, preserved: Sequence[int]
) -> list[int]:
    """0, 1, 2 as given, then what is preserved, then ours (close-on-exec); the rest is closed.

    Returns the new numbers of ``ours``.
    """
    first = 3 + len(preserved)
    wanted = [*(stdio if stdio is not None else (0, 1, 2)), *preserved]
    floor = first + len(ours) + len(wanted)
    safe = [fcntl.fcntl(number, fcntl.F_DUPFD_CLOEXEC, floor) for number in (*ours, *wanted)]
    moved = safe[: len(ours)]
    for target, source in enumerate(safe[len(ours) :]):
        os.dup2(source, target)
    process.close_from(first, keep=frozenset(moved))
    return moved


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
    process.set_dumpable(on=bool(plan.uid_mappings))  # the parent must be able to map
    return process.fork(plan.flags | namespaces.CLONE_PARENT)
