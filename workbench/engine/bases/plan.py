"""The kinds of base images, by name."""

from __future__ import annotations

from workbench.engine.bases import debian, python, toolbox
from workbench.engine.bases.tree import BasePlan
from workbench.errors import InvalidInput
from workbench.events import Report, silent


def plan(kind: str, *, report: Report = silent) -> BasePlan:
    """What the base image ``kind`` consists of, with the name that it is given by default.

    ``toolbox``, ``python`` (of the interpreter that runs us) or ``debian:SUITE-slim``; a tag after
    ``toolbox:`` or ``python:`` is ignored. Use the plan as a context manager. Raises InvalidInput
    for other kinds; Unsupported where this host lacks something, with the command that installs
    it.
    """
    name, _, tag = kind.partition(":")
    if name == "toolbox":
        return toolbox.plan()
    if name == "python":
        return python.plan()
    if name == "debian":
        return debian.plan(tag or debian.DEFAULT_TAG, report=report)
    raise InvalidInput(
        f"unknown base image {kind!r}", hint="there are toolbox, python and debian:bookworm-slim"
    )
