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
    from workbench.engine.options import RunOptions as RunOptions

_HOMES = {
    "Config": "workbench.config",
    "Engine": "workbench.engine",
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
