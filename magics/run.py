"""Run: what ``%run_container`` answers with, and how a container's end becomes a cell's end."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

from magics import units
from magics.css import page
from magics.errors import ContainerFailed
from magics.render import state
from magics.streams import CellStreams
from workbench.events import Event, Notice, Output, Report

if TYPE_CHECKING:
    from magics.perform import Call
    from workbench import ContainerInfo, RunOptions

_MEANINGS = {
    126: "126 says that the command was found but cannot be executed.",
    127: "127 says that the command was not found in the container.",
    130: "130 says that it was interrupted.",
    137: "137 says that it was killed (SIGKILL).",
    139: "139 says that it crashed (SIGSEGV).",
    143: "143 says that it was asked to stop (SIGTERM).",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A container that was run. ``stdout`` and ``stderr`` are what it wrote in the foreground."""

    container: ContainerInfo
    stdout: str = ""
    stderr: str = ""

    @property
    def name(self) -> str:
        return self.container.name

    @property
    def id(self) -> str:
        return self.container.id

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        return self.container.exit_code

    def text(self) -> str:
        """One line, for terminals."""
        return f"{self._title()} · {self._state()} · {self.container.image}{self._ports()}"

    def html(self) -> str:
        """One line with the commands that come next."""
        name = escape(self.name)
        follow = (
            f"<code>%logs {name}</code> shows what it writes, <code>%stop {name}</code> ends it."
            if self.exit_code is None
            else f"<code>%ps -a</code> lists it, <code>%logs {name}</code> shows what it wrote."
        )
        return page(
            f'<p class="wb-head">{escape(self._title())} {state(self._state())}</p>'
            f'<p class="wb-note wb-mono" style="margin-top:0">{escape(self.container.image)}'
            f"{escape(self._ports())} · {escape(self.container.short_id)}{self._took()}</p>"
            f'<p class="wb-note">{follow}</p>'
        )

    def _title(self) -> str:
        return f"Container {self.name}"

    def _state(self) -> str:
        if self.exit_code is None:
            return self.container.status
        return f"exited ({self.exit_code})"

    def _took(self) -> str:
        begun, ended = self.container.started, self.container.finished
        if begun is None or ended is None or self.exit_code is None:
            return ""
        return f" · {units.duration((ended - begun).total_seconds())}"

    def _ports(self) -> str:
        return "".join(
            f" · {port.host_ip or '0.0.0.0'}:{port.host_port}"
            f" → {port.container_port}/{port.protocol}"
            for port in self.container.ports
        )


class _Kept:
    """A ``Report`` that hands on and keeps the last bytes of each stream, up to a bound."""

    BOUND = 8 * 1024**2

    def __init__(self, onward: Report) -> None:
        self._onward = onward
        self._data = {"stdout": bytearray(), "stderr": bytearray()}

    def __call__(self, event: Event) -> None:
        if isinstance(event, Output):
            kept = self._data[event.stream]
            kept += event.data
            if len(kept) > self.BOUND:
                del kept[: len(kept) - self.BOUND]
        self._onward(event)

    def text(self, stream: str) -> str:
        return self._data[stream].decode("utf-8", "replace")


def run(call: Call, options: RunOptions) -> Run:
    """Run the container. Raises ContainerFailed where it ends with another code than 0."""
    if options.interactive and not options.detach:
        # Nobody can type into it from a cell; with its input open it would wait for ever.
        options = dataclasses.replace(options, interactive=False, tty=False)
    streams = CellStreams()
    kept = _Kept(_notices_only if call.quiet else streams)
    try:
        container = call.engine.containers.run(options, report=kept)
    finally:
        streams.close()
    result = Run(container=container, stdout=kept.text("stdout"), stderr=kept.text("stderr"))
    if options.detach:
        return result
    if container.exit_code:
        _keep_before_failing(call, result)
        raise _failure(container, removed=options.remove)
    call.session.hush(result)
    return result


def _notices_only(event: Event) -> None:
    if isinstance(event, Notice):
        CellStreams()(event)


def _keep_before_failing(call: Call, result: Run) -> None:
    """``-o VAR`` holds the output of a failed run too: that is when one wants to look at it."""
    if call.arguments.output:
        call.session.shell.user_ns[call.arguments.output] = result


def _failure(container: ContainerInfo, *, removed: bool) -> ContainerFailed:
    code = container.exit_code or 0
    message = f"container {container.name} ({container.image}) ended with exit code {code}"
    if container.oom_killed:
        message += ": it used up its memory limit and was killed"
    meaning = "" if container.oom_killed else _MEANINGS.get(code, "")
    look = "" if removed else f"%logs {container.name} shows its output again."
    hint = " ".join(part for part in (container.error, meaning, look) if part)
    return ContainerFailed(message, hint=hint, name=container.name, code=code)
