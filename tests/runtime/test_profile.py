"""The default profile: what a container may call, by capability, machine and kernel."""

from __future__ import annotations

import errno

import pytest

from tests.linux.bpf_machine import ALLOW, AUDIT, ERRNO, run
from workbench.linux.capabilities import ALL, DEFAULT
from workbench.linux.seccomp import compile_filter
from workbench.linux.syscalls import table
from workbench.oci.runtime_spec import Seccomp
from workbench.runtime import profile
from workbench.runtime.profile_rules import RULES

KERNEL = (6, 1)
EPERM = ERRNO | errno.EPERM


def _answer(
    name: str,
    *args: int,
    capabilities: tuple[str, ...] = DEFAULT,
    machine: str = "x86_64",
    kernel: tuple[int, int] = KERNEL,
) -> int:
    program = compile_filter(profile.default_seccomp(capabilities, machine, kernel), machine)
    return run(program, AUDIT[machine], table(machine)[name], *args)


@pytest.mark.parametrize("name", ["read", "openat2", "clone", "futex_wake", "statmount", "ptrace"])
def test_ordinary_calls_are_allowed(name: str) -> None:
    assert _answer(name) == ALLOW


@pytest.mark.parametrize(
    "name",
    ["mount", "setns", "unshare", "bpf", "kexec_load", "add_key", "keyctl", "userfaultfd",
     "io_uring_setup", "swapon", "init_module", "settimeofday", "reboot", "open_by_handle_at",
     "perf_event_open", "acct", "iopl", "mbind", "syslog", "nfsservctl"],
)  # fmt: skip
def test_calls_that_reach_the_host_are_not(name: str) -> None:
    assert _answer(name) == EPERM


@pytest.mark.parametrize(
    "capability,name",
    [
        ("CAP_SYS_ADMIN", "mount"),
        ("CAP_SYS_ADMIN", "setns"),
        ("CAP_SYS_ADMIN", "clone3"),
        ("CAP_SYS_BOOT", "reboot"),
        ("CAP_SYS_MODULE", "finit_module"),
        ("CAP_SYS_PACCT", "acct"),
        ("CAP_SYS_PTRACE", "process_madvise"),
        ("CAP_SYS_RAWIO", "iopl"),
        ("CAP_SYS_TIME", "clock_settime"),
        ("CAP_SYS_TTY_CONFIG", "vhangup"),
        ("CAP_SYS_NICE", "mbind"),
        ("CAP_SYSLOG", "syslog"),
        ("CAP_BPF", "bpf"),
        ("CAP_PERFMON", "perf_event_open"),
        ("CAP_DAC_READ_SEARCH", "open_by_handle_at"),
    ],
)
def test_a_capability_brings_its_calls(capability: str, name: str) -> None:
    assert _answer(name) != ALLOW
    assert _answer(name, capabilities=(*DEFAULT, capability)) == ALLOW


def test_chroot_needs_a_capability_that_containers_have() -> None:
    assert _answer("chroot") == ALLOW
    assert _answer("chroot", capabilities=()) == EPERM


def test_clone_makes_no_namespaces_without_sys_admin() -> None:
    assert _answer("clone", 0x00010F00) == ALLOW
    for flag in (
        0x10000000,
        0x20000000,
        0x40000000,
        0x00020000,
        0x02000000,
        0x04000000,
        0x08000000,
    ):
        assert _answer("clone", flag) == EPERM
        assert _answer("clone", flag, capabilities=ALL) == ALLOW
    assert _answer("clone3") == ERRNO | errno.ENOSYS


@pytest.mark.parametrize("family", range(1, 45))
def test_sockets_of_two_families_are_refused(family: int) -> None:
    refused = family in {38, 40}  # AF_ALG, AF_VSOCK
    assert _answer("socket", family) == (EPERM if refused else ALLOW)


@pytest.mark.parametrize("value", [0, 1, 8, 0x20000, 0x20008, 0x40000, 0xFFFFFFFF])
def test_only_harmless_personalities(value: int) -> None:
    harmless = value in {0, 8, 0x20000, 0x20008, 0xFFFFFFFF}
    assert _answer("personality", value) == (ALLOW if harmless else EPERM)


def test_tracing_needs_a_kernel_that_looks_twice() -> None:
    assert _answer("ptrace", kernel=(4, 8)) == ALLOW
    assert _answer("ptrace", kernel=(4, 7)) == EPERM
    assert _answer("ptrace", kernel=(4, 7), capabilities=(*DEFAULT, "CAP_SYS_PTRACE")) == ALLOW


def test_machines_have_calls_of_their_own() -> None:
    assert _answer("arch_prctl") == ALLOW
    arm = profile.default_seccomp(DEFAULT, "aarch64", KERNEL)
    program = compile_filter(arm, "aarch64")
    assert run(program, AUDIT["arm"], table("arm")["set_tls"]) == ALLOW
    assert arm.architectures == ("SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM")
    intel = profile.default_seccomp(DEFAULT, "amd64", KERNEL)
    assert intel == profile.default_seccomp(DEFAULT, "x86_64", KERNEL)
    assert set(intel.architectures) == {"SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"}


def test_names_are_spelled_as_some_machine_spells_them() -> None:
    foreign = {"riscv_flush_icache", "riscv_hwprobe", "swapcontext", "s390_pci_mmio_read",
               "s390_pci_mmio_write", "s390_runtime_instr", "arm_sync_file_range"}  # fmt: skip
    known = set().union(*(table(name) for name in ("x86_64", "x86", "aarch64", "arm")))
    aliases = {"fadvise64_64", "fstatat64", "utimensat_time64"}
    named = {name for rule in RULES for name in rule.names.split()}
    assert named - known - foreign - aliases == set()


def test_the_profile_survives_the_codec() -> None:
    from workbench.oci.codec import dumps, loads

    made = profile.default_seccomp(DEFAULT, "x86_64", KERNEL)
    assert loads(Seccomp, dumps(made), what="profile") == made


def test_devices_and_paths() -> None:
    assert {device.path for device in profile.DEVICES} >= {"/dev/null", "/dev/urandom", "/dev/tty"}
    first = profile.DEVICE_RULES[0]
    assert (first.allow, first.type, first.access) == (False, "a", "rwm")
    assert "/proc/kcore" in profile.MASKED_PATHS
    assert "/proc/sys" in profile.READONLY_PATHS
