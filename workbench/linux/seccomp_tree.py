"""Ranges and comparisons written out as BPF."""

from __future__ import annotations

import sys
from typing import Final

from workbench.linux.bpf import (
    AND,
    EQUAL,
    GREATER,
    GREATER_EQUAL,
    LOAD,
    RETURN,
    Instruction,
    Item,
    Label,
)
from workbench.linux.seccomp_rules import Outcome, Range
from workbench.oci.runtime_spec import SeccompArg

_LOW: Final = 0xFFFFFFFF
_ARGUMENTS: Final = 16  # offset in struct seccomp_data
_LOW_FIRST: Final = sys.byteorder == "little"


class Code:
    """Instructions under construction. ``wide``: whether arguments have 64 bits or 32."""

    def __init__(self) -> None:
        self.items: list[Item] = []
        self._labels = 0

    def label(self) -> str:
        """A new name; ``place`` says where it is."""
        self._labels += 1
        return str(self._labels)

    def place(self, label: str) -> None:
        self.items.append(Label(label))

    def instruction(self, code: int, k: int) -> None:
        self.items.append(Instruction(code, k))

    def branch(self, code: int, k: int, then: str, other: str) -> None:
        self.items.append(Instruction(code, k, then, other))

    def search(self, ranges: tuple[Range, ...], *, wide: bool) -> None:
        """Find the range of the number in the accumulator, and answer with its outcome."""
        if len(ranges) == 1:
            self._outcome(ranges[0].outcome, wide=wide)
            return
        middle = len(ranges) // 2
        lower, upper = self.label(), self.label()
        self.branch(GREATER_EQUAL, ranges[middle].start, upper, lower)
        self.place(lower)
        self.search(ranges[:middle], wide=wide)
        self.place(upper)
        self.search(ranges[middle:], wide=wide)

    def _outcome(self, outcome: Outcome, *, wide: bool) -> None:
        for choice in outcome.choices:
            miss = self.label()
            for arg in choice.args:
                hit = self.label()
                self._compare(arg, hit, miss, wide=wide)
                self.place(hit)
            self.instruction(RETURN, choice.value)
            self.place(miss)
        self.instruction(RETURN, outcome.value)

    def _compare(self, arg: SeccompArg, hit: str, miss: str, *, wide: bool) -> None:
        match arg.op:
            case "SCMP_CMP_EQ":
                self._equal(arg, arg.value, hit, miss, wide=wide)
            case "SCMP_CMP_NE":
                self._equal(arg, arg.value, miss, hit, wide=wide)
            case "SCMP_CMP_MASKED_EQ":
                self._equal(arg, arg.value_two, hit, miss, wide=wide, mask=arg.value)
            case "SCMP_CMP_GT":
                self._order(arg, GREATER, hit, miss, wide=wide)
            case "SCMP_CMP_GE":
                self._order(arg, GREATER_EQUAL, hit, miss, wide=wide)
            case "SCMP_CMP_LE":
                self._order(arg, GREATER, miss, hit, wide=wide)
            case "SCMP_CMP_LT":
                self._order(arg, GREATER_EQUAL, miss, hit, wide=wide)

    def _equal(
        self,
        arg: SeccompArg,
        value: int,
        hit: str,
        miss: str,
        *,
        wide: bool,
        mask: int | None = None,
    ) -> None:
        if wide and (mask is None or mask >> 32 or value >> 32):
            low = self.label()
            self._load(arg.index, high=True)
            if mask is not None:
                self.instruction(AND, mask >> 32)
            self.branch(EQUAL, value >> 32, low, miss)
            self.place(low)
        self._load(arg.index, high=False)
        if mask is not None:
            self.instruction(AND, mask & _LOW)
        self.branch(EQUAL, value & _LOW, hit, miss)

    def _order(self, arg: SeccompArg, code: int, hit: str, miss: str, *, wide: bool) -> None:
        """Compare the upper words; where they are equal the lower ones decide."""
        if wide:
            same, low = self.label(), self.label()
            self._load(arg.index, high=True)
            self.branch(GREATER, arg.value >> 32, hit, same)
            self.place(same)
            self.branch(EQUAL, arg.value >> 32, low, miss)
            self.place(low)
        self._load(arg.index, high=False)
        self.branch(code, arg.value & _LOW, hit, miss)

    def _load(self, index: int, *, high: bool) -> None:
        offset = _ARGUMENTS + 8 * index
        self.instruction(LOAD, offset + (4 if high == _LOW_FIRST else 0))
