"""Progress of a build: what is kept, and how it reads."""

from __future__ import annotations

from magics.progress import TAIL, Progress, Tail
from magics.progress_view import html, text
from workbench.events import LayerProgress, Notice, StepFinished, StepOutput, StepStarted


def started(index: int = 1, text: str = "RUN make <all>") -> StepStarted:
    return StepStarted(index=index, total=2, text=text, line=index)


def output(data: bytes) -> StepOutput:
    return StepOutput(index=1, stream="stdout", data=data)


def test_a_tail_keeps_split_characters_and_the_last_lines() -> None:
    tail = Tail()
    tail.feed(b"caf\xc3")
    tail.feed(b"\xa9\nopen")
    assert tail.lines == ["café", "open"]
    tail.feed(b"".join(b"\nline %d" % number for number in range(50)))
    assert len(tail.lines) == TAIL and tail.lines[-1] == "line 49"


def test_a_carriage_return_draws_over_the_line() -> None:
    tail = Tail()
    tail.feed(b"10 %\r50 %\r100 %\nwindows\r\n")
    assert tail.lines == ["100 %", "windows"]


def test_a_line_that_never_ends_is_bounded() -> None:
    tail = Tail()
    for _ in range(100):
        tail.feed(b"x" * 10_000)
    assert len("".join(tail.lines)) <= 4000


def test_the_running_step_shows_its_output_and_a_finished_one_does_not() -> None:
    progress = Progress(title="Build of app")
    assert progress.take(started())
    progress.take(output(b"compiling <x>\n"))
    picture = html(progress)
    assert "RUN make &lt;all&gt;" in picture and "compiling &lt;x&gt;" in picture
    assert "step 1 of 2" in picture and 'aria-valuenow="0"' in picture
    progress.take(StepFinished(index=1, cached=False, seconds=1.25, size=2_000_000))
    picture = html(progress)
    assert "compiling" not in picture and "1.25 s" in picture and "2.00 MB" in picture
    assert 'aria-valuenow="1"' in picture


def test_cached_steps_say_so() -> None:
    progress = Progress(title="Build")
    progress.take(started())
    progress.take(StepFinished(index=1, cached=True, size=5, image_id="0123456789ab"))
    progress.end("done", "image abc")
    assert "2 steps · 1 from cache" in html(progress) and "cached" in text(progress)
    assert "image abc" in text(progress)


def test_a_step_without_a_layer_is_done_since_nothing_of_it_is_kept() -> None:
    progress = Progress(title="Build")
    progress.take(started(text='CMD ["true"]'))
    progress.take(StepFinished(index=1, cached=True))
    progress.end("done")
    assert "from cache" not in html(progress) and "done" in text(progress)


def test_failing_and_stopping_leave_the_step_marked_with_its_last_lines() -> None:
    for state in ("failed", "stopped"):
        progress = Progress(title="Build")
        progress.take(started())
        progress.take(output(b"oh no\n"))
        progress.end(state)
        picture = html(progress)
        assert (
            state in picture
            and "oh no" in picture
            and "wb-live" not in picture.split("</style>")[1]
        )


def test_transfers_show_bytes_and_go_when_the_step_ends() -> None:
    progress = Progress(title="Build")
    progress.take(started(text="FROM python"))
    progress.take(
        LayerProgress(
            id="sha256:" + "ab" * 32, state="Downloading", current=1_500_000, total=3_000_000
        )
    )
    assert "1.50 MB of 3.00 MB" in html(progress)
    progress.take(StepFinished(index=1, cached=False))
    assert "Downloading" not in html(progress)


def test_notices_are_kept() -> None:
    progress = Progress(title="Build")
    assert progress.take(Notice(message="careful <here>"))
    assert "careful &lt;here&gt;" in html(progress)
