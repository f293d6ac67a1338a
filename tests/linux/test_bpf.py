"""The assembler: encodings, labels, and jumps that are too long for one byte."""

from __future__ import annotations

import pytest

from tests.linux import bpf_machine
from workbench.errors import InvalidInput
from workbench.linux import bpf
from workbench.linux.bpf import Instruction, Label


def test_an_instruction_is_eight_bytes() -> None:
    program = bpf.assemble([Instruction(bpf.RETURN, 0x7FFF0000)])
    assert bpf.decode(program) == ((bpf.RETURN, 0, 0, 0x7FFF0000),)
    assert len(program) == 8


def test_labels_become_distances() -> None:
    program = bpf.assemble(
        [
            Instruction(bpf.LOAD, 0),
            Instruction(bpf.EQUAL, 7, "yes", "no"),
            Label("no"),
            Instruction(bpf.RETURN, 1),
            Label("yes"),
            Instruction(bpf.RETURN, 2),
        ]
    )
    assert bpf.decode(program)[1] == (bpf.EQUAL, 1, 0, 7)
    assert bpf_machine.run(program, 0, 7) == 2
    assert bpf_machine.run(program, 0, 8) == 1


@pytest.mark.parametrize("distance", [0, 250, 254, 255, 256, 257, 600, 3000])
def test_jumps_of_any_length_arrive(distance: int) -> None:
    filling = [Instruction(bpf.LOAD, 0)] * distance
    program = bpf.assemble(
        [
            Instruction(bpf.LOAD, 0),
            Instruction(bpf.EQUAL, 1, "far", "next"),
            Label("next"),
            Instruction(bpf.EQUAL, 2, "end", "far"),
            *filling,
            Label("far"),
            Instruction(bpf.RETURN, 10),
            *filling[: distance // 4],
            Label("end"),
            Instruction(bpf.RETURN, 20),
        ]
    )
    assert [bpf_machine.run(program, 0, number) for number in (1, 2, 3)] == [10, 20, 10]


def test_a_program_beyond_the_kernels_limit_is_refused() -> None:
    with pytest.raises(InvalidInput, match="4096"):
        bpf.assemble([Instruction(bpf.LOAD, 0)] * 4097)
