"""Who is called what: one small file for each running container in a user network.

Engines write them, the warden reads them, and neither needs the other to be alive. A file is
replaced at once, so that a reader never sees half of one.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

FOLDER: Final = "names"


@dataclass(frozen=True, slots=True, kw_only=True)
class Membership:
    """A container in one network, with its names there; addresses are text or empty.

    The first of ``names`` is what a reverse look-up answers with, followed by the network's.
    """

    network_id: str
    network_name: str
    names: tuple[str, ...]
    ipv4: str = ""
    ipv6: str = ""
    internal: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """What the name server must know of one running container.

    ``started`` is the start time of process ``pid`` in clock ticks, so that a pid that was given
    out again is not taken for it. ``links`` are names for this container alone: alias to the name
    of another container. ``upstreams`` are asked for other names; empty means the host's own.
    """

    container_id: str
    pid: int
    started: int
    memberships: tuple[Membership, ...]
    links: Mapping[str, str] = field(default_factory=dict)
    upstreams: tuple[str, ...] = ()

    @property
    def secluded(self) -> bool:
        """Only in internal networks: nothing is asked of the world for it."""
        return bool(self.memberships) and all(item.internal for item in self.memberships)


def write(root: Path, names: Names) -> None:
    """Put the file of a container in its place."""
    folder = root / "run" / FOLDER
    path = folder / f"{names.container_id}.json"
    text = json.dumps(asdict(names))
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    try:
        temporary.write_text(text, "utf-8")
    except FileNotFoundError:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        temporary.write_text(text, "utf-8")
    temporary.replace(path)


def remove(root: Path, container_id: str) -> None:
    """Take the file of a container away; nothing where there is none."""
    with contextlib.suppress(FileNotFoundError):
        (root / "run" / FOLDER / f"{container_id}.json").unlink()


def keep_only(root: Path, container_ids: Collection[str]) -> None:
    """Take away the files of all other containers: they have ended unseen."""
    folder = root / "run" / FOLDER
    with contextlib.suppress(FileNotFoundError):
        for path in list(folder.iterdir()):
            if path.name.partition(".")[0] not in container_ids:
                path.unlink(missing_ok=True)


def read(path: Path) -> Names | None:
    """One file; None where it is gone or not ours to understand."""
    try:
        document = json.loads(path.read_text("utf-8"))
        return _names(document)
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _names(document: dict[str, Any]) -> Names:
    members = tuple(
        Membership(**{**item, "names": tuple(item["names"])}) for item in document["memberships"]
    )
    return Names(
        container_id=str(document["container_id"]),
        pid=int(document["pid"]),
        started=int(document["started"]),
        memberships=members,
        links=dict(document["links"]),
        upstreams=tuple(document["upstreams"]),
    )


def start_time(pid: int) -> int:
    """When a process began, in clock ticks since boot (proc_pid_stat(5)); 0 for none."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace")
    except OSError:
        return 0
    return int(text.rpartition(")")[2].split()[19])


class Table:
    """All names, by network, as the files say; looks at a file again only when it has changed."""

    def __init__(self, root: Path) -> None:
        self._folder = root / "run" / FOLDER
        self._seen: dict[str, tuple[int, int]] = {}
        self._stamp = -1
        self.containers: dict[str, Names] = {}
        self._addresses: dict[str, dict[str, list[tuple[str, str]]]] = {}
        self._reverse: dict[str, dict[str, str]] = {}

    def refresh(self) -> None:
        """Read what has changed since the last time; one stat(2) where nothing has."""
        try:
            stamp = self._folder.stat().st_mtime_ns
        except FileNotFoundError:
            stamp = 0
        if stamp != self._stamp:
            self._stamp = stamp
            self._scan()

    def reload(self, container_id: str) -> Names | None:
        """Read the file of one container now."""
        path = self._folder / f"{container_id}.json"
        names = read(path)
        self.containers.pop(container_id, None)
        with contextlib.suppress(FileNotFoundError):
            status = path.stat()
            self._seen[container_id] = (status.st_ino, status.st_mtime_ns)
        if names is not None and names.container_id == container_id:
            self.containers[container_id] = names
        self._index()
        return self.containers.get(container_id)

    def forget(self, container_id: str) -> None:
        """Its process has ended: leave it out until its file is another."""
        if self.containers.pop(container_id, None) is not None:
            self._index()

    def _scan(self) -> None:
        found = dict(self._files())
        for name in self.containers.keys() - found.keys():
            del self.containers[name]
        for name, facts in found.items():
            if self._seen.get(name) != facts:
                names = read(self._folder / f"{name}.json")
                if names is None or names.container_id != name:
                    self.containers.pop(name, None)
                else:
                    self.containers[name] = names
        self._seen = found
        self._index()

    def _files(self) -> Iterator[tuple[str, tuple[int, int]]]:
        with contextlib.suppress(FileNotFoundError), os.scandir(self._folder) as entries:
            for entry in entries:
                if entry.name.endswith(".json"):
                    with contextlib.suppress(FileNotFoundError):
                        status = entry.stat()
                        yield entry.name[:-5], (status.st_ino, status.st_mtime_ns)

    def _index(self) -> None:
        self._addresses, self._reverse = {}, {}
        for names in self.containers.values():
            for item in names.memberships:
                pair = (item.ipv4, item.ipv6)
                forward = self._addresses.setdefault(item.network_id, {})
                reverse = self._reverse.setdefault(item.network_id, {})
                for name in dict.fromkeys(name.lower() for name in item.names):
                    forward.setdefault(name, []).append(pair)
                    forward.setdefault(f"{name}.{item.network_name.lower()}", []).append(pair)
                if item.names:
                    full = f"{item.names[0]}.{item.network_name}"
                    reverse.update({address: full for address in pair if address})

    def addresses(self, asker: Names, name: str) -> list[tuple[str, str]]:
        """(IPv4, IPv6) of all that have this name in a network of the asker, or in its links."""
        wanted = name.lower().rstrip(".")
        linked = {alias.lower(): target.lower() for alias, target in asker.links.items()}
        wanted = linked.get(wanted, wanted)
        found: list[tuple[str, str]] = []
        for item in asker.memberships:
            found += self._addresses.get(item.network_id, {}).get(wanted, [])
        return found

    def name_of(self, asker: Names, address: str) -> str | None:
        """The name of an address in a network of the asker."""
        for item in asker.memberships:
            if name := self._reverse.get(item.network_id, {}).get(address):
                return name
        return None
