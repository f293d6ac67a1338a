"""An assembler for classic BPF, as seccomp(2) runs it: decision trees in, bytes out.

Only jumps forward exist, and conditional ones reach 255 instructions. Code is therefore written
with labels, and ``assemble`` puts an unconditional jump (32-bit reach) where one is too short.
Source: ``linux/bpf_common.h``, ``linux/filter.h``.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from workbench.errors import InvalidInput

LOAD: Final = 0x20  # BPF_LD | BPF_W | BPF_ABS: accumulator = the 32-bit word at offset k
AND: Final = 0x54  # BPF_ALU | BPF_AND | BPF_K
RETURN: Final = 0x06  # BPF_RET | BPF_K
JUMP: Final = 0x05  # BPF_JMP | BPF_JA
EQUAL: Final = 0x15  # BPF_JMP | BPF_JEQ | BPF_K
GREATER: Final = 0x25  # BPF_JMP | BPF_JGT | BPF_K, unsigned
GREATER_EQUAL: Final = 0x35  # BPF_JMP | BPF_JGE | BPF_K, unsigned

MAX_INSTRUCTIONS: Final = 4096  # BPF_MAXINSNS
_REACH: Final = 255
_INSTRUCTION: Final = struct.Struct("=HBBI")


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction; ``then`` and ``other`` are labels, of conditional jumps only."""

    code: int
    k: int
    then: str = ""
    other: str = ""


@dataclass(frozen=True, slots=True)
class Label:
    """A place to jump to: that of the instruction that follows."""

    name: str


Item = Instruction | Label


def assemble(items: Iterable[Item]) -> bytes:
    """The program as an array of ``struct sock_filter`` in the byte order of this host.

    Every jump must go forward. Raises InvalidInput when it is longer than the kernel allows.
    """
    code = list(items)
    while True:
        places = _places(code)
        longer = _lengthened(code, places)
        if len(longer) == len(code):
            break
        code = longer
    program = b"".join(_encode(code, places))
    if len(program) > MAX_INSTRUCTIONS * _INSTRUCTION.size:
        raise InvalidInput(
            f"the seccomp profile needs {len(program) // _INSTRUCTION.size} instructions; "
            f"the kernel takes {MAX_INSTRUCTIONS}"
        )
    return program


def decode(program: bytes) -> tuple[tuple[int, int, int, int], ...]:
    """The instructions of a program as (code, jump if true, jump if false, k)."""
    return tuple(_INSTRUCTION.iter_unpack(program))


def _places(code: list[Item]) -> dict[str, int]:
    """Where each label is, counted in instructions from the start."""
    places: dict[str, int] = {}
    position = 0
    for item in code:
        if isinstance(item, Label):
            places[item.name] = position
        else:
            position += 1
    return places


def _lengthened(code: list[Item], places: dict[str, int]) -> list[Item]:
    """``code`` with a long jump behind each conditional one that does not reach."""
    result: list[Item] = []
    position = 0
    for item in code:
        result.append(item)
        if isinstance(item, Label):
            continue
        position += 1
        if item.code == JUMP or not item.then:
            continue
        far = {n for n in (item.then, item.other) if places[n] - position > _REACH}
        if far:
            near = {name: f"{name}/{position}/{len(code)}" for name in far}
            result[-1] = Instruction(
                item.code, item.k, near.get(item.then, item.then), near.get(item.other, item.other)
            )
            for name in sorted(far):
                result += [Label(near[name]), Instruction(JUMP, 0, name)]
    return result


def _encode(code: list[Item], places: dict[str, int]) -> Iterable[bytes]:
    position = 0
    for item in code:
        if isinstance(item, Label):
            continue
        position += 1
        if item.code == JUMP:
            yield _INSTRUCTION.pack(JUMP, 0, 0, places[item.then] - position)
        elif item.then:
            then, other = places[item.then] - position, places[item.other] - position
            yield _INSTRUCTION.pack(item.code, then, other, item.k)
        else:
            yield _INSTRUCTION.pack(item.code, 0, 0, item.k)
