"""Near-misses: which of the known names somebody may have meant."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

_FARTHEST: Final = 2
_LONGEST: Final = 64


def nearest(name: str, options: Iterable[str], *, case_sensitive: bool = True) -> str:
    """The option at an edit distance of at most two; "" where there is none, or ``name`` itself."""
    wanted = name if case_sensitive else name.lower()
    best, distance = "", _FARTHEST + 1
    for option in options:
        candidate = option if case_sensitive else option.lower()
        if candidate == wanted:
            return ""
        found = edit_distance(wanted, candidate, distance)
        if found < distance:
            best, distance = option, found
    return best


def did_you_mean(name: str, options: Iterable[str], *, case_sensitive: bool = True) -> str:
    """`` (did you mean X?)``, ready to follow a message, or nothing."""
    found = nearest(name, options, case_sensitive=case_sensitive)
    return f" (did you mean {found}?)" if found else ""


def edit_distance(left: str, right: str, bound: int) -> int:
    """Changes, insertions, deletions and swaps of neighbours; ``bound`` where not below it."""
    if abs(len(left) - len(right)) >= bound or max(len(left), len(right)) > _LONGEST:
        return bound
    before: list[int] = []
    row = list(range(len(right) + 1))
    for index, char in enumerate(left, 1):
        after = [index]
        for column, other in enumerate(right, 1):
            cost = min(row[column - 1] + (char != other), row[column] + 1, after[-1] + 1)
            swapped = index > 1 and column > 1 and char == right[column - 2]
            if swapped and left[index - 2] == other:
                cost = min(cost, before[column - 2] + 1)
            after.append(cost)
        before, row = row, after
    return min(row[-1], bound)
