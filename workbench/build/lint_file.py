"""Checks of instructions, names and variables. Source: Docker's documentation, "Build checks"."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from typing import Final

from workbench.build.dockerfile import Dockerfile
from workbench.build.ignore import Patterns
from workbench.build.instructions import (
    Arg,
    Cmd,
    Copy,
    Entrypoint,
    Env,
    Expose,
    From,
    HealthcheckInstruction,
    Instruction,
    Label,
    Maintainer,
    Shell,
    User,
    Volume,
    Workdir,
)
from workbench.build.lint_rules import RULES, Finding
from workbench.build.source import Span
from workbench.build.stages import Stage, global_args, platform_args
from workbench.build.suggest import did_you_mean
from workbench.build.words import Expansion, Lexer, WordError
from workbench.errors import DockerfileError, InvalidInput
from workbench.oci.descriptor import Platform
from workbench.oci.reference import Reference

_SECRET: Final = re.compile(
    r"(?:_|^)(?:apikey|auth|credentials?|key|password|pword|passwd|secret|token)(?:_|$)", re.I
)
_PUBLIC: Final = re.compile(r"(?:_|^)(?:public|file|version)(?:_|$)", re.I)
_PREDEFINED: Final = frozenset(
    name
    for lower in ("http_proxy", "https_proxy", "ftp_proxy", "no_proxy", "all_proxy")
    for name in (lower, lower.upper())
)


def finding(rule: str, message: str, span: Span) -> Finding:
    """A finding by the name of its rule."""
    return Finding(rule=RULES[rule], message=message, span=span)


def casing(dockerfile: Dockerfile, _stages: tuple[Stage, ...]) -> Iterator[Finding]:
    """Instructions in the case that most of them have."""
    words = [(item.where.keyword, item.where.keyword_span) for item in dockerfile.instructions]
    lower = sum(word.islower() for word, _ in words)
    upper = sum(word.isupper() for word, _ in words)
    wanted = "lowercase" if lower > upper else "uppercase"
    for word, span in words:
        if word != (word.lower() if wanted == "lowercase" else word.upper()):
            yield finding(
                "ConsistentInstructionCasing",
                f"Command '{word}' should match the case of the command majority ({wanted})",
                span,
            )


def continuations(dockerfile: Dockerfile, _stages: tuple[Stage, ...]) -> Iterator[Finding]:
    """Empty lines within an instruction."""
    for item in dockerfile.instructions:
        for line in item.where.blanks:
            span = Span(line=line, column=1, end_line=line, end_column=1)
            yield finding("NoEmptyContinuation", "Empty continuation line", span)


def stage_names(_dockerfile: Dockerfile, stages: tuple[Stage, ...]) -> Iterator[Finding]:
    """Names and cases of stages."""
    seen: set[str] = set()
    for stage in stages:
        head, span = stage.head, stage.head.where.span
        if head.name in ("scratch", "context"):
            message = f"Stage name should not use the same name as reserved stage '{head.name}'"
            yield finding("ReservedStageName", message, span)
        if head.name and head.name in seen:
            message = f"Duplicate stage name '{head.name}', stage names should be unique"
            yield finding("DuplicateStageName", message, span)
        seen.add(head.name)
        if head.name_word != head.name_word.lower():
            message = f"Stage name '{head.name_word}' should be lowercase"
            yield finding("StageNameCasing", message, span)
        keyword = head.where.keyword
        wanted = head.as_word.lower() if keyword.islower() else head.as_word.upper()
        if head.as_word != wanted and (keyword.islower() or keyword.isupper()):
            message = f"'{head.as_word}' and '{keyword}' keywords' casing do not match"
            yield finding("FromAsCasing", message, span)


def bases(dockerfile: Dockerfile, stages: tuple[Stage, ...]) -> Iterator[Finding]:
    """Names and platforms of base images."""
    head = tuple(
        item
        for item in dockerfile.instructions
        if isinstance(item, Arg) and item.where.line < stages[0].head.where.line
    )
    automatic = platform_args(Platform.host(), Platform.host(), "", {})
    try:
        values = global_args(dockerfile, head, automatic, {})
    except DockerfileError:
        return
    names = {stage.head.name for stage in stages if stage.head.name}
    lexer = Lexer(escape=dockerfile.directives.escape)
    declared = {item.name for arg in head for item in arg.items} | set(values)
    for stage in stages:
        yield from _base(stage, lexer, values, declared, names)


def _base(
    stage: Stage, lexer: Lexer, values: dict[str, str], declared: set[str], names: set[str]
) -> Iterator[Finding]:
    head, span = stage.head, stage.head.image_span
    try:
        image = lexer.expand(head.image, values)
        platform = lexer.expand(head.platform, values)
    except WordError:
        return
    for name in sorted((image.unmatched | platform.unmatched) - declared):
        near = did_you_mean(name, declared)
        message = f"FROM argument '{name}' is not declared{near}"
        yield finding("UndefinedArgInFrom", message, span)
    yield from _platform(head, platform)
    if image.text == "scratch" or image.text.lower() in names:
        return
    try:
        reference = Reference.parse(image.text)
    except InvalidInput:
        message = f"Default value for ARG {head.image} results in empty or invalid base image name"
        yield finding("InvalidDefaultArgInFrom", message, span)
        return
    if reference.digest is None and ":" not in image.text.rpartition("/")[2]:
        message = "Always tag the version of an image explicitly"
        yield finding("DL3006", message, span)
    elif reference.digest is None and reference.tag == "latest":
        yield finding("DL3007", "Using latest is prone to errors", span)


def _platform(head: From, platform: Expansion) -> Iterator[Finding]:
    if not head.platform:
        return
    span = head.where.flags[0].span
    if platform.matched == {"TARGETPLATFORM"}:
        message = (
            f"Setting platform to predefined {head.platform} in FROM is redundant as this is the "
            "default behavior"
        )
        yield finding("RedundantTargetPlatform", message, span)
    if not platform.matched and not platform.unmatched:
        os, _, rest = platform.text.partition("/")
        if (os not in head.name and rest.partition("/")[0] not in head.name) or not head.name:
            message = f'FROM --platform flag should not use constant value "{platform.text}"'
            yield finding("FromPlatformFlagConstDisallowed", message, span)


def variables(dockerfile: Dockerfile, stages: tuple[Stage, ...]) -> Iterator[Finding]:
    """Variables that nothing has set. Those of an unknown base image cannot be judged but are
    few, so only stages on scratch or on such stages are strict; others know PATH and HOME."""
    lexer = Lexer(escape=dockerfile.directives.escape)
    known: dict[str, set[str]] = {}
    for stage in stages:
        names = set(known.get(stage.head.image.lower(), {"PATH"}))
        for item in stage.body:
            for text, span in _expanded(item):
                try:
                    unmatched = lexer.expand(text, dict.fromkeys(names, "")).unmatched
                except WordError:
                    continue
                for name in sorted(unmatched - _PREDEFINED):
                    message = f"Usage of undefined variable '${name}'{did_you_mean(name, names)}"
                    yield finding("UndefinedVar", message, span)
            if isinstance(item, Env):
                names |= {pair.name for pair in item.pairs}
            elif isinstance(item, Arg):
                names |= {one.name for one in item.items}
        known[stage.head.name] = names


def _expanded(item: Instruction) -> Iterator[tuple[str, Span]]:
    """The texts of an instruction in which variables are replaced."""
    match item:
        case Env() | Label():
            for pair in item.pairs:
                yield pair.value, pair.span
        case Copy():
            for word in (*item.sources, item.target):
                yield word.text, word.span
            yield item.chown, item.where.span
        case Workdir():
            yield item.path, item.where.span
        case User():
            yield item.user, item.where.span
        case Volume():
            for path in item.paths:
                yield path, item.where.span
        case Expose():
            for word in item.ports:
                yield word.text, word.span
        case Arg():
            for one in item.items:
                yield one.value or "", one.span


def descriptions(stage: Stage) -> Iterator[Finding]:
    """Comments that will be read as descriptions of something else."""
    named: list[tuple[str, list[str], Instruction]] = []
    if stage.head.name:
        named.append(("FROM", [stage.head.name], stage.head))
    named += [
        ("ARG", [one.name for one in item.items], item)
        for item in stage.body
        if isinstance(item, Arg)
    ]
    for keyword, names, item in named:
        comments = item.where.comments
        if comments and comments[-1].split(" ")[0] not in names:
            example = names[0] if len(names) == 1 else "<arg_key>"
            message = (
                f"Comment for {keyword} should follow the format: `# {example} <description>`. If "
                "this is not intended to be a description comment, add an empty line or comment "
                f"between the {keyword} instruction and the comment."
            )
            yield finding("InvalidDefinitionDescription", message, item.where.span)


def settings(stage: Stage) -> Iterator[Finding]:
    """Forms that are old, and values that should be secret."""
    for item in stage.body:
        if isinstance(item, Maintainer):
            message = "Maintainer instruction is deprecated in favor of using label"
            yield finding("MaintainerDeprecated", message, item.where.span)
            yield finding("DL4000", "MAINTAINER is deprecated", item.where.span)
        if isinstance(item, (Env, Label)):
            keyword = item.where.keyword.upper()
            for pair in item.pairs:
                if pair.legacy:
                    message = (
                        f'"{keyword} key=value" should be used instead of legacy "{keyword} key '
                        'value" format'
                    )
                    yield finding("LegacyKeyValueFormat", message, pair.span)
        for name, span, keyword in _named_values(item):
            if _SECRET.search(name) and not _PUBLIC.search(name):
                message = (
                    f'Do not use ARG or ENV instructions for sensitive data ({keyword} "{name}")'
                )
                yield finding("SecretsUsedInArgOrEnv", message, span)


def _named_values(item: Instruction) -> Iterator[tuple[str, Span, str]]:
    if isinstance(item, Env):
        for pair in item.pairs:
            yield pair.name, pair.span, "ENV"
    elif isinstance(item, Arg):
        for one in item.items:
            yield one.name, one.span, "ARG"


def repeated(stage: Stage) -> Iterator[Finding]:
    """CMD, ENTRYPOINT and HEALTHCHECK count once; the first two should not need a shell."""
    last: dict[type, Instruction] = {}
    shell = any(isinstance(item, Shell) for item in stage.body)
    for item in stage.body:
        if isinstance(item, (Cmd, Entrypoint, HealthcheckInstruction)):
            before = last.get(type(item))
            keyword = item.where.keyword.upper()
            if before is not None:
                message = (
                    f"Multiple {keyword} instructions should not be used in the same stage because "
                    "only the last one will be used"
                )
                yield finding("MultipleInstructionsDisallowed", message, before.where.span)
            last[type(item)] = item
        if isinstance(item, (Cmd, Entrypoint)) and item.command.shell and not shell:
            keyword = item.where.keyword.upper()
            message = (
                f"JSON arguments recommended for {keyword} to prevent unintended behavior related "
                "to OS signals"
            )
            yield finding("JSONArgsRecommended", message, item.where.span)
            message = f"Use arguments JSON notation for {keyword} arguments"
            yield finding("DL3025", message, item.where.span)


def ports(stage: Stage) -> Iterator[Finding]:
    """What EXPOSE tolerates but does not mean."""
    for item in stage.body:
        for word in item.ports if isinstance(item, Expose) else ():
            protocol = word.text.partition("/")[2]
            if protocol != protocol.lower():
                message = (
                    f"Defined protocol '{word.text}' in EXPOSE instruction should be lowercase"
                )
                yield finding("ExposeProtoCasing", message, word.span)
            if ":" in word.text and "$" not in word.text:
                message = (
                    "EXPOSE instruction should not define an IP address or host-port mapping, "
                    f"found '{word.text}'"
                )
                yield finding("ExposeInvalidFormat", message, word.span)


def paths(stage: Stage) -> Iterator[Finding]:
    """Relative paths that depend on the base image."""
    known = False
    for item in stage.body:
        if isinstance(item, Workdir):
            if not known and not item.path.strip("\"'").startswith(("/", "$")):
                message = (
                    f'Relative workdir "{item.path}" can have unexpected results if the base image '
                    "has a WORKDIR set"
                )
                yield finding("WorkdirRelativePath", message, item.where.span)
            known = True
        if isinstance(item, Copy) and not known:
            target = item.target.text.strip("\"'")
            if not target.startswith(("/", "$")):
                message = "COPY to a relative destination without WORKDIR set"
                yield finding("DL3045", message, item.target.span)


def ignored(stages: tuple[Stage, ...], patterns: Patterns) -> Iterator[Finding]:
    """Files that are copied but hidden. With patterns that take back nothing can be said."""
    if not patterns or patterns.takes_back:
        return
    for stage in stages:
        for item in stage.body:
            if not isinstance(item, Copy) or item.from_:
                continue
            for word in item.sources:
                path = posixpath.normpath(word.text).lstrip("/")
                if path not in ("", ".") and "$" not in path and patterns.hides(path):
                    name = "Add" if item.add else "Copy"
                    message = (
                        f'Attempting to {name} file "{path}" that is excluded by .dockerignore'
                    )
                    yield finding("CopyIgnoredFile", message, word.span)
