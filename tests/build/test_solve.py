"""Whole builds, with real stores and a runner that works on directories."""

from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from workbench.errors import BuildFailed, DockerfileError, ImageNotFound, InvalidInput
from workbench.events import StepFinished, StepOutput, StepStarted

APP = """\
FROM scratch
WORKDIR /app
COPY requirements.txt .
RUN write /app/installed yes
COPY . .
CMD ["python", "main.py"]
"""


@pytest.fixture
def context(bench: Any) -> Path:
    folder: Path = bench.context({"requirements.txt": "flask\n", "main.py": "print(1)\n"})
    return folder


def test_the_usual_python_project(bench: Any, context: Path) -> None:
    built = bench.build(APP, context=context)
    assert built.config.cmd == ("python", "main.py")
    assert built.config.working_dir == "/app"
    assert built.config.env == (
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    )
    assert built.history == [
        "WORKDIR /app",
        "COPY requirements.txt . # buildkit",
        "RUN /bin/sh -c write /app/installed yes # buildkit",
        "COPY . . # buildkit",
        'CMD ["python" "main.py"]',
    ]
    empty = [line.empty_layer for line in built.image.config.history]
    assert empty == [False, False, False, False, True]
    assert {line.comment for line in built.image.config.history} == {"buildkit.dockerfile.v0"}
    assert built.listing() == [
        "app/",
        "app/installed",
        "app/main.py",
        "app/requirements.txt",
    ]
    assert len(built.image.layers) == 4


def test_unchanged_is_all_cached_and_the_same_image(bench: Any, context: Path) -> None:
    first = bench.build(APP, context=context)
    second = bench.build(APP, context=context)
    assert second.ran() == []
    assert second.image == first.image
    assert len(bench.runner.calls) == 1


def test_times_do_not_count(bench: Any, context: Path) -> None:
    bench.build(APP, context=context)
    os.utime(context / "main.py", (1, 1))
    assert bench.build(APP, context=context).ran() == []


def test_a_changed_file_runs_only_what_reads_it(bench: Any, context: Path) -> None:
    bench.build(APP, context=context)
    (context / "main.py").write_text("print(2)\n")
    built = bench.build(APP, context=context)
    assert built.ran() == ["COPY . ."]
    assert built.steps[4].reason == "changed: main.py"
    assert built.text("/app/main.py") == "print(2)\n"


def test_the_reasons_of_misses(bench: Any, context: Path) -> None:
    first = bench.build(APP, context=context)
    assert {step.reason for step in first.steps if not step.cached} == {"never built before"}
    (context / "requirements.txt").write_text("django\n")
    second = bench.build(APP, context=context)
    assert [step.reason for step in second.steps] == [
        "",
        "",
        "changed: requirements.txt",
        "an earlier step changed",
        "changed: requirements.txt",
        "",
    ]
    third = bench.build(APP.replace("yes", "no"), context=context)
    assert third.steps[3].reason == "the instruction changed"
    fourth = bench.build(APP, context=context, no_cache=True)
    assert fourth.steps[3].reason == "the cache is off"


def test_a_variable_is_named_as_reason(bench: Any) -> None:
    text = "FROM scratch\nARG VERSION=1\nRUN write /v x\n"
    bench.build(text)
    built = bench.build(text, build_args={"VERSION": "2"})
    assert built.steps[2].reason == "variable changed: VERSION"
    assert built.history[-1] == "RUN |1 VERSION=2 /bin/sh -c write /v x # buildkit"


def test_a_layer_that_left_the_store_is_made_again(bench: Any, context: Path) -> None:
    built = bench.build(APP, context=context)
    bench.parts.content.delete(built.image.layers[2].descriptor.digest)
    again = bench.build(APP, context=context)
    assert again.steps[3].reason == "its layer was removed from the store"


def test_unused_stages_are_dropped(bench: Any) -> None:
    built = bench.build(
        "FROM scratch AS unused\nRUN fail 1\n"
        "FROM scratch AS made\nRUN write /a 1\n"
        "FROM scratch\nCOPY --from=made /a /b\n"
    )
    assert built.listing() == ["b"]
    assert [step.stage for step in built.steps] == ["made", "made", "stage-2", "stage-2"]


