"""A root file system made of busybox, and containers that leave nothing behind."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from workbench.linux import capabilities
from workbench.linux.host import Host, probe
from workbench.linux.mount import Mount, overlay
from workbench.oci.runtime_spec import (
    Capabilities,
    Linux,
    MountPoint,
    Namespace,
    Process,
    Root,
    Spec,
)
from workbench.runtime import state
from workbench.runtime.bundle import Bundle
from workbench.runtime.create import Created, Stdio, create
from workbench.runtime.execute import Executed, execute

BUSYBOX = Path("/bin/busybox")
APPLETS = "sh true false ls cat mount ps id env hostname ip sleep stat readlink touch kill umask"
KINDS = ("pid", "network", "mount", "ipc", "uts")


def make_lower(directory: Path) -> Path:
    """A busybox root file system below ``directory``."""
    for name in ("bin", "proc", "sys", "dev", "etc", "tmp", "home"):
        (directory / name).mkdir(parents=True)
    (directory / "tmp").chmod(0o1777)
    shutil.copy(BUSYBOX, directory / "bin/busybox")
    for applet in APPLETS.split():
        (directory / "bin" / applet).symlink_to("busybox")
    (directory / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\nuser:x:1000:1000::/home:/x\n")
    (directory / "etc/plain").write_text("no program\n")
    (directory / "etc/plain").chmod(0o644)
    (directory / "bin/words").write_text("not a program\n")
    (directory / "bin/words").chmod(0o755)
    return directory


@pytest.fixture(scope="session")
def lower(tmp_path_factory: pytest.TempPathFactory, require: Callable[..., None]) -> Path:
    require(BUSYBOX.exists(), "needs a static busybox")
    return make_lower(tmp_path_factory.mktemp("image") / "lower")


@pytest.fixture(scope="session", autouse=True)
def _no_group_is_left() -> Iterator[None]:
    """The folder of all groups goes when it is empty."""
    yield
    for place in Path("/sys/fs/cgroup").glob("*/workbench"):
        with contextlib.suppress(OSError):
            place.rmdir()


@pytest.fixture(scope="session")
def host(tmp_path_factory: pytest.TempPathFactory) -> Host:
    return probe(tmp_path_factory.mktemp("probe"))


MOUNTS = (
    MountPoint(destination="/proc", type="proc", source="proc"),
    MountPoint(destination="/dev", type="tmpfs", source="tmpfs", options=("nosuid", "mode=755")),
    MountPoint(
        destination="/dev/pts", type="devpts", source="devpts",
        options=("nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"),
    ),
    MountPoint(destination="/dev/shm", type="tmpfs", source="shm", options=("mode=1777",)),
    MountPoint(destination="/sys", type="sysfs", source="sysfs", options=("nosuid", "ro")),
)  # fmt: skip


def default_capabilities() -> Capabilities:
    names = capabilities.DEFAULT
    return Capabilities(bounding=names, effective=names, permitted=names)


def make_spec(*args: str, linux: Linux | None = None, kinds: tuple[str, ...] = KINDS,
              mounts: tuple[MountPoint, ...] = (), readonly: bool = False, hostname: str = "box",
              **process: Any) -> Spec:  # fmt: skip
    """A specification with the usual namespaces and mounts; ``process`` overrides its fields."""
    process.setdefault("capabilities", default_capabilities())
    process.setdefault("env", ("PATH=/bin",))
    namespaces = tuple(Namespace(type=kind) for kind in kinds)
    linux = linux or Linux()
    if not linux.namespaces:
        linux = dataclasses.replace(linux, namespaces=namespaces)
    return Spec(
        root=Root(path="rootfs", readonly=readonly), hostname=hostname, linux=linux,
        process=Process(args=args, **process), mounts=(*MOUNTS, *mounts),
    )  # fmt: skip


@dataclasses.dataclass
class Box:
    """Runs containers, collects what they print, and clears up."""

    place: Path
    lower: Path
    host: Host
    made: list[Created] = dataclasses.field(default_factory=list)
    bundles: list[Path] = dataclasses.field(default_factory=list)

    def bundle(self, spec: Spec, *, mounts: tuple[Mount, ...] | None = None) -> Bundle:
        path = self.place / f"bundle{len(self.bundles)}"
        for name in ("rootfs", "upper", "work"):
            (path / name).mkdir(parents=True)
        self.bundles.append(path)
        if mounts is None:
            mounts = (overlay([self.lower], path / "upper", path / "work"),)
        return Bundle.write(path, spec, mounts)

    def create(self, spec: Spec, *, bundle: Bundle | None = None, **options: Any) -> Created:
        bundle = bundle or self.bundle(spec)
        created = create(bundle, f"{self.place.name}-{len(self.made)}", host=self.host, **options)
        self.made.append(created)
        return created

    def run(self, spec: Spec, **options: Any) -> tuple[int, str]:
        """Exit code, and all output."""
        with self.streams() as (stdio, read):
            created = self.create(spec, stdio=stdio, **options)
            created.start()
            return self.wait(created.pid), read()

    def shell(self, script: str, **options: Any) -> tuple[int, str]:
        return self.run(make_spec("sh", "-c", script, **options))

    def execute(self, created: Created, process: Process, **options: Any) -> tuple[int, str]:
        with self.streams() as (stdio, read):
            done = execute(created.directory, process, stdio=stdio, host=self.host, **options)
            os.close(done.pidfd)
            return self.wait(done.pid), read()

    def start_executed(self, created: Created, process: Process, **options: Any) -> Executed:
        return execute(created.directory, process, host=self.host, **options)

    @contextlib.contextmanager
    def streams(self) -> Iterator[tuple[Stdio, Callable[[], str]]]:
        nothing = os.open("/dev/null", os.O_RDONLY)
        output = os.memfd_create("output")
        try:
            yield Stdio(nothing, output, output), lambda: os.pread(output, 1 << 20, 0).decode()
        finally:
            os.close(nothing)
            os.close(output)

    @staticmethod
    def wait(pid: int) -> int:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    def clear(self) -> None:
        for created in self.made:
            with contextlib.suppress(OSError):
                os.kill(created.pid, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(created.pid, 0)
            os.close(created.pidfd)
            if created.channel is not None:
                created.channel.close()
            state.delete(created.directory, force=True)


@pytest.fixture
def box(tmp_path: Path, lower: Path, host: Host, require: Callable[..., None]) -> Iterator[Box]:
    require(host.overlay, "needs an overlay mount below the temporary directory")
    made = Box(tmp_path, lower, host)
    yield made
    made.clear()
