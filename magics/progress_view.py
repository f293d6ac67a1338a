"""Progress -> HTML, text, and lines for a terminal. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from magics import units
from magics.css import BUILD, page
from magics.progress import Progress, Step
from magics.render import aligned, state
from workbench.events import Event, LayerProgress, Notice, StepFinished, StepStarted

_HEAD = (
    '<thead><tr><th scope="col" class="wb-n">#</th><th scope="col">Instruction</th>'
    '<th scope="col">State</th><th scope="col" class="wb-n">Time</th>'
    '<th scope="col" class="wb-n">Size</th></tr></thead>'
)


def html(progress: Progress) -> str:
    """The whole picture; still when nothing runs any more."""
    parts = [f'<p class="wb-head">{escape(progress.title)} {_outcome(progress)}</p>']
    if progress.state == "running" and progress.total:
        parts.append(_track(progress))
    if progress.steps:
        rows = "".join(_rows(step) for _, step in sorted(progress.steps.items()))
        label = escape(f"Steps of {progress.title}")
        parts.append(
            f'<div class="wb-scroll" role="region" tabindex="0" aria-label="{label}">'
            f'<table class="wb-t">{_HEAD}<tbody>{rows}</tbody></table></div>'
        )
    if progress.state == "running" and progress.transfers:
        words = "\n".join(map(_transfer_words, progress.transfers.values()))
        parts.append(f'<pre class="wb-tail">{escape(words)}</pre>')
    parts += [f'<p class="wb-note">{escape(words)}</p>' for words in progress.notices[-5:]]
    return page("".join(parts), BUILD)


def _outcome(progress: Progress) -> str:
    return f'<span class="wb-muted" style="font-weight:400">{escape(_summary(progress))}</span>'


def _summary(progress: Progress) -> str:
    """What stands behind the title: where it is, how it ended, how long it took."""
    took = units.duration(progress.seconds)
    count = f"{progress.total} step{'' if progress.total == 1 else 's'}"
    if progress.state == "running":
        now = max(progress.steps, default=0)
        return f"step {now} of {progress.total} · {took}" if progress.total else took
    words = [count, took] if progress.total else [took]
    if progress.cached:
        words.insert(1, f"{progress.cached} from cache")
    if progress.state in ("failed", "stopped"):
        words.insert(0, progress.state)
    return " · ".join([*words, progress.outcome] if progress.outcome else words)


def _track(progress: Progress) -> str:
    share = 100 * progress.ended / progress.total
    return (
        f'<div class="wb-track" role="progressbar" aria-label="{escape(progress.title)}" '
        f'aria-valuemin="0" aria-valuemax="{progress.total}" aria-valuenow="{progress.ended}">'
        f'<i style="width:{share:.0f}%"></i></div>'
    )


def _rows(step: Step) -> str:
    """A step, and below it the last lines of its output while it runs or where it failed."""
    open_ = step.state in ("running", "failed", "stopped")
    tail = step.tail.lines if open_ else []
    mark = {"running": "wb-run", "failed": "wb-bad", "stopped": "wb-bad"}.get(step.state, "")
    word = state(step.state)
    if step.state == "running":
        sign = '<span class="wb-live" aria-hidden="true">●</span>'
        word = f'<span class="wb-blue">{sign} running</span>'
    took = units.duration(step.seconds) if step.seconds or not open_ else ""
    reason = f' title="{escape(step.reason)}"' if step.reason else ""
    row = (
        f'<tr class="{mark if tail else ""}"><td class="wb-n">{step.index}</td>'
        f'<td class="wb-c">{escape(step.text)}</td><td{reason}>{word}</td>'
        f'<td class="wb-n">{took if step.state != "cached" else "—"}</td>'
        f'<td class="wb-n">{_size(step)}</td></tr>'
    )
    if not tail:
        return row
    shown = escape("\n".join(tail))
    output = f'<td colspan="4"><pre class="wb-tail">{shown}</pre></td>'
    return f'{row}<tr class="wb-out"><td></td>{output}</tr>'


def _size(step: Step) -> str:
    if step.state not in ("done", "cached"):
        return ""
    return units.size(step.size) if step.size else "—"


def _transfer_words(one: LayerProgress) -> str:
    name = one.id.removeprefix("sha256:")[:12]
    if not one.current and not one.total:
        return f"{name}  {one.state}"
    of = f" of {units.size(one.total)}" if one.total else ""
    return f"{name}  {one.state}  {units.size(one.current)}{of}"


def text(progress: Progress) -> str:
    """The same as plain text, for exports and terminals."""
    lines = [f"{progress.title}: {_summary(progress)}"]
    if progress.steps:
        cells = [["#", "Instruction", "State", "Time", "Size"]]
        for _, step in sorted(progress.steps.items()):
            took = units.duration(step.seconds) if step.state == "done" else ""
            cells.append([str(step.index), _cut(step.text), step.state, took, _size(step)])
        lines += ["", aligned(cells, [True, False, False, True, True])]
    for step in progress.steps.values():
        if step.state in ("running", "failed", "stopped"):
            lines += [f"  | {line}" for line in step.tail.lines]
    return "\n".join([*lines, *progress.notices[-5:]])


def _cut(words: str, width: int = 60) -> str:
    line = " ".join(words.split())
    return line if len(line) <= width else line[: width - 1] + "…"


def lines(progress: Progress, event: Event) -> Iterator[str]:
    """What a terminal is told of one event, as Docker's classic builder does; not the output."""
    if isinstance(event, StepStarted):
        yield f"Step {event.index}/{event.total} : {event.text}\n"
    elif isinstance(event, StepFinished):
        size = f", {units.size(event.size)}" if event.size else ""
        words = (
            "from cache"
            if event.cached and event.image_id
            else f"{units.duration(event.seconds)}{size}"
        )
        yield f" ---> {words}\n"
    elif isinstance(event, Notice):
        yield f"{event.message}\n"
    elif isinstance(event, LayerProgress) and progress.state == "running" and not event.current:
        yield f"{_transfer_words(event)}\n"
