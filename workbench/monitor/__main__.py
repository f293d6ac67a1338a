"""``python -m workbench.monitor DIRECTORY``: one monitor without a launcher, in the foreground."""

from __future__ import annotations

import sys
from pathlib import Path

from workbench.monitor.driver import OciRuntime
from workbench.monitor.run import monitor
from workbench.monitor.settings import MonitorSettings


def main(arguments: list[str]) -> int:
    """Serve until the container has ended; its clients come through the socket."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m workbench.monitor DIRECTORY\n")
        return 125
    directory = Path(arguments[0]).resolve()
    runtime = OciRuntime()
    runtime.prepare(directory)
    monitor(directory, MonitorSettings.read(directory), runtime)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
