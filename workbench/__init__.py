"""A container engine in Python: images, containers, networks, volumes and builds.

>>> from workbench import Engine, RunOptions

The names below load on first use (PEP 562), so that the small helper processes of a container
do not pay for what they never touch. Start reading at ``README.md`` beside this file.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from workbench.config import Config as Config
    from workbench.engine import Engine as Engine
    from workbench.engine.flags import DETACH as DETACH
    from workbench.engine.flags import FLAGS as FLAGS
    from workbench.engine.flags import Flag as Flag
    from workbench.engine.flags import run_options as run_options
    from workbench.engine.options import RunOptions as RunOptions
    from workbench.engine.values import BuildResult as BuildResult
    from workbench.engine.values import Capability as Capability
    from workbench.engine.values import ContainerInfo as ContainerInfo
    from workbench.engine.values import Diagnosis as Diagnosis
    from workbench.engine.values import ImageInfo as ImageInfo
    from workbench.engine.values import LayerInfo as LayerInfo
    from workbench.engine.values import StepRecord as StepRecord
    from workbench.oci.image import Image as Image

_HOMES = {
    "Config": "workbench.config",
    "Engine": "workbench.engine",
    "DETACH": "workbench.engine.flags",
    "FLAGS": "workbench.engine.flags",
    "Flag": "workbench.engine.flags",
    "run_options": "workbench.engine.flags",
    "BuildResult": "workbench.engine.values",
    "Capability": "workbench.engine.values",
    "ContainerInfo": "workbench.engine.values",
    "Diagnosis": "workbench.engine.values",
    "ImageInfo": "workbench.engine.values",
    "LayerInfo": "workbench.engine.values",
    "StepRecord": "workbench.engine.values",
    "Image": "workbench.oci.image",
    "RunOptions": "workbench.engine.options",
}
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    try:
        home = _HOMES[name]
    except KeyError:
        raise AttributeError(f"module 'workbench' has no attribute {name!r}") from None
    return getattr(importlib.import_module(home), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
