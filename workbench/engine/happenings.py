"""What happens, written down once for everybody who watches: CLI, API and notebook."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Final

from workbench.events import Lifecycle
from workbench.state.containers import ContainerRecord
from workbench.state.events import EventRow, Events

_POLL_SECONDS: Final = 0.1


class Happenings:
    """The engine's door to the durable stream of events."""

    def __init__(self, events: Events) -> None:
        self._events = events

    def add(
        self, type: str, action: str, actor: str, attributes: Mapping[str, str] | None = None
    ) -> None:
        """Write one event down."""
        self._events.add(type, action, actor, attributes or {})

    def of_container(self, record: ContainerRecord, action: str, **more: str) -> None:
        """Write down what happened to a container, with the attributes that all of these have."""
        attributes = {"name": record.name, "image": record.image, **more}
        self.add("container", action, record.id, attributes)

    def watch(
        self, *, since: float | None = None, until: float | None = None, follow: bool = False
    ) -> Iterator[Lifecycle]:
        """Events in order. Times are seconds since the epoch.

        Without ``since`` only what happens from now on; ``follow`` waits for more, until
        ``until`` where it is given.
        """
        sequence = 0 if since is not None else self._events.last()
        since_ns = int((since or 0) * 1e9)
        while True:
            for row in self._events.after(sequence, since_ns=since_ns):
                sequence = row.sequence
                if until is not None and row.time_ns > until * 1e9:
                    return
                yield _event(row)
            if not follow or (until is not None and time.time() >= until):
                return
            time.sleep(_POLL_SECONDS)


def _event(row: EventRow) -> Lifecycle:
    return Lifecycle(
        type=row.type,
        action=row.action,
        actor=row.actor,
        attributes=row.attributes,
        time_ns=row.time_ns,
    )
