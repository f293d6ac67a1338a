"""A machine for classic BPF: runs a filter on one system call, as the kernel would."""

from __future__ import annotations

import struct

from workbench.linux import bpf

AUDIT = {"x86_64": 0xC000003E, "x86": 0x40000003, "aarch64": 0xC00000B7, "arm": 0x40000028}
KILL_THREAD, KILL_PROCESS, TRAP, ERRNO = 0, 0x80000000, 0x30000, 0x50000
TRACE, LOG, ALLOW = 0x7FF00000, 0x7FFC0000, 0x7FFF0000


def run(program: bytes, architecture: int, number: int, *args: int) -> int:
    """The return value of ``program`` for the call; fails where it would leave the program."""
    padded = [*args, *([0] * (6 - len(args)))]
    data = struct.pack("=IIQ6Q", number, architecture, 0, *padded)
    code = bpf.decode(program)
    accumulator, position = 0, 0
    while True:
        operation, then, other, k = code[position]
        position += 1
        if operation == bpf.RETURN:
            return k
        if operation == bpf.LOAD:
            (accumulator,) = struct.unpack_from("=I", data, k)
        elif operation == bpf.AND:
            accumulator &= k
        elif operation == bpf.JUMP:
            position += k
        else:
            holds = {
                bpf.EQUAL: accumulator == k,
                bpf.GREATER: accumulator > k,
                bpf.GREATER_EQUAL: accumulator >= k,
            }[operation]
            position += then if holds else other
