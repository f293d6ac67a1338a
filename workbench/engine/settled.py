"""What was decided when a container was created: kept beside its options, for ever the same."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from workbench.engine.values import MountInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """``command`` is the whole command line, ``stop_signal`` a number, ``stop_timeout`` seconds.

    ``chain`` is the chain id of the image's layers, empty for an image without layers.
    """

    command: tuple[str, ...]
    hostname: str
    chain: str
    stop_signal: int = 15
    stop_timeout: float = 10.0
    labels: Mapping[str, str] = field(default_factory=dict)
    mounts: tuple[MountInfo, ...] = ()
    exposed: tuple[str, ...] = ()
