"""Builds through the engine: real steps, the cache, and errors that leave the store alone."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import jsonschema
import jsonschema.protocols
import pytest
import referencing
import referencing.jsonschema

from workbench.engine import Engine
from workbench.engine.values import BuildResult, ContainerInfo
from workbench.errors import (
    BuildFailed,
    DockerfileError,
    ImageNotFound,
    InvalidInput,
    NotFound,
    WorkbenchError,
)
from workbench.events import Event, StepOutput

pytestmark = pytest.mark.kernel
Run = Callable[..., tuple[ContainerInfo, bytes, bytes]]
SCHEMAS = Path(__file__).resolve().parents[1] / "golden" / "oci-schema"

APP = """\
FROM toolbox
ARG WHO=nobody
ENV GREETING="hello $WHO"
LABEL made.by=test
WORKDIR /app
COPY base.txt ./
RUN cat base.txt > made.txt && echo "$GREETING" >> made.txt
COPY late.txt ./
RUN cat late.txt >> made.txt
ENTRYPOINT ["cat"]
CMD ["made.txt"]
"""


@pytest.fixture
def context(tmp_path: Path) -> Path:
    folder = tmp_path / "context"
    folder.mkdir()
    (folder / "base.txt").write_text("base\n")
    (folder / "late.txt").write_text("late\n")
    (folder / "Dockerfile").write_text(APP)
    return folder


def _names(engine: Engine) -> set[str]:
    return {name.familiar for info in engine.images.list(all=True) for name in info.references}


def _left(engine: Engine) -> list[str]:
    root = engine.config.root
    active = [path.name for path in (root / "snapshots").iterdir() if path.name.startswith("build")]
    return active + [path.name for path in (root / "builds").iterdir()]


def _ran(result: BuildResult) -> list[str]:
    return [step.text.split()[0] for step in result.steps if not step.cached]


def test_an_image_is_built_and_runs(engine: Engine, context: Path, run: Run) -> None:
    result = engine.builds.build(context, tags=["app:1"], build_args={"WHO": "world"})
    config = result.image.config.config
    assert "GREETING=hello world" in config.env
    assert config.labels["made.by"] == "test"
    assert config.working_dir == "/app"
    assert [name.familiar for name in result.references] == ["app:1"]
    _, out, _ = run(image="app:1")
    assert out == b"base\nhello world\nlate\n"
    assert _left(engine) == []


def test_the_second_time_all_comes_from_the_cache(engine: Engine, context: Path) -> None:
    first = engine.builds.build(context, tags=["cached"])
    second = engine.builds.build(context, tags=["cached"])
    assert all(step.cached for step in second.steps if step.text.split()[0] in ("RUN", "COPY"))
    assert second.image.id == first.image.id
    assert "RUN" in _ran(engine.builds.build(context, tags=["cached"], no_cache=True))


def test_a_changed_file_runs_only_what_follows_it(engine: Engine, context: Path, run: Run) -> None:
    engine.builds.build(context, tags=["changed"])
    (context / "late.txt").write_text("later\n")
    result = engine.builds.build(context, tags=["changed"])
    worked = [(step.text.split()[0], step.line) for step in result.steps if not step.cached]
    assert [item for item in worked if item[0] in ("RUN", "COPY")] == [("COPY", 8), ("RUN", 9)]
    _, out, _ = run(image="changed")
    assert out == b"base\nhello nobody\nlater\n"


def test_a_failing_step_is_told_with_line_code_and_last_words(engine: Engine) -> None:
    before = _names(engine)
    text = "FROM toolbox\nRUN true\nRUN echo about to fail; echo why >&2; exit 7\n"
    with pytest.raises(BuildFailed) as caught:
        engine.builds.build(None, dockerfile=text, tags=["broken"])
    error = caught.value
    assert (error.line, error.code) == (3, 7)
    assert "about to fail" in error.tail
    assert "why" in error.tail
    assert "exit 7" in error.step
    assert _names(engine) == before
    assert _left(engine) == []


@pytest.mark.parametrize(
    "text,kind,word",
    [
        ("FROM toolbox\nRUNN true\n", DockerfileError, "RUNN"),
        ("FROM toolbox\nCOPY one\n", DockerfileError, "COPY"),
        ("RUN true\n", DockerfileError, "no build stage"),
        ("", DockerfileError, "empty"),
        ("FROM nowhere-to-be-found\n", ImageNotFound, "nowhere-to-be-found"),
        ("FROM toolbox\nCOPY missing.txt /\n", BuildFailed, "missing.txt"),
        ("FROM toolbox\nCOPY ../../etc/shadow /\n", BuildFailed, "shadow"),
    ],
)
def test_what_cannot_be_built_is_refused_in_place(
    engine: Engine, context: Path, text: str, kind: type[WorkbenchError], word: str
) -> None:
    before = _names(engine)
    with pytest.raises(kind) as caught:
        engine.builds.build(context, dockerfile=text, tags=["refused"])
    assert word in str(caught.value)
    assert _names(engine) == before
    assert _left(engine) == []


def test_an_unknown_instruction_is_shown_with_its_line_and_a_mend(engine: Engine) -> None:
    with pytest.raises(DockerfileError) as caught:
        engine.builds.build(None, dockerfile="FROM toolbox\nRUNN true\n")
    assert caught.value.line == 2
    assert "RUNN true" in caught.value.excerpt
    assert "did you mean RUN?" in str(caught.value)


def test_a_context_that_is_missing_is_named(engine: Engine, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="gone") as caught:
        engine.builds.build(tmp_path / "gone", tags=["x"])
    assert caught.value.hint
    with pytest.raises(NotFound, match="Dockerfile"):
        engine.builds.build(tmp_path, tags=["x"])


def test_from_scratch_holds_only_what_is_copied(
    engine: Engine, context: Path, run: Run, require: Callable[[object, str], None]
) -> None:
    busybox = shutil.which("busybox")
    require(busybox, "needs a static program")
    shutil.copy(str(busybox), context / "busybox")
    text = (
        'FROM scratch\nCOPY busybox /bin/busybox\nENTRYPOINT ["/bin/busybox"]\nCMD ["ls", "/bin"]\n'
    )
    result = engine.builds.build(context, dockerfile=text, tags=["tiny"])
    assert len(result.image.layers) == 1
    _, out, _ = run(image="tiny")
    assert out == b"busybox\n"


def test_a_stage_is_copied_from(engine: Engine, run: Run) -> None:
    text = (
        "FROM toolbox AS made\nRUN echo result > /result; echo secret > /other\n"
        "FROM toolbox\nCOPY --from=made /result /final\nCMD cat /final; ls /other\n"
    )
    engine.builds.build(None, dockerfile=text, tags=["staged"])
    info, out, _ = run(image="staged")
    assert out == b"result\n"
    assert info.exit_code != 0
    part = engine.builds.build(None, dockerfile=text, target="made", tags=["part"])
    assert len(part.image.layers) == 2


class _Stop(Exception):
    """What a caller raises to stop a build."""


def test_raising_from_the_report_stops_a_step_and_leaves_nothing(engine: Engine) -> None:
    def report(event: Event) -> None:
        if isinstance(event, StepOutput):
            raise _Stop

    before = _names(engine)
    began = time.monotonic()
    with pytest.raises(_Stop):
        engine.builds.build(
            None,
            dockerfile="FROM toolbox\nRUN echo go; sleep 60\n",
            tags=["stopped"],
            report=report,
        )
    assert time.monotonic() - began < 2
    assert _names(engine) == before
    assert _left(engine) == []


def _schema(uri: str) -> referencing.Resource[object]:
    schema = json.loads((SCHEMAS / uri.rpartition("/")[2]).read_text())
    return referencing.jsonschema.DRAFT4.create_resource(schema)


def _validator(name: str) -> jsonschema.protocols.Validator:
    registry = referencing.Registry(retrieve=_schema)  # type: ignore[call-arg]
    return jsonschema.Draft4Validator(_schema(name).contents, registry=registry)  # type: ignore[arg-type]


def test_the_store_is_a_layout_that_others_read(
    engine: Engine, context: Path, require: Callable[[object, str], None]
) -> None:
    image = engine.builds.build(context, tags=["foreign:1"]).image
    store = engine.config.root / "store"
    _validator("image-layout-schema.json").validate(json.loads((store / "oci-layout").read_text()))
    _validator("image-index-schema.json").validate(json.loads((store / "index.json").read_text()))
    _validator("image-manifest-schema.json").validate(json.loads(image.raw_manifest))
    _validator("config-schema.json").validate(json.loads(image.raw_config))
    require(shutil.which("skopeo"), "needs skopeo as a witness")
    command = ["skopeo", "inspect", f"oci:{store}:foreign:1"]
    shown = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    assert shown["Digest"] == str(image.descriptor.digest)
    assert shown["Labels"] == {**image.config.config.labels}
    assert shown["Layers"] == [str(layer.descriptor.digest) for layer in image.layers]
