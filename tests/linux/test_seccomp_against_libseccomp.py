"""The default profile, compiled by us and by libseccomp: every call must have the same answer."""

from __future__ import annotations

import ctypes
import tempfile
from collections.abc import Callable

import pytest

from tests.linux.bpf_machine import AUDIT, ERRNO, run
from workbench.linux.capabilities import DEFAULT
from workbench.linux.seccomp import compile_filter
from workbench.linux.seccomp_actions import action_value
from workbench.linux.syscalls import X32_BIT, table
from workbench.oci.runtime_spec import Seccomp
from workbench.runtime.profile import default_seccomp

OPERATORS = {"NE": 1, "LT": 2, "LE": 3, "EQ": 4, "GE": 5, "GT": 6, "MASKED_EQ": 7}
TOKENS = {"X86_64": 0xC000003E, "X86": 0x40000003, "X32": 0x4000003E,
          "AARCH64": 0xC00000B7, "ARM": 0x40000028}  # fmt: skip
ENOSYS = ERRNO | 38
ARGUMENTS = ((0, 0), (38, 0), (40, 0), (8, 0), (0xFFFFFFFF, 0), (0x7E020000, 0x7E020000))


class _Comparison(ctypes.Structure):
    _fields_ = (
        ("index", ctypes.c_uint),
        ("operator", ctypes.c_int),
        ("value", ctypes.c_uint64),
        ("value_two", ctypes.c_uint64),
    )


@pytest.fixture(scope="module")
def library(require: Callable[[object, str], None]) -> ctypes.CDLL:
    try:
        found = ctypes.CDLL("libseccomp.so.2")
    except OSError:
        require(False, "needs libseccomp2")
        raise
    found.seccomp_init.restype = ctypes.c_void_p
    return found


def _export(library: ctypes.CDLL, profile: Seccomp) -> bytes:
    """The program that libseccomp makes of a profile."""
    default = action_value(profile.default_action, profile.default_errno_ret)
    context = ctypes.c_void_p(library.seccomp_init(ctypes.c_uint32(default)))
    tokens = [TOKENS[name.removeprefix("SCMP_ARCH_")] for name in profile.architectures]
    for token in tokens:
        library.seccomp_arch_add(context, ctypes.c_uint32(token))
    native = library.seccomp_arch_native() & 0xFFFFFFFF
    if native not in tokens:
        library.seccomp_arch_remove(context, ctypes.c_uint32(native))
    for rule in profile.syscalls:
        action = ctypes.c_uint32(action_value(rule.action, rule.errno_ret))
        tests = [
            _Comparison(a.index, OPERATORS[a.op.removeprefix("SCMP_CMP_")], a.value, a.value_two)
            for a in rule.args
        ]
        for name in rule.names:
            number = library.seccomp_syscall_resolve_name(name.encode())
            if number != -1:
                array = (_Comparison * 6)(*tests)
                library.seccomp_rule_add_array(context, action, number, len(tests), array)
    with tempfile.TemporaryFile() as stream:
        assert library.seccomp_export_bpf(context, stream.fileno()) == 0
        stream.seek(0)
        program = stream.read()
    library.seccomp_release(context)
    return program


@pytest.mark.parametrize("capabilities", [DEFAULT, ("CAP_SYS_ADMIN",)], ids=["default", "admin"])
@pytest.mark.parametrize(
    "machine,names", [("x86_64", ("x86_64", "x86", "x32")), ("aarch64", ("aarch64", "arm"))]
)
def test_both_answer_alike(
    library: ctypes.CDLL, machine: str, names: tuple[str, ...], capabilities: tuple[str, ...]
) -> None:
    profile = default_seccomp(capabilities, machine, (6, 1))
    ours, theirs = compile_filter(profile, machine), _export(library, profile)
    wrong = set()
    for architecture in names:
        audit = AUDIT["x86_64" if architecture == "x32" else architecture]
        base = X32_BIT if architecture == "x32" else 0
        known = {number: name for name, number in table(architecture).items()}
        for number in {*range(base, base + 450), *known}:
            name = known.get(number, "")
            if name and library.seccomp_syscall_resolve_name(name.encode()) == -1:
                continue  # newer than the library
            for arguments in ARGUMENTS:
                mine, other = (run(p, audit, number, *arguments) for p in (ours, theirs))
                if mine not in {other, ENOSYS}:
                    wrong.add((architecture, name or number, hex(mine), hex(other)))
    assert not wrong
