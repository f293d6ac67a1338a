"""Perform RUN: the mounts of the step as data, the command by the ``Runner``, the traces removed.

Source: Dockerfile reference, "RUN", "RUN --mount".
"""

from __future__ import annotations

import hashlib
import os
import posixpath
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Final

from workbench.build.definition import MountDefinition, Origin, RunDefinition
from workbench.build.merged import MergedTree, split_path
from workbench.build.request import BuildRequest, Parts, RunSettings
from workbench.build.stubs import Stubs
from workbench.build.treecopy import copy_tree
from workbench.build.users import home_of, process_user
from workbench.errors import Interrupted, InvalidInput, NotFound
from workbench.events import Stream
from workbench.linux.mount import Mount
from workbench.oci.runtime_spec import Process
from workbench.store.locks import file_lock, try_file_lock

Output = Callable[[Stream, bytes], None]
_SECRET_MODE: Final = 0o400
_POLL: Final = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """One RUN. ``key`` is its active snapshot, ``tree_of`` gives the files of an origin."""

    definition: RunDefinition
    request: BuildRequest
    parts: Parts
    key: str
    tree_of: Callable[[Origin], MergedTree]
    output: Output
    cancel: Event

    def run(self) -> int:
        """The exit code. Raises what the runner raises, InvalidInput, NotFound."""
        snapshotter = self.parts.snapshotter
        changes, lowers = snapshotter.changes(self.key), snapshotter.lowers(self.key)
        tree = MergedTree([changes, *lowers])
        with ExitStack() as stack:
            mounts, env = self._mounts(stack)
            process = self._process(tree, env)
            stubs = Stubs.before(tree, [mount.target for mount in mounts])
            code = self.parts.runner.run(
                snapshotter.mounts(self.key),
                process,
                settings=self._settings(mounts),
                output=self.output,
                cancel=self.cancel,
            )
        if self.cancel.is_set():
            raise Interrupted("the build was interrupted")
        stubs.remove(changes, MergedTree(lowers))
        return code

    def _process(self, tree: MergedTree, extra: Mapping[str, str]) -> Process:
        user = process_user(self.definition.user, tree)
        env = {**self.request.proxies, **dict(self.definition.env), **extra}
        env.setdefault("HOME", home_of(user.uid, tree))
        return Process(
            args=self.definition.args,
            cwd=self.definition.cwd,
            env=tuple(f"{name}={value}" for name, value in env.items()),
            user=user,
            rlimits=self.request.ulimits,
        )

    def _settings(self, mounts: tuple[Mount, ...]) -> RunSettings:
        network = self.definition.network
        return RunSettings(
            network=self.request.network if network == "default" else network,
            security=self.definition.security,
            mounts=mounts,
            extra_hosts=self.request.extra_hosts,
            shm_size=self.request.shm_size,
            memory=self.request.memory,
            devices=self.definition.devices,
        )

    # -- mounts

    def _mounts(self, stack: ExitStack) -> tuple[tuple[Mount, ...], dict[str, str]]:
        mounts: list[Mount] = []
        env: dict[str, str] = {}
        for item in self.definition.mounts:
            match item.mount.type:
                case "bind":
                    mounts.append(self._bind(item, stack))
                case "cache":
                    mounts.append(self._cache(item, stack))
                case "tmpfs":
                    mounts.append(_tmpfs(item))
                case "secret":
                    mounts += self._secret(item, env, stack)
                case _:
                    mounts += self._ssh(item, env)
        if self.definition.script is not None:
            mounts.append(self._script(*self.definition.script, stack))
        return tuple(mounts), env

    def _scratch(self, stack: ExitStack, base: Path | None = None) -> Path:
        root = base or self.parts.scratch
        root.mkdir(parents=True, exist_ok=True)
        return Path(stack.enter_context(_temporary(root)))

    def _bind(self, item: MountDefinition, stack: ExitStack) -> Mount:
        assert item.origin is not None
        tree = self.tree_of(item.origin)
        place = tree.resolve(split_path(item.mount.source))
        with tree.find(place) as found:
            if found is None:
                raise NotFound(f'failed to calculate checksum: "/{"/".join(place)}": not found')
            is_dir = found.is_dir
        if item.mount.writable or tree.hides_something or not is_dir:
            copy = self._scratch(stack) / "content"
            copy_tree(tree, place, copy, plain=tree.is_context)
            return _bound(copy, item.target, writable=item.mount.writable)
        found_in = tree.directories(place)
        if len(found_in) == 1:
            return _bound(found_in[0], item.target, writable=False)
        return self._stacked(found_in, item.target)

    def _stacked(self, layers: tuple[Path, ...], target: str) -> Mount:
        options = ["ro", f"lowerdir={':'.join(str(path) for path in layers)}"]
        if self.parts.snapshotter.user_attributes:
            options.append("userxattr")
        return Mount(type="overlay", source="overlay", target=target, options=tuple(options))

    def _cache(self, item: MountDefinition, stack: ExitStack) -> Mount:
        mount = item.mount
        name = hashlib.sha256(mount.id.encode("utf-8", "surrogateescape")).hexdigest()[:32]
        self.parts.caches.mkdir(parents=True, exist_ok=True, mode=0o711)
        lock = self.parts.caches / f"{name}.lock"
        path = self.parts.caches / name
        if mount.sharing == "locked":
            stack.enter_context(_locked(lock, self.cancel))
        elif mount.sharing == "private":
            path = self._private(path, stack)
        with file_lock(self.parts.caches / f"{name}.make"):
            if not path.exists():
                self._make_cache(item, path, stack)
        return _bound(path, item.target, writable=mount.writable)

    def _private(self, path: Path, stack: ExitStack) -> Path:
        """The first of a row of directories that nobody else uses now."""
        number = 0
        while True:
            candidate = path if number == 0 else path.with_name(f"{path.name}.{number}")
            held = stack.enter_context(try_file_lock(Path(f"{candidate}.lock")))
            if held is not None:
                return candidate
            number += 1

    def _make_cache(self, item: MountDefinition, path: Path, stack: ExitStack) -> None:
        mount = item.mount
        new = self._scratch(stack, self.parts.caches) / "content"
        if item.origin is not None:
            tree = self.tree_of(item.origin)
            place = tree.resolve(split_path(mount.source))
            copy_tree(tree, place, new, plain=tree.is_context)
        else:
            new.mkdir()
        new.chmod(0o755 if mount.mode is None else mount.mode)
        if mount.uid or mount.gid:
            os.chown(new, mount.uid or 0, mount.gid or 0)
        new.rename(path)

    def _secret(
        self, item: MountDefinition, env: dict[str, str], stack: ExitStack
    ) -> Iterator[Mount]:
        mount = item.mount
        name = mount.source or mount.id or posixpath.basename(mount.target)
        data = self.request.secrets.get(name)
        if data is None:
            if mount.required:
                raise InvalidInput(f"secret {name}: not found", hint="give it with --secret")
            return
        if mount.env is not None:
            env[mount.env or name] = data.decode("utf-8", "surrogateescape")
        if item.target:
            path = self._scratch(stack, self.parts.secrets) / "secret"
            _write_private(path, data, _SECRET_MODE if mount.mode is None else mount.mode)
            if mount.uid or mount.gid:
                os.chown(path, mount.uid or 0, mount.gid or 0)
            yield _bound(path, item.target, writable=False)

    def _ssh(self, item: MountDefinition, env: dict[str, str]) -> Iterator[Mount]:
        name = item.mount.id or "default"
        socket = self.request.ssh.get(name)
        if socket is None:
            if item.mount.required:
                raise InvalidInput(f"ssh agent {name}: not found", hint="give it with --ssh")
            return
        env.setdefault("SSH_AUTH_SOCK", item.target)
        yield _bound(Path(socket), item.target, writable=True)

    def _script(self, name: str, content: str, stack: ExitStack) -> Mount:
        folder = self._scratch(stack)
        folder.chmod(0o755)
        path = folder / posixpath.basename(name)
        path.write_bytes(content.encode("utf-8", "surrogateescape"))
        path.chmod(0o755)
        return _bound(folder, "/dev/pipes", writable=False)


def _bound(path: Path, target: str, *, writable: bool) -> Mount:
    access = "rw" if writable else "ro"
    return Mount(type="bind", source=str(path), target=target, options=("rbind", access))


def _tmpfs(item: MountDefinition) -> Mount:
    options = ["nosuid", "nodev", "mode=1777"]
    if item.mount.size:
        options.append(f"size={item.mount.size}")
    if not item.mount.writable:
        options.append("ro")
    return Mount(type="tmpfs", source="tmpfs", target=item.target, options=tuple(options))


def _write_private(path: Path, data: bytes, mode: int) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(data)
        os.fchmod(file.fileno(), mode)


@contextmanager
def _temporary(root: Path) -> Iterator[str]:
    path = tempfile.mkdtemp(prefix="step-", dir=root)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


@contextmanager
def _locked(path: Path, cancel: Event) -> Iterator[None]:
    """Hold a lock file, waiting for it until the build is cancelled."""
    while True:
        with try_file_lock(path) as held:
            if held is not None:
                yield
                return
        if cancel.wait(_POLL):
            raise Interrupted("the build was interrupted")
