"""The engine: the only place that knows every part, one service per noun.

In: ``Config`` and values such as ``RunOptions``. Out: frozen values of ``values.py``.
Start reading at ``Engine.open`` below, then the noun that you care about.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from workbench.build.digests import DigestCache
from workbench.build.request import Parts
from workbench.config import Config
from workbench.engine.builds import Builds, ImageFinder, StepCache
from workbench.engine.containers import Containers
from workbench.engine.creation import Creator
from workbench.engine.ending import Ending
from workbench.engine.happenings import Happenings
from workbench.engine.images import Images
from workbench.engine.inventory import Inventory
from workbench.engine.layout import StateDirectory
from workbench.engine.mounting import Mounting
from workbench.engine.networking import Networking, facts
from workbench.engine.networks import Networks
from workbench.engine.recover import Recovery
from workbench.engine.runner import StepRunner
from workbench.engine.starting import Starter
from workbench.engine.system import System
from workbench.engine.unpacking import Unpacking
from workbench.engine.volumes import Volumes
from workbench.events import Lifecycle
from workbench.linux import host as kernel
from workbench.linux.host import Host
from workbench.monitor.client import Launcher
from workbench.network.bridge import BridgeDriver
from workbench.network.driver import NetworkDriver
from workbench.network.gate import Gate, home
from workbench.network.slirp import SlirpDriver
from workbench.runtime import idmap
from workbench.state import builds, containers, events, networks, volumes
from workbench.state.database import Database
from workbench.store.access import MappedAccess, TreeAccess
from workbench.store.content import ContentStore
from workbench.store.copying import CopyingSnapshotter
from workbench.store.overlay import OverlaySnapshotter
from workbench.store.snapshots import Snapshotter


class Engine:
    """All services on one state directory. Threads may share it; close it when done."""

    def __init__(self, config: Config, host: Host) -> None:
        """Wiring, nothing else: use ``open``."""
        directory = StateDirectory(root=config.root)
        database = Database(directory.database)
        rows = containers.Containers(database)
        happenings = Happenings(events.Events(database))
        content = ContentStore(directory.store)
        snapshotter = _snapshotter(directory, host)
        unpacking = Unpacking(content, snapshotter, host, config.limits)
        images = Images(content, unpacking, rows, config.limits, happenings)
        gate = Gate(config.root)
        network_rows = networks.Networks(database)
        driver = _driver(directory, host, gate, network_rows)
        network_service = Networks(network_rows, driver, happenings)
        networking = Networking(
            host, rows, network_rows, network_service, driver, gate, directory.containers
        )
        volume_service = Volumes(directory.volumes, volumes.Volumes(database), images, happenings)
        mounting = Mounting(volume_service, rows)
        creator = Creator(
            directory, host, images, mounting, networking, snapshotter, rows, _on_exit(config.root)
        )
        launcher = Launcher(config.root)
        inventory = Inventory(directory, rows, networking)
        ending = Ending(directory, rows, inventory, networking, creator, happenings)
        starter = Starter(directory, launcher, rows, inventory, networking, ending, happenings)
        build_rows = builds.Builds(database)
        parts = Parts(
            content=content,
            snapshotter=snapshotter,
            runner=StepRunner(directory, host, launcher),
            cache=StepCache(build_rows),
            images=ImageFinder(images),
            scratch=directory.builds,
            caches=directory.root / "caches",
            digests=DigestCache(directory.root / "digests"),
        )
        self.config = config
        self.host = host
        self.images = images
        self.containers = Containers(inventory, creator, starter, ending, happenings)
        self.networks = network_service
        self.volumes = volume_service
        self.builds = Builds(config, parts, images, build_rows, happenings)
        self.system = System(host, config.root)
        self._database = database
        self._happenings = happenings
        self._driver = driver
        self._recovery = Recovery(directory, rows, inventory, ending, snapshotter)

    @classmethod
    def open(cls, config: Config | None = None, *, recover: bool = True) -> Engine:
        """Open the state directory, mending what a crash left. Raises Unsupported, Corrupt."""
        chosen = config or Config.load()
        StateDirectory(root=chosen.root).make()
        engine = cls(chosen, kernel.probe(chosen.root))
        if recover:
            engine._recovery.run()
        return engine

    def events(
        self, *, since: float | None = None, until: float | None = None, follow: bool = False
    ) -> Iterator[Lifecycle]:
        """What happens, in order; see ``Happenings.watch``."""
        return self._happenings.watch(since=since, until=until, follow=follow)

    def close(self) -> None:
        """Let go of the database and of sockets. What runs goes on."""
        if isinstance(self._driver, BridgeDriver):
            self._driver.close()
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _on_exit(root: Path) -> tuple[str, ...]:
    """The command that finishes a container, whatever directory it is started in."""
    module = "workbench.engine.reap"
    if home() == Path("/"):
        return (sys.executable, "-P", "-m", module, str(root))
    code = (
        "import runpy, sys; sys.path.insert(0, sys.argv.pop(1)); "
        f"runpy.run_module({module!r}, run_name='__main__', alter_sys=True)"
    )
    return (sys.executable, "-P", "-c", code, str(home()), str(root))


def _snapshotter(directory: StateDirectory, host: Host) -> Snapshotter:
    if host.overlay:
        return OverlaySnapshotter(
            directory.snapshots, userxattr=host.overlay_userxattr, access=_access(host)
        )
    return CopyingSnapshotter(directory.snapshots)


def _access(host: Host) -> TreeAccess:
    """Files of an ordinary user's containers are read and removed with the containers' ids."""
    if host.rootless and host.user_namespaces:
        return MappedAccess(lambda pid: idmap.write_maps(pid, host.subuid, host.subgid))
    return TreeAccess()


def _driver(
    directory: StateDirectory, host: Host, gate: Gate, rows: networks.Networks
) -> NetworkDriver | None:
    """Bridges for root, a tool in user space for others, None where there is neither."""
    if not host.rootless:
        return BridgeDriver(directory.root, gate, facts=lambda: facts(rows))
    tool = host.slirp4netns or host.pasta
    return SlirpDriver(tool) if tool else None
