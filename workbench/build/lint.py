"""Look for what works but should not be written so. Needs neither context nor images.

In: a ``Dockerfile``. Out: findings in the order of the file. ``# check=skip=RULE,...`` at the top
silences rules, ``skip=all`` all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from workbench.build import lint_commands, lint_file
from workbench.build.context import BuildContext
from workbench.build.dockerfile import Dockerfile
from workbench.build.lint_rules import Finding
from workbench.build.stages import Stage, split_stages

_OF_FILE: Final[tuple[Callable[[Dockerfile, tuple[Stage, ...]], Iterator[Finding]], ...]] = (
    lint_file.casing,
    lint_file.continuations,
    lint_file.stage_names,
    lint_file.bases,
    lint_file.variables,
)
_OF_STAGE: Final[tuple[Callable[[Stage], Iterator[Finding]], ...]] = (
    lint_file.descriptions,
    lint_file.settings,
    lint_file.repeated,
    lint_file.ports,
    lint_file.paths,
    lint_commands.programs,
    lint_commands.packages,
    lint_commands.layers,
    lint_commands.user,
    lint_commands.dependencies,
)


def lint(dockerfile: Dockerfile, context: BuildContext | None = None) -> tuple[Finding, ...]:
    """Every finding. Raises DockerfileError where there is no stage."""
    _, stages = split_stages(dockerfile)
    found = [item for check in _OF_FILE for item in check(dockerfile, stages)]
    found += [item for stage in stages for check in _OF_STAGE for item in check(stage)]
    if context is not None:
        found += lint_file.ignored(stages, context.ignore)
    skipped = _skipped(dockerfile.directives.check)
    kept = [item for item in found if item.rule.name not in skipped and "all" not in skipped]
    return tuple(sorted(kept, key=lambda item: (item.span.line, item.span.column, item.rule.name)))


def _skipped(check: str) -> set[str]:
    for part in check.split(";"):
        key, _, value = part.partition("=")
        if key.strip() == "skip":
            return {name.strip() for name in value.split(",")}
    return set()
