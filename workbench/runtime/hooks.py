"""Hooks: programs that run at points of a container's life, with its state on their input.

Source: runtime-spec 1.2, ``config.md``, "POSIX-platform Hooks".
"""

from __future__ import annotations

import json
import os
import select
import signal
from collections.abc import Mapping, Sequence
from typing import Any, Final

from workbench.errors import Internal
from workbench.oci.runtime_spec import Hook

_TAIL: Final = 4096


def run_all(kind: str, hooks: Sequence[Hook], state: Mapping[str, Any]) -> None:
    """Run them in order. Raises Internal at the first that fails."""
    for hook in hooks:
        run(kind, hook, state)


def run(kind: str, hook: Hook, state: Mapping[str, Any]) -> None:
    """Run one hook and wait for it. Raises Internal with its output where it fails."""
    text = json.dumps(state).encode()
    with _scratch(text) as given, _scratch(b"") as output:
        env = dict(line.partition("=")[::2] for line in hook.env)
        actions = [
            (os.POSIX_SPAWN_DUP2, given.fileno(), 0),
            (os.POSIX_SPAWN_DUP2, output.fileno(), 1),
            (os.POSIX_SPAWN_DUP2, output.fileno(), 2),
        ]
        try:
            child = os.posix_spawn(hook.path, hook.args or (hook.path,), env, file_actions=actions)
        except OSError as error:
            raise Internal(f"error running {kind} hook: {hook.path}: {error.strerror}") from error
        reason = _wait(child, hook.timeout)
        if reason:
            output.seek(0)
            said = output.read()[-_TAIL:].decode("utf-8", "replace").strip()
            raise Internal(f"error running {kind} hook: {hook.path}: {reason}, output: {said}")


def _scratch(content: bytes) -> Any:
    """A file in memory: it needs no directory, in which namespace ever we are."""
    file = os.fdopen(os.memfd_create("hook"), "w+b")
    file.write(content)
    file.flush()
    file.seek(0)
    return file


def _wait(child: int, timeout: int | None) -> str:
    """Why it failed; empty where it did not."""
    watch = os.pidfd_open(child)
    try:
        ready, _, _ = select.select([watch], [], [], timeout)
        if not ready:
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
    finally:
        os.close(watch)
    if not ready:
        return f"no end after {timeout} seconds"
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        return f"killed by signal {-code}"
    return f"exit status {code}" if code else ""
