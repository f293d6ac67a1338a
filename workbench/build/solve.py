"""Build: plan, look each step up in the cache, perform what is missing, put the image together.

Independent steps run in parallel threads; equal ones, also of builds in other processes, are done
once. Whatever ends a build early leaves no active snapshot behind.
"""

from __future__ import annotations

import errno
import hashlib
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from threading import Event as Flag
from typing import Final

from workbench.build.assemble import assemble, rfc3339, store_image
from workbench.build.context import BuildContext
from workbench.build.copying import mode_change
from workbench.build.definition import (
    CopyDefinition,
    FromContext,
    FromImage,
    FromNothing,
    FromStage,
    Origin,
    Plan,
    RunDefinition,
    Step,
)
from workbench.build.dockerfile import Dockerfile, parse
from workbench.build.fingerprint import Fingerprint, fingerprint_copy, fingerprint_path
from workbench.build.keys import Ingredients, Miss, explain, ingredients_of
from workbench.build.merged import MergedTree
from workbench.build.output import Tail
from workbench.build.plan import make_plan
from workbench.build.records import CachedStep, StepOutcome
from workbench.build.remotes import RemoteKind, file_name, remote_kind
from workbench.build.request import BuildRequest, Parts, Remote
from workbench.build.schedule import run_graph
from workbench.build.steps import Performing
from workbench.build.trees import Stack, Trees
from workbench.errors import (
    BuildFailed,
    CommandNotFound,
    CommandNotRunnable,
    Conflict,
    Corrupt,
    Denied,
    DockerfileError,
    Interrupted,
    InvalidInput,
    NotFound,
    Unavailable,
    Unsupported,
    WorkbenchError,
)
from workbench.events import Event, Report, StepFinished, StepOutput, StepStarted, Stream, silent
from workbench.oci.image import Image

_POLL: Final = 0.05
_FAILURES: Final = (
    CommandNotFound, CommandNotRunnable, Conflict, Corrupt, Denied, InvalidInput, NotFound,
)  # fmt: skip


def build(
    request: BuildRequest, parts: Parts, report: Report = silent
) -> tuple[Image, tuple[StepOutcome, ...]]:
    """The image, its documents and layers in the content store, and what became of each step.

    Raises DockerfileError, BuildFailed (with place, command, code and last output), ImageNotFound,
    Unavailable, Unsupported, and what ``report`` raises, which cancels everything.
    """
    dockerfile = parse(request.dockerfile, name=request.name)
    started = time.monotonic()
    serial = _Serial(report)
    plan = make_plan(
        dockerfile,
        request,
        lambda name, platform: parts.images.resolve(
            name, platform, pull=request.pull, report=serial
        ),
    )
    solver = _Solver(dockerfile, request, parts, plan, serial, started)
    try:
        image = solver.run()
    finally:
        parts.digests.save()
    return image, solver.outcomes()


