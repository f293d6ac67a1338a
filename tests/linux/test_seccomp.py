"""Filters: what they answer to single calls, by simulation and in the kernel."""

from __future__ import annotations

import errno
import os
import time

import pytest

from tests.linux.bpf_machine import (
    ALLOW,
    AUDIT,
    ERRNO,
    KILL_PROCESS,
    KILL_THREAD,
    LOG,
    TRACE,
    TRAP,
    run,
)
from workbench.errors import InvalidInput, Unsupported
from workbench.linux import bpf, libc, seccomp
from workbench.linux.seccomp_rules import OPERATORS
from workbench.linux.syscalls import X32_BIT, architecture, table
from workbench.oci.runtime_spec import Seccomp, SeccompArg, SeccompRule

X86_64 = table("x86_64")
EPERM, ENOSYS = ERRNO | errno.EPERM, ERRNO | errno.ENOSYS


def _profile(*rules: SeccompRule, default: str = "SCMP_ACT_ERRNO", **more: object) -> Seccomp:
    return Seccomp(default_action=default, syscalls=rules, **more)  # type: ignore[arg-type]


def _allow(*names: str, args: tuple[SeccompArg, ...] = ()) -> SeccompRule:
    return SeccompRule(names=names, action="SCMP_ACT_ALLOW", args=args)


def _answer(profile: Seccomp, name: str, *args: int, machine: str = "x86_64") -> int:
    program = seccomp.compile_filter(profile, machine)
    return run(program, AUDIT[architecture(machine)], table(architecture(machine))[name], *args)


def test_named_calls_are_allowed_and_others_are_not() -> None:
    profile = _profile(_allow("read", "write", "statx"))
    assert _answer(profile, "read") == _answer(profile, "statx") == ALLOW
    assert _answer(profile, "open") == EPERM


def test_calls_newer_than_the_profile_do_not_exist() -> None:
    profile = _profile(_allow("read", "clone3"))
    assert _answer(profile, "mount") == EPERM
    assert _answer(profile, "cachestat") == ENOSYS


def test_calls_newer_than_a_permissive_profile_happen() -> None:
    rule = SeccompRule(names=("reboot",), action="SCMP_ACT_KILL_PROCESS")
    profile = _profile(rule, default="SCMP_ACT_ALLOW")
    assert _answer(profile, "reboot") == KILL_PROCESS
    assert _answer(profile, "cachestat") == ALLOW


@pytest.mark.parametrize(
    "action,number,expected",
    [
        ("SCMP_ACT_KILL", None, KILL_THREAD),
        ("SCMP_ACT_KILL_THREAD", None, KILL_THREAD),
        ("SCMP_ACT_KILL_PROCESS", None, KILL_PROCESS),
        ("SCMP_ACT_TRAP", None, TRAP),
        ("SCMP_ACT_ERRNO", None, EPERM),
        ("SCMP_ACT_ERRNO", 38, ERRNO | 38),
        ("SCMP_ACT_ERRNO", 0, ERRNO),
        ("SCMP_ACT_TRACE", 7, TRACE | 7),
        ("SCMP_ACT_LOG", None, LOG),
    ],
)
def test_every_action_has_its_value(action: str, number: int | None, expected: int) -> None:
    rule = SeccompRule(names=("mkdir",), action=action, errno_ret=number)
    assert _answer(_profile(rule, default="SCMP_ACT_ALLOW"), "mkdir") == expected


def test_the_default_has_an_errno_of_its_own() -> None:
    profile = _profile(_allow("read", "statx"), default_errno_ret=errno.EACCES)
    assert _answer(profile, "open") == ERRNO | errno.EACCES


BIG = 0x1_0000_0005


@pytest.mark.parametrize("value", [0, 5, 0xFFFFFFFF, BIG, 2**63 + 9])
@pytest.mark.parametrize("operator", sorted(OPERATORS - {"SCMP_CMP_MASKED_EQ"}))
def test_comparisons_are_of_64_bits_without_sign(operator: str, value: int) -> None:
    profile = _profile(_allow("ioctl", args=(SeccompArg(index=1, value=value, op=operator),)))
    near = {value, value - 1, value + 1, value ^ 2**32, value & 0xFFFFFFFF, 0, 2**64 - 1}
    for given in (number for number in near if 0 <= number < 2**64):
        expected = {
            "SCMP_CMP_EQ": given == value,
            "SCMP_CMP_NE": given != value,
            "SCMP_CMP_LT": given < value,
            "SCMP_CMP_LE": given <= value,
            "SCMP_CMP_GT": given > value,
            "SCMP_CMP_GE": given >= value,
        }[operator]
        assert (_answer(profile, "ioctl", 3, given) == ALLOW) == expected, hex(given)


