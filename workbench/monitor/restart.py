"""Whether and when a container that ended is started again: pure functions of what is known."""

from __future__ import annotations

from workbench.monitor.settings import RestartSettings


def wanted(
    settings: RestartSettings, *, code: int, restarts: int, stopped: bool, cancelled: bool
) -> bool:
    """``cancelled`` after a stop or kill, ``stopped`` after any signal that somebody sent."""
    if cancelled or settings.policy == "no":
        return False
    if settings.policy == "always":
        return True
    if settings.policy == "unless-stopped":
        return not stopped
    return code != 0 and (settings.maximum == 0 or restarts < settings.maximum)


def pause(settings: RestartSettings, *, previous: float, ran_for: float) -> float:
    """Seconds before the next start; ``previous`` is 0 before the first. See RestartSettings."""
    if previous == 0 or ran_for >= settings.reset_after:
        return settings.delay
    return min(previous * 2, settings.longest_delay)
