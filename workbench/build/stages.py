"""The stages of a Dockerfile, and the arguments that stand before the first of them.

Source: Dockerfile reference, "FROM", "ARG" (scope), "Automatic platform ARGs".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from workbench.build.dockerfile import Dockerfile
from workbench.build.instructions import Arg, From, Instruction
from workbench.build.words import Expansion, Lexer, WordError
from workbench.errors import DockerfileError
from workbench.oci.descriptor import Platform


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One FROM and what follows it, as written. ``index`` counts from 0."""

    index: int
    head: From
    body: tuple[Instruction, ...]

    @property
    def label(self) -> str:
        """What messages call it."""
        return self.head.name or f"stage-{self.index}"


def split_stages(dockerfile: Dockerfile) -> tuple[tuple[Arg, ...], tuple[Stage, ...]]:
    """The global ARGs and the stages. Raises DockerfileError."""
    head: list[Arg] = []
    stages: list[tuple[From, list[Instruction]]] = []
    for instruction in dockerfile.instructions:
        if isinstance(instruction, From):
            stages.append((instruction, []))
        elif stages:
            stages[-1][1].append(instruction)
        elif isinstance(instruction, Arg):
            head.append(instruction)
        else:
            raise dockerfile.source.error(
                "no build stage in current context",
                instruction.where.keyword_span,
                hint="a Dockerfile begins with FROM; only ARG may stand before it",
            )
    if not stages:
        raise DockerfileError("dockerfile contains no stages to build", hint="add a FROM")
    return tuple(head), tuple(
        Stage(index=index, head=start, body=tuple(body))
        for index, (start, body) in enumerate(stages)
    )


def platform_args(
    build: Platform, target: Platform, stage: str, given: Mapping[str, str]
) -> dict[str, str]:
    """The arguments that are there without being declared; ``given`` overrides them."""
    values = {
        "BUILDPLATFORM": str(build),
        "BUILDOS": build.os,
        "BUILDOSVERSION": build.os_version,
        "BUILDARCH": build.architecture,
        "BUILDVARIANT": build.variant,
        "TARGETPLATFORM": str(target),
        "TARGETOS": target.os,
        "TARGETOSVERSION": target.os_version,
        "TARGETARCH": target.architecture,
        "TARGETVARIANT": target.variant,
        "TARGETSTAGE": stage or "default",
    }
    return {name: given.get(name, value) for name, value in values.items()}


def global_args(
    dockerfile: Dockerfile,
    head: tuple[Arg, ...],
    automatic: Mapping[str, str],
    given: Mapping[str, str],
) -> dict[str, str]:
    """What FROM lines can see. Raises DockerfileError."""
    values = dict(automatic)
    lexer = Lexer(escape=dockerfile.directives.escape)
    for arg in head:
        for item in arg.items:
            if item.name in given:
                values[item.name] = given[item.name]
            elif item.value is not None:
                try:
                    values[item.name] = lexer.word(item.value, values)
                except WordError as error:
                    raise dockerfile.source.error(str(error), item.span) from None
    return values


def expand_head(
    dockerfile: Dockerfile, head: From, text: str, values: Mapping[str, str]
) -> Expansion:
    """A word of a FROM line, expanded. Raises DockerfileError."""
    try:
        return Lexer(escape=dockerfile.directives.escape).expand(text, values)
    except WordError as error:
        raise dockerfile.source.error(str(error), head.image_span) from None
