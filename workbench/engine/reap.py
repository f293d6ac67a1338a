"""``python -m workbench.engine.reap ROOT ID``: run by a monitor when work is left and nobody there.

A container that ended unattended leaves its addresses and ports, and with ``--rm`` itself.
"""

from __future__ import annotations

import sys
from pathlib import Path

from workbench.config import Config
from workbench.engine import Engine
from workbench.errors import WorkbenchError


def main(root: str, id: str) -> int:
    """The exit status: 0, also where there is nothing left to do."""
    try:
        with Engine.open(Config.load(root=Path(root)), recover=False) as engine:
            engine.containers.reap(id)
    except WorkbenchError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
