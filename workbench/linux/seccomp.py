"""System-call filters: an OCI ``seccomp`` section becomes a program of seccomp(2).

A program looks at the architecture, then finds the call's number in a binary tree over ranges of
numbers with the same outcome, then compares arguments where a rule has some. Beyond the
specification it does what runc does: names that a machine lacks are left out, the native
architecture is always covered, several conditions on one argument are alternatives, an
unconditional rule beats conditional ones, and where calls are refused by default those newer than
the newest named one give ENOSYS, so that programs try an older call instead of giving up.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from functools import lru_cache
from struct import pack
from typing import Final

from workbench.errors import InvalidInput
from workbench.linux import libc
from workbench.linux.bpf import EQUAL, LOAD, assemble
from workbench.linux.bpf import RETURN as BPF_RETURN
from workbench.linux.seccomp_actions import KILL_THREAD, action_value
from workbench.linux.seccomp_rules import Outcome, Range, ranges
from workbench.linux.seccomp_tree import Code
from workbench.linux.syscalls import X32_BIT, architecture
from workbench.oci.runtime_spec import Seccomp

_ARCHITECTURES: Final = {
    "SCMP_ARCH_X86_64": "x86_64",
    "SCMP_ARCH_X86": "x86",
    "SCMP_ARCH_X32": "x32",
    "SCMP_ARCH_AARCH64": "aarch64",
    "SCMP_ARCH_ARM": "arm",
}
_FOREIGN: Final = (
    "MIPS MIPS64 MIPS64N32 MIPSEL MIPSEL64 MIPSEL64N32 PPC PPC64 PPC64LE S390 S390X PARISC "
    "PARISC64 RISCV64 LOONGARCH64 M68K SH SHEB NATIVE"
)
_AUDIT: Final = {  # linux/audit.h: what the kernel reports
    "x86_64": 0xC000003E,
    "x86": 0x40000003,
    "aarch64": 0xC00000B7,
    "arm": 0x40000028,
}
_FLAGS: Final = {
    "SECCOMP_FILTER_FLAG_TSYNC": 1,
    "SECCOMP_FILTER_FLAG_LOG": 2,
    "SECCOMP_FILTER_FLAG_SPEC_ALLOW": 4,
}
_SET_MODE_FILTER: Final = 1
_ARCH_OFFSET: Final = 4
_NUMBER_OFFSET: Final = 0
_SKIPPED: Final = 0xFFFFFFFF  # a tracer's way to skip a call: number -1


@lru_cache(maxsize=16)
def compile_filter(profile: Seccomp, machine: str | None = None) -> bytes:
    """The classic BPF program of ``profile`` for ``machine`` (``os.uname().machine`` if None).

    Plain bytes: an array of ``struct sock_filter`` that may be kept on disk and given to
    ``install``. Raises Unsupported for SCMP_ACT_NOTIFY and for machines without a table of
    system calls, InvalidInput for what makes no sense.
    """
    flag_bits(profile.flags)
    enabled = _enabled(profile, architecture(machine))
    code = Code()
    code.instruction(LOAD, _ARCH_OFFSET)
    for name in enabled:
        if name == "x32":  # rides in the section of x86_64
            continue
        section, following = code.label(), code.label()
        code.branch(EQUAL, _AUDIT[name], section, following)
        code.place(section)
        code.instruction(LOAD, _NUMBER_OFFSET)
        code.search(tuple(_section(profile, name, x32="x32" in enabled)), wide=_wide(name))
        code.place(following)
    code.instruction(BPF_RETURN, KILL_THREAD)
    return assemble(code.items)


def flag_bits(flags: Iterable[str]) -> int:
    """The flags of a profile as seccomp(2) takes them. Raises InvalidInput for unknown ones."""
    bits = 0
    for flag in flags:
        if flag not in _FLAGS:
            raise InvalidInput(
                f"unknown seccomp flag {flag!r}", hint=f"known are {', '.join(_FLAGS)}"
            )
        bits |= _FLAGS[flag]
    return bits


def install(program: bytes, flags: Iterable[str] = ()) -> None:
    """Put ``program`` over the calling thread (all threads with TSYNC), for good.

    Needs no_new_privs or CAP_SYS_ADMIN. ``flags`` are SECCOMP_FILTER_FLAG_* as in the profile.
    Raises OSError.
    """
    code = array("B", program)
    address, size = code.buffer_info()
    header = pack("@HP", size // 8, address)  # struct sock_fprog
    failed = libc.syscall("seccomp", _SET_MODE_FILTER, flag_bits(flags), header)
    if failed:
        raise OSError(f"seccomp: thread {failed} cannot take the filter")


def _enabled(profile: Seccomp, native: str) -> tuple[str, ...]:
    """The architectures to make sections for, the native one first.

    Those of other machines are passed over: their calls end in the refusal of all unknown ones.
    """
    enabled = [native]
    for name in profile.architectures:
        known = _ARCHITECTURES.get(name)
        if known is None and name.removeprefix("SCMP_ARCH_") not in _FOREIGN.split():
            raise InvalidInput(f"unknown seccomp architecture {name!r}")
        if known is not None and known not in enabled:
            enabled.append(known)
    if "x32" in enabled and "x86_64" not in enabled:
        enabled.remove("x32")
    return tuple(enabled)


def _section(profile: Seccomp, name: str, *, x32: bool) -> Iterator[Range]:
    """All numbers of one reported architecture in order, each range with its outcome."""
    default = Outcome(action_value(profile.default_action, profile.default_errno_ret))
    if name != "x86_64":
        yield from ranges(profile, name, 0)
        return
    for item in ranges(profile, name, 0):
        if item.start < X32_BIT:
            yield item
    if x32:
        yield from ranges(profile, "x32", X32_BIT)
    else:
        yield Range(X32_BIT, Outcome(KILL_THREAD))
        yield Range(_SKIPPED, default)


def _wide(name: str) -> bool:
    """Whether arguments have 64 bits."""
    return name in {"x86_64", "aarch64"}
