"""Which magics there are, and which module carries each out. Data only: nothing is imported."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Kind = Literal["line", "cell", "line_cell"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One magic: its name without percent signs, its kind, and the module that has ``COMMAND``."""

    name: str
    kind: Kind
    module: str


MAGICS: Final = (
    Entry(name="dockerfile", kind="cell", module="magics.cell.dockerfile"),
    Entry(name="run_container", kind="line_cell", module="magics.line.run_container"),
    Entry(name="images", kind="line", module="magics.line.images"),
    Entry(name="layers", kind="line", module="magics.line.layers"),
    Entry(name="history", kind="line", module="magics.line.layers"),
    Entry(name="ps", kind="line", module="magics.line.ps"),
    Entry(name="logs", kind="line", module="magics.line.logs"),
    Entry(name="stop", kind="line", module="magics.line.stop"),
    Entry(name="rm", kind="line", module="magics.line.rm"),
    Entry(name="rmi", kind="line", module="magics.line.rmi"),
    Entry(name="base", kind="line", module="magics.line.base"),
    Entry(name="doctor", kind="line", module="magics.line.doctor"),
)