def test_target(bench: Any) -> None:
    text = "FROM scratch AS one\nRUN write /1 x\nFROM one AS two\nRUN write /2 x\n"
    assert bench.build(text, target="one").listing() == ["1"]
    assert bench.build(text, target="TWO").listing() == ["1", "2"]
    with pytest.raises(InvalidInput, match=r'"tow" could not be found \(did you mean two\?\)'):
        bench.build(text, target="tow")


def test_stages_run_in_parallel(bench: Any) -> None:
    built = bench.build(
        "FROM scratch AS a\nRUN meet 2 && write /a 1\n"
        "FROM scratch AS b\nRUN meet 2 && write /b 1\n"
        "FROM scratch\nCOPY --from=a /a /\nCOPY --from=b /b /\n"
    )
    assert built.listing() == ["a", "b"]
    assert bench.runner.most == 2


def test_equal_steps_run_once(bench: Any) -> None:
    text = (
        "FROM scratch AS a\nRUN write /a 1\nFROM scratch AS b\nRUN write /a 1\n"
        "FROM scratch\nCOPY --from=a /a /x\nCOPY --from=b /a /y\n"
    )
    bench.build(text)
    assert len(bench.runner.calls) == 1
    bench.build(text, no_cache=True)
    assert len(bench.runner.calls) == 2


