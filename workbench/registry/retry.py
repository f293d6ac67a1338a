"""What may be repeated, when, and after how long.

A request is repeated when doing it twice is the same as doing it once (GET, HEAD, PUT and DELETE
with a body that is at hand), or when it was certainly not performed: no connection, or 429.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from typing import Final

from workbench.registry.http import Broken, NotTLS, Response, Unreachable
from workbench.registry.settings import Settings

_IDEMPOTENT: Final = frozenset({"GET", "HEAD", "PUT", "DELETE"})
_BUSY: Final = 429
_PASSING: Final = frozenset({408, 500, 502, 503, 504})
_LONGEST_BACKOFF: Final = 8.0

Sleep = Callable[[float], None]


class Retrier:
    """Repeats an attempt with growing, jittered pauses, or as the registry asks."""

    def __init__(self, settings: Settings, sleep: Sleep = time.sleep) -> None:
        self._settings = settings
        self._sleep = sleep

    def run(
        self,
        attempt: Callable[[], Response],
        *,
        method: str,
        replayable: bool = True,
        tries: int | None = None,
    ) -> Response:
        """The answer of the last attempt, whatever its status. Raises what the last one raised."""
        last = (tries or self._settings.tries) - 1
        for number in range(last):
            try:
                response = attempt()
            except NotTLS:
                raise
            except Broken as error:
                if not replayable or not (_safe(method) or isinstance(error, Unreachable)):
                    raise
                self.pause(number)
                continue
            if not (replayable and _worth_repeating(method, response.status)):
                return response
            asked = retry_after(response)
            if asked is not None and asked > self._settings.longest_wait:
                return response
            response.excerpt()
            self.pause(number, asked)
        return attempt()

    def pause(self, number: int, asked: float | None = None) -> None:
        """Sleep before repeat ``number``, counted from 0; ``asked`` seconds at least."""
        growing = min(self._settings.first_wait * 2**number, _LONGEST_BACKOFF)
        self._sleep(max(asked or 0.0, growing * random.uniform(0.5, 1.0)))


def _safe(method: str) -> bool:
    return method in _IDEMPOTENT


def _worth_repeating(method: str, status: int) -> bool:
    return status == _BUSY or (status in _PASSING and _safe(method))


def retry_after(response: Response) -> float | None:
    """The seconds that the registry asks to wait; None where it asks for nothing sensible."""
    text = response.headers.get("Retry-After", "").strip()[:64]
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    return max(0.0, moment.timestamp() - time.time())
