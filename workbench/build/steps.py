"""Perform one step: on top of a stack of layers, a new layer."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Event

from workbench.build.copying import Copying
from workbench.build.definition import (
    CopyDefinition,
    Origin,
    RunDefinition,
    Step,
    WorkdirDefinition,
)
from workbench.build.fingerprint import Fingerprint
from workbench.build.merged import MergedTree, split_path
from workbench.build.place import Placer
from workbench.build.request import BuildRequest, Parts, Remote
from workbench.build.running import Output, Running
from workbench.build.trees import Stack, Trees
from workbench.build.users import owner_of
from workbench.errors import BuildFailed
from workbench.events import Notice, Report
from workbench.store.packing import PackedLayer, pack_layer


class CommandFailed(BuildFailed):
    """The command of a RUN ended with another code than 0; the solver adds place and output."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Performing:
    """One step with what it works with. ``prints`` is what a COPY read for its key."""

    step: Step
    request: BuildRequest
    parts: Parts
    trees: Trees
    tree_of: Callable[[Origin], MergedTree]
    output: Output
    cancel: Event
    report: Report
    prints: Fingerprint | None = None
    remotes: tuple[Remote, ...] = ()

    def run(self, below: Stack) -> PackedLayer:
        """The layer, stored, and its snapshot, committed. Nothing is left where it raises."""
        key = self.trees.begin(below)
        try:
            self._perform(key)
            self._limit_times(self.parts.snapshotter.changes(key))
            packed = pack_layer(
                self.parts.content, self.parts.snapshotter, key, notice=self._notice
            )
            self.trees.finish(key, below.with_layer(packed.layer))
        except BaseException:
            if self.parts.snapshotter.exists(key):
                self.trees.drop(key)
            raise
        return packed

    def _notice(self, text: str) -> None:
        self.report(Notice(message=text))

    def _perform(self, key: str) -> None:
        match self.step.definition:
            case RunDefinition() as definition:
                self._run(definition, key)
            case CopyDefinition() as definition:
                self._copy(definition, key)
            case WorkdirDefinition() as definition:
                self._workdir(definition, key)

    def _run(self, definition: RunDefinition, key: str) -> None:
        code = Running(
            definition=definition,
            request=self.request,
            parts=self.parts,
            key=key,
            tree_of=self.tree_of,
            output=self.output,
            cancel=self.cancel,
        ).run()
        if code != 0:
            command = " ".join(definition.args)
            raise CommandFailed(
                f'process "{command}" did not complete successfully: exit code: {code}', code=code
            )

    def _copy(self, definition: CopyDefinition, key: str) -> None:
        Copying(
            definition=definition,
            tree=self.tree_of(definition.origin),
            snapshotter=self.parts.snapshotter,
            key=key,
            now_ns=self._now(),
            latest_ns=self._latest(),
            remotes=self.remotes,
            seen=self.prints.seen if self.prints else {},
        ).run()

    def _workdir(self, definition: WorkdirDefinition, key: str) -> None:
        with Placer(self.parts.snapshotter, key, now_ns=self._now()) as placer:
            uid, gid = owner_of(definition.user, placer.view) if definition.user else (0, 0)
            placer.make_directory(split_path(definition.path), uid, gid)

    def _now(self) -> int:
        epoch = self.request.source_date_epoch
        return time.time_ns() if epoch is None else epoch * 1_000_000_000

    def _latest(self) -> int | None:
        epoch = self.request.source_date_epoch
        return epoch * 1_000_000_000 if self.request.rewrite_timestamp and epoch else None

    def _limit_times(self, changes: Path) -> None:
        """Give files of a RUN that are newer than SOURCE_DATE_EPOCH that time, where asked to."""
        latest = self._latest()
        if latest is None or not isinstance(self.step.definition, RunDefinition):
            return
        for folder, _, files in os.walk(changes, topdown=False):
            for path in [*(Path(folder, name) for name in files), Path(folder)]:
                status = path.lstat()
                if status.st_mtime_ns > latest and not stat.S_ISCHR(status.st_mode):
                    os.utime(path, ns=(latest, latest), follow_symlinks=False)