class _Serial:
    """Lets one thread at a time report."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._lock = threading.Lock()

    def __call__(self, event: Event) -> None:
        with self._lock:
            self._report(event)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Done:
    """A step that is done: the layers up to it, and what the cache keeps of it."""

    stack: Stack
    cached: CachedStep | None = None


class _Solver:
    def __init__(
        self,
        dockerfile: Dockerfile,
        request: BuildRequest,
        parts: Parts,
        plan: Plan,
        report: Report,
        started: float,
    ) -> None:
        self._source = dockerfile.source
        self._request = request
        self._parts = parts
        self._plan = plan
        self._report = report
        self._started = started
        self._cancel = Flag()
        self._trees = Trees(parts.content, parts.snapshotter, report)
        self._done: dict[int, _Done] = {}
        self._outcomes: dict[int, StepOutcome] = {}
        self._mine: dict[str, CachedStep] = {}
        epoch = request.source_date_epoch
        self._now = epoch if epoch is not None else None

    def run(self) -> Image:
        run_graph(
            {step.index: frozenset(self._needs(step)) for step in self._plan.steps},
            self._perform,
            workers=self._parts.workers,
            cancel=self._cancel,
        )
        created = {index: done.cached.created for index, done in self._done.items() if done.cached}
        image = assemble(
            self._plan,
            self._end_of(self._plan.target).layers,
            created,
            platform=self._request.platform,
            epoch=self._request.source_date_epoch,
        )
        store_image(image, self._parts.content)
        return image

    def outcomes(self) -> tuple[StepOutcome, ...]:
        return tuple(self._outcomes[index] for index in sorted(self._outcomes))

    # -- order

    def _needs(self, step: Step) -> Iterator[int]:
        stage = self._plan.stages[step.stage]
        first = stage.steps[0].index
        if step.index > first:
            yield step.index - 1
        elif isinstance(stage.base, FromStage):
            yield self._plan.stages[stage.base.stage].steps[-1].index
        for origin in _origins(step):
            if isinstance(origin, FromStage):
                yield self._plan.stages[origin.stage].steps[-1].index

    def _below(self, step: Step) -> Stack:
        """The layers that a step begins with."""
        if step.parent is not None:
            return self._done[step.parent].stack
        return Stack(layers=self._plan.stages[step.stage].image.layers)

    def _end_of(self, stage: int) -> Stack:
        plan = self._plan.stages[stage]
        return (
            self._done[plan.top].stack if plan.top is not None else Stack(layers=plan.image.layers)
        )

    # -- trees to read

    def _tree_of(self, origin: Origin) -> MergedTree:
        match origin:
            case FromContext(name=name):
                return self._context(name).tree
            case FromStage(stage=stage):
                return self._trees.view(self._end_of(stage))
            case FromImage(image=image):
                return self._trees.view(Stack(layers=image.layers))
            case FromNothing():
                return MergedTree([])

    def _context(self, name: str) -> BuildContext:
        found = self._request.contexts.get(name) if name else self._request.context
        if not isinstance(found, BuildContext):
            raise InvalidInput(
                "this build has no context, so there are no files to copy",
                hint="give it a folder, such as: %%dockerfile -t NAME .",
            )
        return found

    # -- one step

    def _perform(self, index: int) -> None:
        step = self._plan.steps[index]
        if self._cancel.is_set():
            raise Interrupted("the build was interrupted")
        begun = time.monotonic()
        number, total = index + 1, len(self._plan.steps)
        self._report(StepStarted(index=number, total=total, text=step.text, line=step.span.line))
        tail = Tail()
        with self._located(step, tail):
            outcome = self._solve(step, tail)
        outcome = replace(
            outcome,
            started=begun - self._started,
            seconds=time.monotonic() - begun,
            output_tail=tail.text(),
        )
        self._outcomes[index] = outcome
        self._report(
            StepFinished(
                index=number,
                cached=outcome.cached,
                reason=outcome.reason,
                seconds=outcome.seconds,
                size=outcome.size,
                image_id=outcome.digest.partition(":")[2][:12],
            )
        )

    def _solve(self, step: Step, tail: Tail) -> StepOutcome:
        outcome = StepOutcome(
            index=step.index + 1,
            line=step.span.line,
            text=step.text,
            stage=self._plan.stages[step.stage].label,
            kind=step.kind,
            cached=True,
        )
        if step.definition is None:
            return outcome
        prints, remotes = self._read(step)
        ingredients = self._ingredients(step, prints, remotes)
        key = ingredients.key
        hit, miss = self._lookup(step, key, ingredients)
        if hit is None:
            with self._exclusive(key):
                hit = self._made_meanwhile(step, key)
                if hit is None:
                    hit = self._make(step, ingredients, prints, remotes, tail)
                else:
                    miss = None
        self._done[step.index] = _Done(stack=self._below(step).with_layer(hit.layer), cached=hit)
        return replace(
            outcome,
            cached=miss is None,
            reason=str(miss) if miss else "",
            key=key,
            size=hit.size,
            entries=hit.entries,
            digest=hit.layer.diff_id,
        )

    def _read(self, step: Step) -> tuple[dict[str, Fingerprint], tuple[Remote, ...]]:
        """The content digests of all that a step reads, and what had to be fetched."""
        digests = self._parts.digests
        prints: dict[str, Fingerprint] = {}
        match step.definition:
            case CopyDefinition() as copy:
                mode_change(copy)
                if copy.sources:
                    local = isinstance(copy.origin, FromContext)
                    tree = self._tree_of(copy.origin)
                    prints[""] = fingerprint_copy(tree, copy, digests, owners=not local)
                return prints, tuple(self._fetch(copy, source) for source in copy.remote)
            case RunDefinition() as run:
                for item in run.mounts:
                    if item.origin is not None and item.mount.type == "bind":
                        local = isinstance(item.origin, FromContext)
                        tree = self._tree_of(item.origin)
                        prints[item.target] = fingerprint_path(
                            tree, item.mount.source, digests, owners=not local
                        )
        return prints, ()

    def _fetch(self, copy: CopyDefinition, source: str) -> Remote:
        fetcher = self._parts.fetcher
        if fetcher is None:
            raise Unsupported(f"cannot fetch {source}: this build has no access to the network")
        if remote_kind(source) is RemoteKind.GIT:
            return fetcher.git(
                source,
                checksum=copy.checksum,
                keep_git_dir=copy.keep_git_dir,
                report=self._report,
            )
        found = fetcher.http(source, checksum=copy.checksum, report=self._report)
        return found if found.name else replace(found, name=file_name(source))

    def _ingredients(
        self, step: Step, prints: dict[str, Fingerprint], remotes: tuple[Remote, ...]
    ) -> Ingredients:
        request = self._request
        settings = {
            "network": request.network,
            "hosts": " ".join(sorted(request.extra_hosts)),
        }
        if request.rewrite_timestamp and request.source_date_epoch is not None:
            settings["epoch"] = str(request.source_date_epoch)
        return ingredients_of(
            step,
            parent=self._below(step).chain or "",
            platform=str(self._plan.stages[step.stage].image.config.platform),
            prints=prints,
            remote=" ".join(f"{remote.key}:{remote.name}" for remote in remotes),
            settings={name: value for name, value in settings.items() if value},
        )

    # -- cache

    def _lookup(
        self, step: Step, key: str, ingredients: Ingredients
    ) -> tuple[CachedStep | None, Miss | None]:
        if not step.use_cache:
            return None, Miss(kind="cache off")
        found = self._parts.cache.get(key)
        if found is not None:
            if self._parts.content.has(found.layer.descriptor):
                return found, None
            return None, Miss(kind="layer gone")
        before = self._parts.cache.get(self._slot(step))
        return None, explain(ingredients, before.ingredients if before else None)

    def _made_meanwhile(self, step: Step, key: str) -> CachedStep | None:
        """What an equal step of this build, or of one that ran at the same time, has made."""
        found = self._mine.get(key)
        if found is None and step.use_cache:
            found = self._parts.cache.get(key)
        if found is not None and self._parts.content.has(found.layer.descriptor):
            return found
        return None

    def _slot(self, step: Step) -> str:
        """Names a step by its place in the project, whatever its content."""
        stage = self._plan.stages[step.stage]
        number = sum(
            1 for other in stage.steps if other.index < step.index and other.definition is not None
        )
        context = self._request.context.directory if self._request.context else ""
        name = [self._request.identity, str(context), self._request.name, stage.label, str(number)]
        return "slot:" + hashlib.sha256("\0".join(name).encode("utf-8", "replace")).hexdigest()

    @contextmanager
    def _exclusive(self, key: str) -> Iterator[None]:
        """Hold a key against other threads and processes; ends when the build is cancelled."""
        while True:
            with self._parts.snapshotter.try_exclusive(f"build {key}") as held:
                if held is not None:
                    yield
                    return
            if self._cancel.wait(_POLL):
                raise Interrupted("the build was interrupted")

    def _make(
        self,
        step: Step,
        ingredients: Ingredients,
        prints: dict[str, Fingerprint],
        remotes: tuple[Remote, ...],
        tail: Tail,
    ) -> CachedStep:
        def output(stream: Stream, data: bytes) -> None:
            if self._cancel.is_set():
                raise Interrupted("the build was interrupted")
            tail.add(data)
            self._report(StepOutput(index=step.index + 1, stream=stream, data=data))

        packed = Performing(
            step=step,
            request=self._request,
            parts=self._parts,
            trees=self._trees,
            tree_of=self._tree_of,
            output=output,
            cancel=self._cancel,
            report=self._report,
            prints=prints.get(""),
            remotes=remotes,
        ).run(self._below(step))
        stack = self._below(step).with_layer(packed.layer)
        chain = stack.chain
        assert chain is not None
        made = CachedStep(
            layer=packed.layer,
            chain=chain,
            created=rfc3339(time.time() if self._now is None else self._now),
            size=packed.size,
            entries=packed.entries,
            ingredients=ingredients.to_keep(),
        )
        self._mine[ingredients.key] = made
        self._parts.cache.put(ingredients.key, replace(made, ingredients={}))
        self._parts.cache.put(self._slot(step), made)
        return made

    # -- errors

    @contextmanager
    def _located(self, step: Step, tail: Tail) -> Iterator[None]:
        """Give what goes wrong in a step its place in the Dockerfile."""
        try:
            yield
        except BuildFailed as error:
            raise self._failed(step, tail, error) from error
        except DockerfileError:
            raise
        except _FAILURES as error:
            raise self._failed(step, tail, error) from error
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise Unavailable(f"no space left on the device: {error}") from error
            raise self._failed(step, tail, WorkbenchError(str(error))) from error

    def _failed(self, step: Step, tail: Tail, error: WorkbenchError) -> BuildFailed:
        return BuildFailed(
            error.message,
            hint=error.hint,
            line=step.span.line,
            step=step.text,
            code=error.code if isinstance(error, BuildFailed) else None,
            tail=tail.text(),
            excerpt=self._source.excerpt(step.span),
        )


def _origins(step: Step) -> Iterator[Origin]:
    if isinstance(step.definition, CopyDefinition):
        yield step.definition.origin
    elif isinstance(step.definition, RunDefinition):
        for item in step.definition.mounts:
            if item.origin is not None:
                yield item.origin