def test_two_builds_of_the_same_at_once_work_once(bench: Any) -> None:
    text = "FROM scratch\nRUN write /a 1 && echo done\n"
    images = []

    def one() -> None:
        images.append(bench.build(text).image)

    threads = [threading.Thread(target=one) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(images) == 4
    assert {image.id for image in images} == {images[0].id}
    assert len(bench.runner.calls) == 1


def test_a_failed_run(bench: Any) -> None:
    text = "FROM scratch\n# comment\nRUN echo one \\\n && warn two \\\n && fail 3\nRUN echo never\n"
    with pytest.raises(BuildFailed) as caught:
        bench.build(text)
    error = caught.value
    assert error.message == (
        'process "/bin/sh -c echo one  && warn two  && fail 3" did not complete successfully: '
        "exit code: 3"
    )
    assert (error.line, error.code, error.tail) == (3, 3, "one\ntwo\n")
    assert ">>> RUN echo one" in error.excerpt
    assert bench.active() == []


def test_events_in_order(bench: Any) -> None:
    built = bench.build("FROM scratch\nENV A=1\nRUN echo hello && env A\n")
    kinds = [type(event).__name__ for event in built.events]
    assert kinds == [
        "StepStarted", "StepFinished", "StepStarted", "StepFinished",
        "StepStarted", "StepOutput", "StepOutput", "StepFinished",
    ]  # fmt: skip
    started = [event for event in built.events if isinstance(event, StepStarted)]
    assert [(item.index, item.total, item.line) for item in started] == [
        (1, 3, 1),
        (2, 3, 2),
        (3, 3, 3),
    ]
    output = [event.data for event in built.events if isinstance(event, StepOutput)]
    assert output == [b"hello\n", b"A=1\n"]
    last = built.events[-1]
    assert isinstance(last, StepFinished)
    assert (last.cached, last.reason) == (False, "never built before")


class Stop(Exception):
    pass


def test_a_raising_report_cancels_everything(bench: Any) -> None:
    def report(event: object) -> None:
        if isinstance(event, StepOutput):
            raise Stop

    text = (
        "FROM scratch AS a\nRUN wait\nFROM scratch AS b\nRUN meet 2 && echo x\n"
        "FROM scratch\nCOPY --from=a / /\nCOPY --from=b / /\n"
    )
    begun = time.monotonic()
    with pytest.raises(Stop):
        bench.build(text, report=report)
    assert time.monotonic() - begun < 2
    assert bench.active() == []


def test_a_failure_stops_the_other_branches(bench: Any) -> None:
    text = (
        "FROM scratch AS a\nRUN wait\nFROM scratch AS b\nRUN meet 2 && fail 1\n"
        "FROM scratch\nCOPY --from=a / /\nCOPY --from=b / /\n"
    )
    begun = time.monotonic()
    with pytest.raises(BuildFailed, match="exit code: 1"):
        bench.build(text)
    assert time.monotonic() - begun < 2
    assert bench.active() == []


def test_source_date_epoch_gives_the_same_image_anywhere(bench: Any, context: Path) -> None:
    options = {"source_date_epoch": 1_600_000_000, "rewrite_timestamp": True}
    first = bench.build(APP, context=context, **options)
    for path in (*context.iterdir(), context):
        os.utime(path, (1_700_000_000, 1_700_000_000))
    second = bench.build(APP, context=context, no_cache=True, **options)
    assert second.image.id == first.image.id
    assert second.image.config.created == "2020-09-13T12:26:40Z"


def test_unknown_image(bench: Any) -> None:
    with pytest.raises(ImageNotFound) as caught:
        bench.build("FROM pyhton\n")
    assert "pyhton: not found (did you mean python?)" in str(caught.value)
    assert ">>> FROM pyhton" in str(caught.value)


def test_missing_file_with_suggestion(bench: Any, context: Path) -> None:
    with pytest.raises(BuildFailed) as caught:
        bench.build("FROM scratch\nCOPY mian.py /\n", context=context)
    assert caught.value.message == (
        'failed to calculate checksum: "/mian.py": not found (did you mean main.py?)'
    )
    assert caught.value.line == 2


def test_ignored_file_says_so(bench: Any, context: Path) -> None:
    (context / ".dockerignore").write_text("*.py\n")
    with pytest.raises(BuildFailed) as caught:
        bench.build("FROM scratch\nCOPY main.py /\n", context=context)
    assert caught.value.hint == "main.py is there, but .dockerignore excludes it"


def test_no_context(bench: Any) -> None:
    with pytest.raises(BuildFailed, match="this build has no context"):
        bench.build("FROM scratch\nCOPY a /\n")


def test_onbuild_of_a_base(bench: Any) -> None:
    bench.base("base", "FROM scratch\nONBUILD COPY x /x\nONBUILD ENV SEEN=1\nRUN write /base 1\n")
    context = bench.context({"x": "x"})
    built = bench.build("FROM base\nRUN write /after 1\n", context=context)
    assert built.listing() == ["after", "base", "x"]
    assert "SEEN=1" in built.config.env
    assert built.config.on_build == ()


def test_secrets_stay_out_of_layers_keys_and_history(bench: Any) -> None:
    text = "FROM scratch\nRUN --mount=type=secret,id=token cat /run/secrets/token\n"
    built = bench.build(text, secrets={"token": b"hunter2"})
    assert built.steps[1].output_tail == "hunter2\n"
    assert built.listing() == []
    assert "hunter2" not in json.dumps(bench.cache.entries)
    assert b"hunter2" not in built.image.raw_config
    assert not any(path.is_file() for path in (bench.root / "scratch").rglob("*"))
    assert bench.build(text, secrets={"token": b"other"}).ran() == []


def test_cache_mounts_last(bench: Any) -> None:
    text = "FROM scratch\nRUN --mount=type=cache,target=/c echo {}\n"
    bench.build(text.format(1))
    source = Path(bench.runner.calls[0].settings.mounts[0].source)
    (source / "kept").write_text("x")
    bench.build(text.format(2))
    assert bench.runner.calls[1].settings.mounts[0].source == str(source)
    assert (source / "kept").exists()


def test_bind_mount_from_another_stage(bench: Any) -> None:
    built = bench.build(
        "FROM scratch AS a\nRUN write /d/f content\n"
        "FROM scratch\nRUN --mount=from=a,source=/d,target=/m cat /m/f && write /out 1\n"
    )
    assert built.steps[-1].output_tail == "content\n"
    assert built.listing() == ["out"]


def test_mount_stubs_are_removed(bench: Any) -> None:
    built = bench.build(
        "FROM scratch\n"
        "RUN --mount=type=tmpfs,target=/deep/er stub /deep/er && stub /proc && write /etc/x 1\n"
    )
    assert built.listing() == ["etc/", "etc/x"]


def test_wrong_platform_and_blank_base(bench: Any) -> None:
    with pytest.raises(DockerfileError, match=r"base name \(\$\{X\}\) should not be blank"):
        bench.build("ARG X\nFROM ${X}\n")