@pytest.mark.parametrize(
    "mask,wanted", [(0x7E020000, 0), (0xF0, 0x30), (0xF << 36, 0x3 << 36), (2**64 - 1, BIG)]
)
def test_masked_equality_looks_at_the_masked_bits_alone(mask: int, wanted: int) -> None:
    test = SeccompArg(index=5, value=mask, value_two=wanted, op="SCMP_CMP_MASKED_EQ")
    profile = _profile(_allow("clone", args=(test,)))
    outside = ~mask & (2**64 - 1)
    for given in (wanted, wanted | outside, wanted ^ (mask & -mask), 2**64 - 1):
        expected = given & mask == wanted
        assert (_answer(profile, "clone", 0, 0, 0, 0, 0, given) == ALLOW) == expected


def test_conditions_on_different_arguments_must_all_hold() -> None:
    tests = (
        SeccompArg(index=0, value=2, op="SCMP_CMP_EQ"),
        SeccompArg(index=1, value=9, op="SCMP_CMP_GT"),
    )
    profile = _profile(_allow("socket", args=tests))
    assert _answer(profile, "socket", 2, 10) == ALLOW
    assert _answer(profile, "socket", 2, 9) == _answer(profile, "socket", 3, 10) == EPERM


def test_conditions_on_one_argument_are_alternatives() -> None:
    tests = tuple(SeccompArg(index=0, value=value, op="SCMP_CMP_EQ") for value in (1, 2))
    profile = _profile(_allow("socket", args=tests))
    assert _answer(profile, "socket", 1) == _answer(profile, "socket", 2) == ALLOW
    assert _answer(profile, "socket", 3) == EPERM


def test_an_unconditional_rule_stands_over_conditional_ones() -> None:
    test = SeccompArg(index=0, value=1, op="SCMP_CMP_EQ")
    refusal = SeccompRule(names=("socket",), action="SCMP_ACT_KILL_PROCESS", args=(test,))
    assert _answer(_profile(refusal, _allow("socket")), "socket", 1) == ALLOW


def test_names_that_no_machine_has_are_passed_over() -> None:
    profile = _profile(_allow("read", "walk_the_dog", "riscv_flush_icache", "statx"))
    assert _answer(profile, "read") == ALLOW


SUBARCHITECTURES = ("SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32")


def test_other_architectures_of_a_machine_have_their_own_numbers() -> None:
    profile = _profile(_allow("mkdir", "statx"), architectures=SUBARCHITECTURES)
    program = seccomp.compile_filter(profile, "x86_64")
    assert table("x86")["mkdir"] != X86_64["mkdir"]
    assert run(program, AUDIT["x86"], table("x86")["mkdir"]) == ALLOW
    assert run(program, AUDIT["x86"], X86_64["mkdir"]) == EPERM
    assert run(program, AUDIT["x86_64"], X86_64["mkdir"]) == ALLOW
    assert run(program, AUDIT["x86_64"], X32_BIT | X86_64["mkdir"]) == ALLOW
    assert run(program, AUDIT["x86_64"], X32_BIT | X86_64["rmdir"]) == EPERM


def test_calls_of_architectures_that_were_not_named_kill() -> None:
    program = seccomp.compile_filter(_profile(_allow("mkdir"), default="SCMP_ACT_ALLOW"), "x86_64")
    assert run(program, AUDIT["x86"], 1) == KILL_THREAD
    assert run(program, AUDIT["aarch64"], 1) == KILL_THREAD
    assert run(program, AUDIT["x86_64"], X32_BIT | 1) == KILL_THREAD
    assert run(program, AUDIT["x86_64"], 0xFFFFFFFF) == ALLOW  # skipped by a tracer


def test_arm_rides_with_aarch64() -> None:
    profile = _profile(_allow("mkdir", "mkdirat"), architectures=("SCMP_ARCH_ARM",))
    program = seccomp.compile_filter(profile, "aarch64")
    assert run(program, AUDIT["aarch64"], table("aarch64")["mkdirat"]) == ALLOW
    assert run(program, AUDIT["arm"], table("arm")["mkdir"]) == ALLOW
    assert "mkdir" not in table("aarch64")


def test_values_are_cut_to_the_registers_of_32_bit_machines() -> None:
    minus_one = SeccompArg(index=0, value=2**64 - 1, op="SCMP_CMP_EQ")
    profile = _profile(_allow("close", args=(minus_one,)), architectures=("SCMP_ARCH_X86",))
    program = seccomp.compile_filter(profile, "x86_64")
    assert run(program, AUDIT["x86"], table("x86")["close"], 0xFFFFFFFF) == ALLOW
    assert run(program, AUDIT["x86_64"], X86_64["close"], 0xFFFFFFFF) == EPERM


