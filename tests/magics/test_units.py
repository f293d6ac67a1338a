"""Numbers as people read them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from magics import units


@pytest.mark.parametrize(
    "count,words",
    [
        (0, "0 B"), (532, "532 B"), (999, "999 B"), (1000, "1.00 kB"), (1234, "1.23 kB"),
        (77_812_345, "77.8 MB"), (999_400, "999 kB"), (999_600, "1.00 MB"), (48_600_000, "48.6 MB"),
        (123_456_789_012, "123 GB"), (100_000, "100 kB"), (9_996, "10.0 kB"),
    ],
)  # fmt: skip
def test_sizes_have_three_digits(count: int, words: str) -> None:
    assert units.size(count) == words


@pytest.mark.parametrize(
    "count,words", [(0, "0 B"), (500, "500 B"), (2500, "2.5 kB"), (20_000_000, "20 MB")]
)
def test_marks_of_an_axis_have_no_zeros_behind(count: int, words: str) -> None:
    assert units.tick(count) == words


@pytest.mark.parametrize(
    "seconds,words",
    [(0, "0.00 s"), (0.04, "0.04 s"), (0.999, "1.00 s"), (3.21, "3.21 s"),
     (12.54, "12.5 s"), (59.97, "1 min 0 s"),
     (72, "1 min 12 s"), (7380, "2 h 3 min")],
)  # fmt: skip
def test_durations(seconds: float, words: str) -> None:
    assert units.duration(seconds) == words


def test_ages_and_times_that_nobody_recorded() -> None:
    now = datetime(2026, 5, 1, 12, tzinfo=UTC)
    assert units.age(now - timedelta(minutes=5), now) == "5 minutes ago"
    assert units.age(now - timedelta(days=1), now) == "1 day ago"
    assert units.age(now, now) == "just now"
    assert units.age(datetime.fromtimestamp(0, UTC), now) == "—"
