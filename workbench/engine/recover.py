"""Making the facts agree with what is there, after a crash: the only code that reconciles.

Run on every open. It finishes removals that were begun, discards containers whose creation was
cut off, records ends that nobody saw, frees what ended containers held, and removes what killed
builds left behind.
"""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path
from typing import Final

from workbench.build.trees import drop_abandoned
from workbench.engine.ending import Ending
from workbench.engine.inventory import Inventory
from workbench.engine.layout import StateDirectory
from workbench.engine.locks import wait_until_free
from workbench.errors import NotFound, WorkbenchError
from workbench.monitor.record import PID_FILE, read_run
from workbench.monitor.settings import FILE as MONITOR_FILE
from workbench.runtime import state as runtime_state
from workbench.state.containers import Containers
from workbench.store.snapshots import Kind, Snapshotter

_DEPARTURE_SECONDS: Final = 5.0


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
                if record.removing or self._is_cut_off(record.id):
                    self._ending.remove(record, volumes=True)
                else:
                    self._ending.reap(record)
        self._strays()

    def _is_cut_off(self, id: str) -> bool:
        """Whether its maker died. The lock comes first: it is held until all files are there."""
        made = self._directory.container(id) / MONITOR_FILE
        return wait_until_free(self._directory.lock(id), 0) and not made.exists()

    def _strays(self) -> None:
        """Directories without a row, and builds whose process was killed."""
        known = {record.id for record in self._containers.all()}
        for where in list(self._directory.containers.iterdir()):
            if where.name not in known and self._containers.get(where.name) is None:
                _end(where)
        for where in list(self._directory.builds.iterdir()):
            lock = self._directory.lock(where.name)
            if wait_until_free(lock, 0):
                wait_until_free(where / PID_FILE, _DEPARTURE_SECONDS)
                _end(where)
                lock.unlink(missing_ok=True)
        drop_abandoned(self._snapshotter)
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