def test_a_refused_call_cannot_be_made_through_socketcall_or_ipc() -> None:
    rule = SeccompRule(names=("connect", "shmat"), action="SCMP_ACT_ERRNO")
    profile = _profile(rule, default="SCMP_ACT_ALLOW", architectures=("SCMP_ARCH_X86",))
    program = seccomp.compile_filter(profile, "x86_64")
    x86 = table("x86")
    assert run(program, AUDIT["x86"], x86["socketcall"], 3) == EPERM
    assert run(program, AUDIT["x86"], x86["socketcall"], 2) == ALLOW
    assert run(program, AUDIT["x86"], x86["ipc"], 0x10000 | 21) == EPERM
    assert run(program, AUDIT["x86"], x86["ipc"], 22) == ALLOW


def test_every_second_call_makes_a_program_that_still_fits() -> None:
    names = sorted(X86_64, key=lambda name: X86_64[name])[::2]
    profile = _profile(_allow(*names), architectures=SUBARCHITECTURES)
    program = seccomp.compile_filter(profile, "x86_64")
    assert len(bpf.decode(program)) < bpf.MAX_INSTRUCTIONS
    for name, number in X86_64.items():
        assert (run(program, AUDIT["x86_64"], number) == ALLOW) == (name in names), name


@pytest.mark.parametrize(
    "profile,error",
    [
        (_profile(default="SCMP_ACT_NOTIFY"), Unsupported),
        (_profile(SeccompRule(names=("read",), action="SCMP_ACT_NOTIFY")), Unsupported),
        (_profile(default="SCMP_ACT_DANCE"), InvalidInput),
        (_profile(SeccompRule(names=("a",), action="SCMP_ACT_ALLOW", errno_ret=1)), InvalidInput),
        (
            _profile(SeccompRule(names=("a",), action="SCMP_ACT_ERRNO", errno_ret=2**16)),
            InvalidInput,
        ),
        (
            _profile(_allow("a", args=(SeccompArg(index=6, value=0, op="SCMP_CMP_EQ"),))),
            InvalidInput,
        ),
        (_profile(_allow("a", args=(SeccompArg(index=0, value=0, op="EQ"),))), InvalidInput),
        (
            _profile(_allow("a", args=(SeccompArg(index=0, value=-1, op="SCMP_CMP_EQ"),))),
            InvalidInput,
        ),
        (_profile(architectures=("SCMP_ARCH_PDP11",)), InvalidInput),
        (_profile(flags=("SECCOMP_FILTER_FLAG_FAST",)), InvalidInput),
    ],
)
def test_what_makes_no_sense_is_refused(profile: Seccomp, error: type[Exception]) -> None:
    with pytest.raises(error):
        seccomp.compile_filter(profile, "x86_64")


def test_an_unknown_machine_is_named() -> None:
    with pytest.raises(Unsupported, match="s390x"):
        seccomp.compile_filter(_profile(), "s390x")


def test_flags_are_those_of_the_system_call() -> None:
    assert seccomp.flag_bits(["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_TSYNC"]) == 3


def _in_child(profile: Seccomp) -> int:
    """The errno that mkdir(2) gives in a child under ``profile``, or minus its signal."""
    program = seccomp.compile_filter(profile)
    child = os.fork()
    if child == 0:
        code = 255
        try:
            libc.call("prctl", 38, 1, 0, 0, 0)  # PR_SET_NO_NEW_PRIVS
            seccomp.install(program)
            os.mkdir("/proc/not-here", 0o755)  # noqa: PTH102 - the call itself is the point
            code = 0
        except OSError as error:
            code = error.errno or 254
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_the_kernel_takes_the_program_and_obeys() -> None:
    names = ("mkdir", "mkdirat")
    refuse = SeccompRule(names=names, action="SCMP_ACT_ERRNO", errno_ret=errno.EXDEV)
    kill = SeccompRule(names=names, action="SCMP_ACT_KILL_PROCESS")
    assert _in_child(_profile(default="SCMP_ACT_ALLOW")) == errno.ENOENT
    assert _in_child(_profile(refuse, default="SCMP_ACT_ALLOW")) == errno.EXDEV
    assert _in_child(_profile(kill, default="SCMP_ACT_ALLOW")) == -31  # SIGSYS


def test_a_compiled_filter_is_kept() -> None:
    profile = _profile(*(_allow(name) for name in X86_64))
    first = time.perf_counter()
    program = seccomp.compile_filter(profile, "x86_64")
    second = time.perf_counter()
    assert seccomp.compile_filter(profile, "x86_64") is program
    assert time.perf_counter() - second < (second - first)
