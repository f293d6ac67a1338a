"""A program of some hundred bytes that only executes another one.

Why: between fork and execve a container's init is our interpreter. A program in the image that is
"#!/proc/self/exe", or a link to it, would run that interpreter inside the container, get hold of
its file through /proc/PID/exe and, as root, write to it later (CVE-2019-5736). So init executes
this trampoline first, from a sealed memfd(2): from then on /proc/self/exe is a file that cannot be
written, and all descriptors of ours are closed when the real path is resolved (CVE-2024-21626).

What it does, in C::

    fcntl(CHANNEL, F_SETFD, FD_CLOEXEC) == 0 && execve(PATH, argv, envp);
    write(CHANNEL, &result, 8);        /* minus errno */
    exit_group(127);
"""

from __future__ import annotations

import fcntl
import os
import struct
from typing import Final

_ADDRESS: Final = 0x400000
_HEADERS: Final = 64 + 2 * 56
_MFD_ALLOW_SEALING: Final = 2
_MFD_EXEC: Final = 0x10
_SEALS: Final = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
_MACHINES: Final = {"x86_64": 62, "aarch64": 183}


def make(path: bytes, channel: int, machine: str | None = None) -> int | None:
    """A sealed, executable descriptor, or None where this machine or kernel cannot have one."""
    name = machine or os.uname().machine
    if name not in _MACHINES or channel > 0xFFFF:
        return None
    try:
        return _seal(image(path, channel, name))
    except OSError:
        return None


def image(path: bytes, channel: int, machine: str) -> bytes:
    """The ELF file: header, one read-only executable segment, the code, the path."""
    code = (_x86_64 if machine == "x86_64" else _aarch64)(channel) + path + b"\0"
    size = _HEADERS + len(code)
    ident = b"\x7fELF\x02\x01\x01" + bytes(9)
    header = ident + struct.pack(
        "<HHIQQQIHHHHHH",
        2, _MACHINES[machine], 1, _ADDRESS + _HEADERS, 64, 0, 0, 64, 56, 2, 0, 0, 0,
    )  # fmt: skip
    load = struct.pack("<IIQQQQQQ", 1, 5, 0, _ADDRESS, _ADDRESS, size, size, 0x10000)
    stack = struct.pack("<IIQQQQQQ", 0x6474E551, 6, 0, 0, 0, 0, 0, 16)
    return header + load + stack + code


def _x86_64(channel: int) -> bytes:
    fd = struct.pack("<I", channel)
    run = (
        b"\x48\x8d\x74\x24\x08"  # lea rsi, [rsp+8]          argv
        b"\x48\x8b\x0c\x24"  # mov rcx, [rsp]            argc
        b"\x48\x8d\x54\xce\x08"  # lea rdx, [rsi+rcx*8+8]    envp
        b"\xb8\x3b\x00\x00\x00"  # mov eax, 59               execve
        b"\x0f\x05"  # syscall
    )
    tell = (
        b"\x50"  # push rax
        b"\xbf" + fd + b"\x48\x89\xe6"  # mov edi, fd; mov rsi, rsp
        b"\xba\x08\x00\x00\x00"  # mov edx, 8
        b"\xb8\x01\x00\x00\x00"  # mov eax, 1                write
        b"\x0f\x05"
        b"\xbf\x7f\x00\x00\x00"  # mov edi, 127
        b"\xb8\xe7\x00\x00\x00"  # mov eax, 231              exit_group
        b"\x0f\x05"
    )
    load = b"\x48\x8d\x3d" + struct.pack("<i", len(run) + len(tell))  # lea rdi, [rip+path]
    body = load + run
    close = (
        b"\xbf" + fd + b"\xbe\x02\x00\x00\x00"  # mov edi, fd; mov esi, F_SETFD
        b"\xba\x01\x00\x00\x00"  # mov edx, FD_CLOEXEC
        b"\xb8\x48\x00\x00\x00"  # mov eax, 72               fcntl
        b"\x0f\x05\x48\x85\xc0\x75" + bytes([len(body)])  # syscall; test rax, rax; jnz tell
    )
    return close + body + tell


def _aarch64(channel: int) -> bytes:
    svc = 0xD4000001
    words = [
        _movz(0, channel), _movz(1, 2), _movz(2, 1), _movz(8, 25), svc,  # fcntl
        0xB5000000 | 8 << 5,  # cbnz x0, tell
        0x10000000 | 16 << 5,  # adr x0, path
        0x910023E1,  # add x1, sp, #8           argv
        0xF94003E2,  # ldr x2, [sp]             argc
        0x8B020C22,  # add x2, x1, x2, lsl #3
        0x91002042,  # add x2, x2, #8           envp
        _movz(8, 221), svc,  # execve
        0xF81F0FE0,  # tell: str x0, [sp, #-16]!
        _movz(0, channel),
        0x910003E1,  # mov x1, sp
        _movz(2, 8), _movz(8, 64), svc,  # write
        _movz(0, 127), _movz(8, 94), svc,  # exit_group
    ]  # fmt: skip
    return struct.pack(f"<{len(words)}I", *words)


def _movz(register: int, value: int) -> int:
    return 0xD2800000 | value << 5 | register


def _seal(data: bytes) -> int:
    descriptor = _memfd()
    try:
        os.write(descriptor, data)
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, _SEALS)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _memfd() -> int:
    flags = os.MFD_CLOEXEC | _MFD_ALLOW_SEALING
    try:
        return os.memfd_create("init", flags | _MFD_EXEC)
    except OSError:
        return os.memfd_create("init", flags)
