"""Device rules for cgroup v2: a program of extended BPF that the kernel asks at every open.

The same rules have the same outcome as in v1: for each of mknod, read and write the last rule
that matches decides, and what no rule names is allowed. The program goes through the rules from
the last to the first and crosses off what is decided. Source: ``linux/bpf.h``, bpf(2).
"""

from __future__ import annotations

import os
import struct
from array import array
from collections.abc import Iterable
from typing import Final

from workbench.errors import InvalidInput
from workbench.linux import libc
from workbench.linux.syscalls import architecture, table
from workbench.oci.runtime_spec import DeviceRule

_TYPES: Final = {"b": 1, "c": 2, "u": 2}
_ACCESS: Final = {"m": 1, "r": 2, "w": 4}
_EVERYTHING: Final = 7

# Registers: 0 the answer, 1 the context, 2 the type, 3 what is undecided, 4 major, 5 minor.
_LOAD: Final = 0x61
_SET: Final = 0xB7
_COPY: Final = 0xBF
_AND: Final = 0x57
_SHIFT_RIGHT: Final = 0x77
_JUMP_UNEQUAL: Final = 0x55
_JUMP_DISJOINT: Final = 0x15  # equal to 0, after _AND
_EXIT: Final = 0x95
_INSTRUCTION: Final = struct.Struct("=BBhi")

_LOAD_PROGRAM, _ATTACH, _DETACH, _BY_ID, _QUERY = 5, 8, 9, 13, 16
_PROGRAM_TYPE: Final = 15  # BPF_PROG_TYPE_CGROUP_DEVICE
_ATTACH_TYPE: Final = 6  # BPF_CGROUP_DEVICE
_ALLOW_MULTI: Final = 2
_MOST_ATTACHED: Final = 64
_LICENSE: Final = b"Apache-2.0\0"


def program(rules: Iterable[DeviceRule]) -> bytes:
    """The rules as an array of ``struct bpf_insn``. Raises InvalidInput for a broken rule."""
    code = [
        _pack(_LOAD, 2, 1, 0),
        _pack(_COPY, 3, 2),
        _pack(_AND, 2, immediate=0xFFFF),
        _pack(_SHIFT_RIGHT, 3, immediate=16),
        _pack(_LOAD, 4, 1, 4),
        _pack(_LOAD, 5, 1, 8),
    ]
    for rule in reversed(tuple(rules)):
        code += _rule(rule)
    return b"".join([*code, _pack(_SET, 0, immediate=1), _pack(_EXIT)])


def attach(directory: str, rules: Iterable[DeviceRule]) -> None:
    """Put the rules over a group in place of earlier ones. Needs CAP_BPF or CAP_SYS_ADMIN.

    Groups above keep theirs: all must allow. Raises OSError.
    """
    loaded = _load(program(rules))
    try:
        group = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            earlier = _attached(group)
            _bpf(_ATTACH, struct.pack("=4I", group, loaded, _ATTACH_TYPE, _ALLOW_MULTI))
            for number in earlier:
                _detach(group, number)
        finally:
            os.close(group)
    finally:
        os.close(loaded)


def _rule(rule: DeviceRule) -> list[bytes]:
    """Instructions for one rule; the tests jump behind its end when they fail."""
    mask = _mask(rule.access)
    if rule.allow:
        tail = [
            _pack(_AND, 3, immediate=~mask & _EVERYTHING),
            _pack(_JUMP_UNEQUAL, 3, offset=2),
            _pack(_SET, 0, immediate=1),
            _pack(_EXIT),
        ]
    else:
        tail = [
            _pack(_COPY, 1, 3),
            _pack(_AND, 1, immediate=mask),
            _pack(_JUMP_DISJOINT, 1, offset=2),
            _pack(_SET, 0, immediate=0),
            _pack(_EXIT),
        ]
    tests = _tests(rule)
    checks = [
        _pack(_JUMP_UNEQUAL, register, offset=len(tail) + len(tests) - 1 - place, immediate=value)
        for place, (register, value) in enumerate(tests)
    ]
    return checks + tail


def _tests(rule: DeviceRule) -> list[tuple[int, int]]:
    """The registers that must hold a value for the rule to match."""
    if rule.type in {"a", ""}:
        return []
    if rule.type not in _TYPES:
        raise InvalidInput(f"unknown device type {rule.type!r}", hint="types are a, b and c")
    tests = [(2, _TYPES[rule.type])]
    tests += [
        (register, value)
        for register, value in ((4, rule.major), (5, rule.minor))
        if value is not None and value >= 0
    ]
    return tests


def _mask(access: str) -> int:
    if not set(access) <= set(_ACCESS):
        raise InvalidInput(f"unknown device access {access!r}", hint="letters are r, w and m")
    return sum(_ACCESS[letter] for letter in set(access)) or _EVERYTHING


def _pack(code: int, to: int = 0, source: int = 0, offset: int = 0, immediate: int = 0) -> bytes:
    return _INSTRUCTION.pack(code, to | source << 4, offset, immediate)


def _bpf(command: int, attributes: bytes) -> int:
    return libc.call("syscall", table(architecture())["bpf"], command, attributes, len(attributes))


def _load(code: bytes) -> int:
    text, license_text = array("B", code), array("B", _LICENSE)
    attributes = struct.pack(
        "=IIQQIIQII16s",
        _PROGRAM_TYPE,
        len(code) // _INSTRUCTION.size,
        text.buffer_info()[0],
        license_text.buffer_info()[0],
        *(0, 0, 0, 0, 0),
        b"devices",
    )
    return _bpf(_LOAD_PROGRAM, attributes)


def _attached(group: int) -> tuple[int, ...]:
    """The ids of device programs on the group itself."""
    ids = array("I", bytes(4 * _MOST_ATTACHED))
    attributes = array("I", bytes(32))
    attributes[0], attributes[1] = group, _ATTACH_TYPE
    struct.pack_into("=Q", attributes, 16, ids.buffer_info()[0])
    attributes[6] = _MOST_ATTACHED
    number = table(architecture())["bpf"]
    libc.call("syscall", number, _QUERY, attributes.buffer_info()[0], 32)
    return tuple(ids[: attributes[6]])


def _detach(group: int, number: int) -> None:
    descriptor = _bpf(_BY_ID, struct.pack("=3I", number, 0, 0))
    try:
        _bpf(_DETACH, struct.pack("=4I", group, descriptor, _ATTACH_TYPE, 0))
    finally:
        os.close(descriptor)
