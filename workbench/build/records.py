"""What a step made, as the cache keeps it, and what a build tells of its steps afterwards."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from workbench.oci.codec import dumps, loads
from workbench.oci.digest import Digest
from workbench.oci.image import Layer


@dataclass(frozen=True, slots=True, kw_only=True)
class CachedStep:
    """The layer of a step. ``chain`` names its snapshot, ``created`` is RFC 3339 text.

    ``size`` is bytes of files, ``entries`` the number of tar members. ``ingredients`` are what the
    key was made of, each by name: they tell later which of them changed.
    """

    layer: Layer
    chain: Digest
    created: str
    size: int = 0
    entries: int = 0
    ingredients: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> str:
        return dumps(self).decode()

    @classmethod
    def parse(cls, text: str) -> CachedStep:
        """Raises InvalidInput for what is none."""
        return loads(cls, text, what="cached step")


@dataclass(frozen=True, slots=True, kw_only=True)
class StepOutcome:
    """One step of a build.

    ``index`` counts from 1, ``line`` from 1 in the Dockerfile. ``reason`` says why it ran, empty
    when cached. ``started`` is seconds after the build began. ``size`` is bytes and ``entries`` the
    number of files that the layer has. ``kind`` is from, run, copy, workdir or config.
    """

    index: int
    line: int
    text: str
    stage: str
    kind: str
    cached: bool
    reason: str = ""
    key: str = ""
    started: float = 0.0
    seconds: float = 0.0
    size: int = 0
    entries: int = 0
    digest: str = ""
    output_tail: str = ""
