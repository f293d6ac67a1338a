"""Builds: a Dockerfile and a context become an image with names, and a record of every step."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from workbench.build import solve
from workbench.build.context import BuildContext
from workbench.build.records import CachedStep, StepOutcome
from workbench.build.request import BuildRequest, Parts
from workbench.config import Config
from workbench.engine.happenings import Happenings
from workbench.engine.images import Images
from workbench.engine.names import new_id
from workbench.engine.values import BuildResult, StepRecord
from workbench.errors import InvalidInput
from workbench.events import Report, silent
from workbench.oci import codec
from workbench.oci.descriptor import Platform
from workbench.oci.image import Image
from workbench.oci.reference import Reference
from workbench.state.builds import BuildRow
from workbench.state.builds import Builds as Records


class StepCache:
    """Implements ``build.request.CacheIndex`` on the facts."""

    def __init__(self, records: Records) -> None:
        self._records = records

    def get(self, key: str) -> CachedStep | None:
        """What an earlier build made under this key; None also for what cannot be read."""
        text = self._records.cached(key)
        try:
            return CachedStep.parse(text) if text else None
        except InvalidInput:
            return None

    def put(self, key: str, step: CachedStep) -> None:
        self._records.remember(key, step.to_json())


class ImageFinder:
    """Implements ``build.request.ImageSource`` on the images of this store."""

    def __init__(self, images: Images) -> None:
        self._images = images

    def resolve(
        self, name: str, platform: Platform, *, pull: bool = False, report: Report
    ) -> Image:
        """Raises ImageNotFound, InvalidInput."""
        return self._images.find(name, platform)


class Builds:
    """``docker build``. Threads may share it."""

    def __init__(
        self,
        config: Config,
        parts: Parts,
        images: Images,
        records: Records,
        happenings: Happenings,
    ) -> None:
        self._config = config
        self._parts = parts
        self._images = images
        self._records = records
        self._happenings = happenings

    def build(
        self,
        context: Path | None,
        *,
        dockerfile: str | Path | None = None,
        tags: Iterable[str] = (),
        build_args: Mapping[str, str] | None = None,
        labels: Mapping[str, str] | None = None,
        target: str | None = None,
        no_cache: bool = False,
        platform: str | None = None,
        network: str = "default",
        report: Report = silent,
    ) -> BuildResult:
        """Build an image and name it. ``dockerfile`` is its text, or its path (in the context).

        Raises InvalidInput (context, names), DockerfileError, BuildFailed, ImageNotFound,
        Unsupported, and what ``report`` raises, which stops the build; the store is unchanged then
        but for finished steps, which the next build takes from the cache.
        """
        names = tuple(Reference.parse(tag) for tag in tags)
        text, shown, opened = self._sources(context, dockerfile)
        request = BuildRequest(
            dockerfile=text,
            name=shown,
            context=opened,
            build_args=build_args or {},
            labels=labels or {},
            target=target or "",
            no_cache=no_cache,
            platform=Platform.parse(platform) if platform else None,
            network=network,
            identity=names[0].familiar if names else "",
            source_date_epoch=self._epoch(build_args or {}),
        )
        began, clock = time.time_ns(), time.monotonic()
        image, outcomes = solve.build(request, self._parts, report)
        self._publish(image, names)
        result = BuildResult(
            image=image,
            references=names,
            steps=tuple(_step(outcome) for outcome in outcomes),
            seconds=time.monotonic() - clock,
        )
        self._remember(result, began)
        return result

    def _sources(
        self, context: Path | None, dockerfile: str | Path | None
    ) -> tuple[str, str, BuildContext | None]:
        if context is not None and not context.is_dir():
            raise InvalidInput(
                f'unable to prepare context: path "{context}" not found',
                hint="name a directory that exists",
            )
        if isinstance(dockerfile, str):
            opened = BuildContext.open(context) if context is not None else None
            return dockerfile, "Dockerfile", opened
        limit = self._config.limits.dockerfile_bytes
        if context is None:
            if dockerfile is None:
                raise InvalidInput("a build needs a context directory or the text of a Dockerfile")
            return _read(dockerfile, limit), dockerfile.name, None
        if dockerfile is None:
            opened = BuildContext.open(context)
            return opened.read_dockerfile("Dockerfile", limit=limit), "Dockerfile", opened
        opened = BuildContext.open(context, dockerfile=str(dockerfile))
        return _read(dockerfile, limit), str(dockerfile), opened

    def _epoch(self, build_args: Mapping[str, str]) -> int | None:
        text = build_args.get(
            "SOURCE_DATE_EPOCH", self._config.environment.get("SOURCE_DATE_EPOCH", "")
        )
        if not text:
            return None
        if not text.isdecimal():
            raise InvalidInput(f"SOURCE_DATE_EPOCH must be seconds, not {text!r}")
        return int(text)

    def _publish(self, image: Image, names: tuple[Reference, ...]) -> None:
        for reference in names:
            self._images.name(image, reference)
        if not names:
            self._images.keep(image)
        self._happenings.add("builder", "build", str(image.id))

    def _remember(self, result: BuildResult, began: int) -> None:
        document = {
            "image": str(result.image.id),
            "references": [name.familiar for name in result.references],
            "seconds": result.seconds,
            "steps": codec.encode(result.steps),
        }
        self._records.add(
            BuildRow(id=new_id(), started_ns=began, document=codec.dumps(document).decode())
        )


def _read(path: Path, limit: int) -> str:
    try:
        with path.open("rb") as file:
            raw = file.read(limit + 1)
    except OSError as error:
        raise InvalidInput(
            f"failed to read dockerfile: open {path}: {error.strerror}",
            hint="name the file with -f",
        ) from error
    if len(raw) > limit:
        raise InvalidInput(f"{path} is longer than {limit} bytes")
    return raw.decode("utf-8", "replace")


def _step(outcome: StepOutcome) -> StepRecord:
    return StepRecord(
        index=outcome.index,
        line=outcome.line,
        text=outcome.text,
        cached=outcome.cached,
        reason=outcome.reason,
        started=outcome.started,
        seconds=outcome.seconds,
        size=outcome.size,
        layer=outcome.digest,
        stage=outcome.stage,
        output_tail=outcome.output_tail,
    )
