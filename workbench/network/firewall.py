"""Our nftables table in the kernel: put in place, added to, taken from, mended.

Adding and removing elements touches only what concerns one container, so that several engines may
do it at once. Putting the whole table in place again needs all facts; a file lock keeps others
from adding in between.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from workbench.errors import Conflict, Unsupported
from workbench.network import nat, nft
from workbench.network.lock import locked
from workbench.network.nat import Elements
from workbench.network.netlink import NETFILTER, Channel, NetlinkError

DEFAULT_TABLE: Final = "workbench"
_NOT_THERE: Final = (errno.ENOENT, errno.ESRCH)


class Firewall:
    """The table ``name``. May be used by several threads and processes at once."""

    def __init__(self, run: Path, name: str = DEFAULT_TABLE) -> None:
        self.name = name
        self._lock = run / "firewall.lock"
        self._thread_lock = threading.Lock()
        self._channel: Channel | None = None

    def apply(self, elements: Callable[[], Elements]) -> None:
        """Put the whole table in place at once, with what ``elements`` answers under the lock."""
        with self._session(fcntl.LOCK_EX) as channel:
            _transact(channel, nat.rebuild(self.name, elements()), "write the firewall")

    def add(self, elements: Elements, whole: Callable[[], Elements]) -> None:
        """Add elements; where the table is missing put all of it in place, with ``whole`` too.

        Elements that are there already are no failure. Raises Conflict where a port is taken.
        """
        if not elements:
            return
        with self._session(fcntl.LOCK_SH) as channel:
            try:
                channel.transact(nat.addition(self.name, elements), "publish")
                return
            except NetlinkError as error:
                if error.errno == errno.EEXIST:
                    raise Conflict("port is already allocated") from error
                if error.errno not in _NOT_THERE:
                    raise unsupported(error) from error
        self.apply(lambda: nat.merge((whole(), elements)))

    def remove(self, elements: Elements) -> None:
        """Take elements out; those that are not there are no failure, nor is a missing table."""
        if not elements:
            return
        with contextlib.suppress(Unsupported):
            self._remove(elements)

    def _remove(self, elements: Elements) -> None:
        with self._session(fcntl.LOCK_SH) as channel:
            try:
                channel.transact(nat.removal(self.name, elements), "unpublish")
            except NetlinkError as error:
                if error.errno not in _NOT_THERE:
                    raise unsupported(error) from error
                self._remove_singly(channel, elements)

    def _remove_singly(self, channel: Channel, elements: Elements) -> None:
        for name, members in elements.items():
            for element in members:
                with contextlib.suppress(NetlinkError):
                    batch = nat.removal(self.name, {name: frozenset({element})})
                    channel.transact(batch, "unpublish")

    def drop(self) -> None:
        """Remove the whole table; nothing where there is none."""
        batch = [nft.new_table(self.name), nft.delete_table(self.name, acknowledge=True)]
        with self._session(fcntl.LOCK_EX) as channel:
            _transact(channel, batch, "remove the firewall")

    def drop_if_idle(self) -> None:
        """Remove the table where no network is written in it."""
        with self._session(fcntl.LOCK_EX) as channel:
            try:
                answers = channel.dump(nft.get_elements(self.name, "bridges"))
                idle = not any(nft.read_elements(body) for _, body in answers)
            except OSError as error:
                if error.errno in _NOT_THERE:
                    return
                raise
            if idle:
                batch = [nft.delete_table(self.name, acknowledge=True)]
                _transact(channel, batch, "remove the firewall")

    def exists(self) -> bool:
        with self._session(fcntl.LOCK_SH) as channel:
            return channel.ask(nft.get_table(self.name)) is not None

    def close(self) -> None:
        """Give the socket back."""
        with self._thread_lock:
            if self._channel is not None:
                self._channel.close()
            self._channel = None

    @contextlib.contextmanager
    def _session(self, how: int) -> Iterator[Channel]:
        """The one socket, kept open: closing it after a removal waits for a grace period."""
        with self._thread_lock, locked(self._lock, how):
            if self._channel is None:
                self._channel = _channel()
            yield self._channel


def _channel() -> Channel:
    try:
        return Channel(NETFILTER)
    except OSError as error:
        raise unsupported(error) from error


def _transact(channel: Channel, batch: list[bytes], what: str) -> None:
    try:
        channel.transact(batch, what)
    except NetlinkError as error:
        raise unsupported(error) from error


def unsupported(error: OSError) -> Unsupported:
    """What to say where the kernel refuses our rules."""
    return Unsupported(
        f"this kernel or user cannot write nftables rules: {error}",
        hint="nftables with NAT is needed (nf_tables, nft_nat, nft_masq, nft_fib), and root",
    )


def available() -> bool:
    """Whether our rules can be written here: tried with a table that is gone again at once."""
    probe = f"workbench-probe-{os.getpid()}"
    try:
        with Channel(NETFILTER) as channel:
            batch = nat.rebuild(probe, {})
            channel.transact([*batch[:-1], nft.delete_table(probe, acknowledge=True)], "probe")
    except OSError:
        return False
    return True
