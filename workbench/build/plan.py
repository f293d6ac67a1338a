"""A Dockerfile becomes a ``Plan``: the stages that are needed, each a line of frozen steps.

Unused stages are dropped; base images are asked for by name, since their configuration decides
what instructions mean (variables, user, ONBUILD). Nothing is performed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from workbench.build.compose import DEFAULT_PATH, Beginning, Composer, Surroundings
from workbench.build.context import BuildContext
from workbench.build.definition import (
    FromContext,
    FromImage,
    FromNothing,
    FromStage,
    Origin,
    Plan,
    StagePlan,
)
from workbench.build.dockerfile import Dockerfile, parse
from workbench.build.instructions import Copy, Instruction, Onbuild, Run, relocated
from workbench.build.request import BuildRequest
from workbench.build.run_mounts import origin_of
from workbench.build.source import Span
from workbench.build.stages import (
    Stage,
    expand_head,
    global_args,
    platform_args,
    split_stages,
)
from workbench.build.suggest import did_you_mean
from workbench.errors import DockerfileError, ImageNotFound, InvalidInput, WorkbenchError
from workbench.oci.descriptor import Platform
from workbench.oci.image import ContainerConfig, Image
from workbench.oci.reference import Reference

Resolve = Callable[[str, Platform], Image]
_COMMON_IMAGES = (
    "alpine", "busybox", "centos", "debian", "golang", "node", "python", "toolbox", "ubuntu",
)  # fmt: skip


def make_plan(dockerfile: Dockerfile, request: BuildRequest, resolve: Resolve) -> Plan:
    """Raises DockerfileError, and what ``resolve`` raises with the place added to its message."""
    return _Planner(dockerfile, request, resolve).plan()


class _Planner:
    def __init__(self, dockerfile: Dockerfile, request: BuildRequest, resolve: Resolve) -> None:
        self._dockerfile = dockerfile
        self._source = dockerfile.source
        self._request = request
        self._ask = resolve
        self._host = Platform.host()
        self._platform = request.platform or self._host
        head, self._stages = split_stages(dockerfile)
        target = request.target or self._stages[-1].head.name
        automatic = platform_args(self._host, self._platform, target, request.build_args)
        self._args = global_args(dockerfile, head, automatic, request.build_args)
        self._names = {stage.head.name: stage.index for stage in self._stages if stage.head.name}
        self._images: dict[tuple[str, str], Image] = {}
        self._bases = {stage.index: self._base_name(stage) for stage in self._stages}
        self._endings: dict[int, Beginning] = {}

    def plan(self) -> Plan:
        target = self._target()
        needed = self._needed(target)
        plans: dict[int, StagePlan] = {}
        count = 0
        for index in sorted(needed):
            plans[index] = self._compose(self._stages[index], count, final=index == target)
            count += len(plans[index].steps)
        steps = tuple(step for plan in plans.values() for step in plan.steps)
        return Plan(stages=plans, steps=steps, target=target)

    # -- which stages

    def _target(self) -> int:
        wanted = self._request.target
        if not wanted:
            return len(self._stages) - 1
        if wanted.lower() in self._names:
            return self._names[wanted.lower()]
        if wanted.isascii() and wanted.isdigit() and int(wanted) < len(self._stages):
            return int(wanted)
        raise InvalidInput(
            f'target stage "{wanted}" could not be found{did_you_mean(wanted, self._names)}'
        )

    def _needed(self, target: int) -> set[int]:
        needed = {target}
        for stage in reversed(self._stages[: target + 1]):
            if stage.index in needed:
                needed.update(self._depends(stage))
        return needed

    def _depends(self, stage: Stage) -> Iterator[int]:
        base = self._base_stage(stage)
        if base is not None:
            yield base
        for name, span, what in self._mentions(stage):
            origin = self._find(stage, name, span, what)
            if isinstance(origin, FromStage):
                yield origin.stage

    def _mentions(self, stage: Stage) -> Iterator[tuple[str, Span, str]]:
        for instruction in (*self._triggers(stage), *stage.body):
            if isinstance(instruction, Copy) and instruction.from_:
                yield instruction.from_, instruction.from_span or instruction.where.span, "copy"
            elif isinstance(instruction, Run):
                for word in instruction.mounts:
                    if origin_of(word.text):
                        yield origin_of(word.text), word.span, "mount:"

    # -- bases

    def _base_name(self, stage: Stage) -> str:
        name = expand_head(self._dockerfile, stage.head, stage.head.image, self._args).text
        if not name:
            raise self._source.error(
                f"base name ({stage.head.image}) should not be blank",
                stage.head.image_span,
                hint="give the argument a default, or a value with --build-arg",
            )
        return name

    def _base_stage(self, stage: Stage) -> int | None:
        name = self._bases[stage.index].lower()
        earlier = [
            other.index
            for other in self._stages[: stage.index]
            if other.head.name == name and other.head.name
        ]
        return earlier[-1] if earlier else None

    def _stage_platform(self, stage: Stage) -> Platform:
        text = stage.head.platform
        if not text:
            return self._platform
        value = expand_head(self._dockerfile, stage.head, text, self._args).text
        if not value:
            raise self._source.error(
                f"empty platform value from expression {text}", stage.head.where.span
            )
        try:
            return Platform.parse(value)
        except InvalidInput as error:
            raise self._source.error(
                f"failed to parse platform {text}: {error}", stage.head.where.span
            ) from None

    def _base_image(self, stage: Stage) -> Image | None:
        """The image that a stage begins with; None for scratch and for another stage."""
        name = self._bases[stage.index]
        if name == "scratch" or self._base_stage(stage) is not None:
            return None
        if isinstance(self._named(name), BuildContext):
            return None
        return self._image(name, self._stage_platform(stage), stage.head.image_span)

    def _named(self, name: str) -> BuildContext | str | None:
        """What ``--build-context`` says of a name, in any of the ways in which it can be meant."""
        contexts = self._request.contexts
        if name in contexts:
            return contexts[name]
        try:
            reference = Reference.parse(name)
        except InvalidInput:
            return None
        for given, value in contexts.items():
            try:
                if Reference.parse(given) == reference:
                    return value
            except InvalidInput:
                continue
        return None

    def _image(self, name: str, platform: Platform, span: Span) -> Image:
        named = self._named(name)
        wanted = named.removeprefix("docker-image://") if isinstance(named, str) else name
        key = (wanted, str(platform))
        if key not in self._images:
            try:
                Reference.parse(wanted)
                self._images[key] = self._ask(wanted, platform)
            except DockerfileError:
                raise
            except InvalidInput as error:
                raise self._source.error(
                    f'failed to parse stage name "{wanted}": {error}', span
                ) from error
            except ImageNotFound as error:
                raise self._located(error, name, span) from error
        return self._images[key]

    def _located(self, error: WorkbenchError, name: str, span: Span) -> ImageNotFound:
        near = did_you_mean(name, [*self._names, *_COMMON_IMAGES])
        message = f"{error.message}{near}\n{self._source.excerpt(span)}"
        return ImageNotFound(message, hint=error.hint)

    # -- where COPY and mounts read

    def _find(self, stage: Stage, name: str, span: Span, what: str) -> Origin:
        """What a ``from`` means in a stage; ``what`` is "copy" or "mount:<target>"."""
        if not name:
            return FromContext()
        if "$" in name.rstrip("$"):
            raise self._source.error(
                "variable expansion is not supported for --from, define a new stage with FROM "
                "using ARG from global scope as a workaround",
                span,
            )
        index = self._stage_index(name, span, what)
        if index is not None:
            self._check_order(stage, name, index, span, what)
            return FromStage(stage=index)
        if name == "scratch":
            return FromNothing()
        if isinstance(self._named(name), BuildContext):
            return FromContext(name=name)
        return FromImage(image=self._image(name, self._platform, span), name=name)

    def _stage_index(self, name: str, span: Span, what: str) -> int | None:
        if what == "copy" and name.isascii() and name.isdigit():
            if int(name) >= len(self._stages):
                raise self._source.error(f"invalid stage index {name}", span)
            return int(name)
        if self._request.contexts.get(name) is not None:
            return None
        return self._names.get(name.lower())

    def _check_order(self, stage: Stage, name: str, index: int, span: Span, what: str) -> None:
        if index == stage.index:
            raise self._source.error(f"circular dependency detected on stage: {stage.label}", span)
        if index < stage.index:
            return
        if what == "copy":
            raise self._source.error(
                f'cannot copy from stage "{name}", it needs to be defined before current stage '
                f'"{stage.label}"',
                span,
            )
        target = what.partition(":")[2]
        raise self._source.error(
            f'cannot mount from stage "{name}" to "{target}", stage needs to be defined before '
            "current command",
            span,
        )

    # -- composing

    def _triggers(self, stage: Stage) -> list[Instruction]:
        """What the ONBUILDs of the base want done here."""
        base = self._base_stage(stage)
        if base is not None:
            texts: tuple[str, ...] = tuple(
                item.expression for item in self._stages[base].body if isinstance(item, Onbuild)
            )
        else:
            image = self._base_image(stage)
            texts = image.config.config.on_build if image else ()
        found: list[Instruction] = []
        for text in texts:
            trigger = parse(text, name="ONBUILD")
            if len(trigger.instructions) != 1:
                raise self._source.error(
                    "onbuild trigger should be a single expression", stage.head.where.span
                )
            found.append(relocated(trigger.instructions[0], stage.head.where.span))
        return found

    def _compose(self, stage: Stage, first: int, *, final: bool) -> StagePlan:
        filters = {item.lower() for item in self._request.no_cache_filter}
        around = Surroundings(
            source=self._source,
            escape=self._dockerfile.directives.escape,
            build_args=self._request.build_args,
            global_args=self._args,
            find=lambda name, span, what: self._find(stage, name, span, what),
            use_cache=not self._request.no_cache and stage.label not in filters,
            allow_insecure=self._request.allow_insecure,
        )
        composer = Composer(stage, self._beginning(stage), around, first)
        composer.head()
        for instruction in self._triggers(stage):
            composer.add(instruction, trigger=True)
        for instruction in stage.body:
            composer.add(instruction)
        self._endings[stage.index] = composer.ending()
        return composer.finish(self._request.labels if final else {})

    def _beginning(self, stage: Stage) -> Beginning:
        base = self._base_stage(stage)
        if base is not None:
            return replace(self._endings[base], origin=FromStage(stage=base))
        name = self._bases[stage.index]
        image = self._base_image(stage)
        if image is not None:
            config = _with_path(image.config.config)
            return Beginning(
                origin=FromImage(image=image, name=name),
                image=image,
                config=config,
                env=_variables(config),
                author=image.config.author,
            )
        platform = self._stage_platform(stage)
        config = _with_path(ContainerConfig(working_dir="/"))
        origin: Origin = FromNothing() if name == "scratch" else FromContext(name=name)
        return Beginning(
            origin=origin, image=Image.scratch(platform), config=config, env=_variables(config)
        )


def _variables(config: ContainerConfig) -> dict[str, str]:
    return dict(item.partition("=")[::2] for item in config.env)


def _with_path(config: ContainerConfig) -> ContainerConfig:
    if "PATH" in _variables(config):
        return config
    return replace(config, env=(*config.env, f"PATH={DEFAULT_PATH}"))
