"""The rules of a profile, sorted out by number: which range of calls has which outcome."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from workbench.errors import InvalidInput
from workbench.linux.seccomp_actions import ERRNO, PERMISSIVE, action_value
from workbench.linux.syscalls import table
from workbench.oci.runtime_spec import Seccomp, SeccompArg, SeccompRule

OPERATORS: Final = frozenset(
    f"SCMP_CMP_{name}" for name in ("NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ")
)
_ARGUMENTS: Final = 6
_MAX_VALUE: Final = 2**64 - 1

# Calls that 32-bit x86 can also make through socketcall(2) and ipc(2): number of the sub-call.
_SOCKET_NAMES: Final = (
    "socket bind connect listen accept getsockname getpeername socketpair send recv sendto "
    "recvfrom shutdown setsockopt getsockopt sendmsg recvmsg accept4 recvmmsg sendmmsg"
)
_SOCKETCALL: Final = {name: n for n, name in enumerate(_SOCKET_NAMES.split(), start=1)}
_IPC: Final = {
    "semop": 1,
    "semget": 2,
    "semctl": 3,
    "semtimedop": 4,
    "msgsnd": 11,
    "msgrcv": 12,
    "msgget": 13,
    "msgctl": 14,
    "shmat": 21,
    "shmdt": 22,
    "shmget": 23,
    "shmctl": 24,
}
_PRIVATE: Final = 0xF0000  # arm numbers its own calls from here, far above the common ones
_IPC_MASK: Final = 0xFFFF  # the upper half of ipc's first argument is a version


@dataclass(frozen=True, slots=True)
class Choice:
    """An answer that is given when all of ``args`` hold."""

    args: tuple[SeccompArg, ...]
    value: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """What happens to a call: the first choice that holds, otherwise ``value``."""

    value: int
    choices: tuple[Choice, ...] = ()


@dataclass(frozen=True, slots=True)
class Range:
    """Calls from ``start`` up to the start of the next range."""

    start: int
    outcome: Outcome


@dataclass(slots=True)
class _Found:
    """What the rules say of one call so far."""

    always: int | None = None
    choices: list[Choice] = field(default_factory=list)


def ranges(profile: Seccomp, architecture: str, first: int) -> Iterator[Range]:
    """Ranges from ``first`` to the end of all numbers; neighbours differ.

    Raises InvalidInput or Unsupported for a rule that cannot be.
    """
    last: Outcome | None = None
    for item in _pieces(profile, architecture, first):
        if item.outcome != last:
            last = item.outcome
            yield item


def _pieces(profile: Seccomp, architecture: str, first: int) -> Iterator[Range]:
    """A range for each ruled number and each gap between them, in order.

    A gap has the default; from the newest call on that the profile names it has ENOSYS, unless
    the default is to let things happen.
    """
    default = action_value(profile.default_action, profile.default_errno_ret)
    newer = default if profile.default_action in PERMISSIVE else ERRNO | errno.ENOSYS
    found, newest = _collect(profile, architecture, default)
    unknown = max(newest + 1, first)
    position = first
    for number in (*sorted(found), None):
        if position < unknown and position != number:
            yield Range(position, Outcome(default))
        if number is None or max(position, unknown) < number:
            yield Range(max(position, unknown), Outcome(newer))
        if number is not None:
            item = found[number]
            if item.always is None:
                yield Range(number, Outcome(default, tuple(item.choices)))
            else:
                yield Range(number, Outcome(item.always))
            position = number + 1


def _collect(profile: Seccomp, architecture: str, default: int) -> tuple[dict[int, _Found], int]:
    """What is ruled for each number, and the highest number that the profile names."""
    numbers = table(architecture)
    found: dict[int, _Found] = {}
    newest = -1
    for rule in profile.syscalls:
        value = action_value(rule.action, rule.errno_ret)
        conditions = tuple(_conditions(rule))
        for name in rule.names:
            number = numbers.get(name)
            if number is not None:
                newest = max(newest, number if number & _PRIVATE == 0 else -1)
                if value != default:
                    _add(found.setdefault(number, _Found()), conditions, value)
            if architecture == "x86" and value != default and not rule.args:
                _add_multiplexed(found, numbers["socketcall"], numbers["ipc"], name, value)
    return {
        number: item for number, item in found.items() if item.choices or item.always is not None
    }, newest


def _add(item: _Found, conditions: tuple[tuple[SeccompArg, ...], ...], value: int) -> None:
    """An unconditional rule stands over all others; the first of several counts."""
    if not conditions:
        item.always = value if item.always is None else item.always
    item.choices += [Choice(args, value) for args in conditions]


def _add_multiplexed(
    found: dict[int, _Found], socketcall: int, ipc: int, name: str, value: int
) -> None:
    if name in _SOCKETCALL:
        test = SeccompArg(index=0, value=_SOCKETCALL[name], op="SCMP_CMP_EQ")
        _add(found.setdefault(socketcall, _Found()), ((test,),), value)
    elif name in _IPC:
        test = SeccompArg(index=0, value=_IPC_MASK, value_two=_IPC[name], op="SCMP_CMP_MASKED_EQ")
        _add(found.setdefault(ipc, _Found()), ((test,),), value)


def _conditions(rule: SeccompRule) -> Iterator[tuple[SeccompArg, ...]]:
    """The alternatives of a rule: one, or one per condition where two look at one argument."""
    for arg in rule.args:
        _check(arg)
    if len({arg.index for arg in rule.args}) < len(rule.args):
        yield from ((arg,) for arg in rule.args)
    elif rule.args:
        yield rule.args


def _check(arg: SeccompArg) -> None:
    if arg.op not in OPERATORS:
        raise InvalidInput(f"unknown seccomp comparison {arg.op!r}")
    if not 0 <= arg.index < _ARGUMENTS:
        raise InvalidInput(f"system calls have arguments 0 to {_ARGUMENTS - 1}, not {arg.index}")
    if not (0 <= arg.value <= _MAX_VALUE and 0 <= arg.value_two <= _MAX_VALUE):
        raise InvalidInput("seccomp values have 64 bits and no sign")
