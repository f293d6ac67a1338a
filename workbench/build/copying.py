"""Perform COPY and ADD: read from a tree, a document or a fetched file, write into a new layer.

Source: Dockerfile reference, "COPY" and "ADD"; where it leaves something open, BuildKit's ways.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from workbench.build.archives import open_archive, unpack_archive
from workbench.build.definition import CopyDefinition, FromContext
from workbench.build.digests import Identity, identity
from workbench.build.ignore import Patterns
from workbench.build.merged import Found, MergedTree, Parts, split_path
from workbench.build.modes import BadMode, ModeChange, parse_mode
from workbench.build.place import Facts, Placer, facts_of, root_of
from workbench.build.request import Remote
from workbench.build.selection import SourceRoot, entries, source_roots
from workbench.build.users import owner_of
from workbench.errors import Conflict, InvalidInput
from workbench.store.snapshots import Snapshotter

_FILE_MODE = 0o644
_FETCHED_MODE = 0o600


@dataclass(frozen=True, slots=True, kw_only=True)
class Copying:
    """One COPY or ADD with all that it reads.

    ``seen`` is what the files of the source were when the key was made: one that is another now
    was changed during the build. ``remotes`` are what was fetched for ``definition.remote``.
    ``now_ns`` is the time of what is made here, ``latest_ns`` the latest that a file may have.
    """

    definition: CopyDefinition
    tree: MergedTree
    snapshotter: Snapshotter
    key: str
    now_ns: int
    latest_ns: int | None = None
    remotes: tuple[Remote, ...] = ()
    seen: Mapping[Parts, Identity] = field(default_factory=dict)

    def run(self) -> None:
        """Write everything. Raises NotFound, InvalidInput, Conflict, Corrupt, Denied."""
        link = self.definition.link
        with Placer(self.snapshotter, self.key, now_ns=self.now_ns, alone=link) as placer:
            _Copier(self, placer).run()


def mode_change(definition: CopyDefinition) -> ModeChange | None:
    """What ``--chmod`` says. Raises InvalidInput."""
    try:
        return parse_mode(definition.chmod) if definition.chmod else None
    except BadMode as error:
        raise InvalidInput(str(error)) from None


class _Copier:
    def __init__(self, job: Copying, placer: Placer) -> None:
        self._job = job
        self._definition = job.definition
        self._placer = placer
        self._change = mode_change(job.definition)
        self._owner = owner_of(job.definition.chown, placer.view) if job.definition.chown else None
        self._target = split_path(job.definition.target)
        self._exclude = Patterns.of(job.definition.exclude)

    def run(self) -> None:
        definition, job = self._definition, self._job
        owner = self._owner
        if owner is None and isinstance(definition.origin, FromContext):
            owner = (0, 0)
        roots = list(source_roots(job.tree, definition.sources, parents=definition.parents))
        self._refuse_many(len(roots) + len(definition.inline) + len(job.remotes))
        for root in roots:
            self._source(job.tree, root, owner)
        for remote in job.remotes:
            self._remote(remote)
        for document in definition.inline:
            data = document.content.encode("utf-8", "surrogateescape")
            self._data(document.name, data, _FILE_MODE)

    def _refuse_many(self, count: int) -> None:
        if count < 2 or self._definition.target.endswith("/"):
            return
        if not self._placer.is_dir(self._target):
            name = "ADD" if self._definition.add else "COPY"
            raise InvalidInput(
                f"When using {name} with more than one source file, the destination must be a "
                "directory and end with a /"
            )

    # -- where it goes

    def _made_mode(self) -> int:
        change = self._change
        return change.octal if change is not None and change.octal is not None else 0o755

    def _make(self, parts: Parts) -> Parts:
        uid, gid = self._owner or (0, 0)
        return self._placer.make_directory(parts, uid, gid, self._made_mode())

    def _file_place(self, name: str) -> tuple[Parts, str]:
        """The directory and the name that one file goes to."""
        if self._definition.target.endswith("/"):
            return self._make(self._target), name
        if self._placer.is_dir(self._target):
            return self._make(self._target), name
        real = self._placer.view.resolve(self._target)
        return self._make(real[:-1]), real[-1]

    # -- what comes from a tree

    def _source(self, tree: MergedTree, root: SourceRoot, owner: tuple[int, int] | None) -> None:
        if not root.is_dir:
            self._single(tree, root, owner)
            return
        exists = self._placer.is_dir(self._target)
        if exists is False:
            raise InvalidInput(f"cannot copy to non-directory: {self._definition.target}")
        place = self._make(self._target)
        places: dict[Parts, Parts] = {(): place}
        for path, found in entries(tree, root, self._exclude):
            self._check_unchanged(found)
            facts = self._facts(found, owner)
            if not path:
                if exists is None and place:
                    self._placer.set_directory(place, facts)
                continue
            parent = places[path[:-1]]
            if found.is_dir:
                places[path] = self._placer.directory(parent, path[-1], facts, overwrite=True)
            else:
                self._place(parent, path[-1], found, facts)

    def _single(self, tree: MergedTree, root: SourceRoot, owner: tuple[int, int] | None) -> None:
        for _, found in entries(tree, root, self._exclude):
            self._check_unchanged(found)
            if self._definition.unpack and found.is_file and self._unpack(found):
                return
            parent, name = self._file_place(root.name)
            self._place(parent, name, found, self._facts(found, owner))

    def _facts(self, found: Found, owner: tuple[int, int] | None) -> Facts:
        latest = self._job.latest_ns
        return facts_of(found, owner=owner, change=self._change, latest_ns=latest)

    def _place(self, parent: Parts, name: str, found: Found, facts: Facts) -> None:
        if found.is_file:
            self._placer.file(parent, name, found, facts)
        elif found.is_link:
            self._placer.link(parent, name, found.readlink(), facts)
        else:
            self._placer.node(parent, name, found.status, facts)

    def _check_unchanged(self, found: Found) -> None:
        seen = self._job.seen.get(found.path)
        if seen is not None and found.is_file and seen != identity(found.status):
            raise Conflict(
                f"/{'/'.join(found.path)} was changed while the build read it",
                hint="build again",
            )

    def _unpack(self, found: Found) -> bool:
        with os.fdopen(found.open(), "rb") as file:
            stream = open_archive(file)
            if stream is None:
                return False
            place = self._make(self._target)
            job = self._job
            unpack_archive(stream, job.snapshotter, job.key, place, owner=self._owner)
        self._placer.forget()
        return True

    # -- what comes from elsewhere

    def _data(self, name: str, data: bytes, mode: int) -> None:
        parent, base = self._file_place(name)
        self._placer.write(parent, base, data, self._new_facts(mode, self._job.now_ns))

    def _new_facts(self, mode: int, mtime_ns: int) -> Facts:
        uid, gid = self._owner or (0, 0)
        if self._change is not None:
            mode = self._change.apply(mode, directory=False)
        return Facts(uid=uid, gid=gid, mode=mode, mtime_ns=mtime_ns)

    def _remote(self, remote: Remote) -> None:
        if remote.path.is_dir():
            root = SourceRoot(written="/", root=(), name="", is_dir=True)
            self._source(root_of(remote.path), root, self._owner or (0, 0))
            return
        tree = root_of(remote.path.parent)
        with tree.find((remote.path.name,)) as found:
            assert found is not None
            if self._definition.unpack_remote and self._unpack(found):
                return
            parent, name = self._file_place(remote.name)
            mtime = self._job.now_ns if remote.mtime_ns is None else remote.mtime_ns
            self._placer.file(parent, name, found, self._new_facts(_FETCHED_MODE, mtime))
