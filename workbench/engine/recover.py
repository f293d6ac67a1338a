"""Making the facts agree with what is there, after a crash: the only code that reconciles.

Run on every open. It finishes removals that were begun, discards containers whose creation was
cut off, records ends that nobody saw, frees what ended containers held, and removes what killed
builds left behind.
"""

from __future__ import annotations

import contextlib
import shutil
import time
from pathlib import Path

from workbench.engine.ending import Ending
from workbench.engine.inventory import Inventory
from workbench.engine.layout import StateDirectory
from workbench.errors import NotFound, WorkbenchError
from workbench.monitor.record import monitor_pid, read_run
from workbench.monitor.settings import FILE as MONITOR_FILE
from workbench.runtime import state as runtime_state
from workbench.state.containers import Containers
from workbench.store.snapshots import Kind, Snapshotter


class Recovery:
    """What is done once when an engine opens. Cheap where nothing is wrong."""

    def __init__(
        self,
        directory: StateDirectory,
        containers: Containers,
        inventory: Inventory,
        ending: Ending,
        snapshotter: Snapshotter,
    ) -> None:
        self._directory = directory
        self._containers = containers
        self._inventory = inventory
        self._ending = ending
        self._snapshotter = snapshotter

    def run(self) -> None:
        """Reconcile all. Problems of one container do not keep the engine from opening."""
        for record in self._containers.all():
            with contextlib.suppress(WorkbenchError, OSError):
                where = self._directory.container(record.id)
                if record.removing or (not (where / MONITOR_FILE).exists() and self._is_old(where)):
                    self._ending.remove(record, volumes=True)
                else:
                    self._ending.reap(record)
        self._strays()

    @staticmethod
    def _is_old(where: Path) -> bool:
        """Not one that another engine is making just now: that takes it well under a minute."""
        try:
            return time.time() - where.stat().st_mtime > 60
        except FileNotFoundError:
            return True

    def _strays(self) -> None:
        """Directories without a row, and builds whose process was killed."""
        known = {record.id for record in self._containers.all()}
        for where in list(self._directory.containers.iterdir()):
            if where.name not in known and self._containers.get(where.name) is None:
                _end(where)
        for where in list(self._directory.builds.iterdir()):
            if monitor_pid(where) is None and self._is_old(where):
                _end(where)
        for info in list(self._snapshotter.walk()):
            stray = info.kind is Kind.ACTIVE and len(info.key) == 64
            if stray and self._containers.get(info.key) is None:
                with contextlib.suppress(WorkbenchError):
                    self._snapshotter.remove(info.key, wait=False)


def _end(where: Path) -> None:
    """Kill what still runs of it and remove its directory."""
    if read_run(where) is not None:
        with contextlib.suppress(NotFound):
            runtime_state.delete(where, force=True)
    shutil.rmtree(where, ignore_errors=True)
