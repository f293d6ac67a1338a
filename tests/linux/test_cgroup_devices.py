"""The device program of cgroup v2: by simulation, and in the kernel."""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path

import pytest

from workbench.errors import InvalidInput
from workbench.linux import cgroup_devices, cgroup_mounts
from workbench.oci.runtime_spec import DeviceRule
from workbench.runtime.profile import DEVICE_RULES

BLOCK, CHARACTER = 1, 2
MAKE, READ, WRITE = 1, 2, 4


def _run(program: bytes, kind: int, access: int, major: int, minor: int) -> bool:
    """A machine for the few instructions that device programs use."""
    registers = [0] * 6
    context = {0: kind | access << 16, 4: major, 8: minor}
    code = list(struct.iter_unpack("=BBhi", program))
    position = 0
    while True:
        operation, both, offset, value = code[position]
        to, source = both & 15, both >> 4
        position += 1
        match operation:
            case 0x61:
                registers[to] = context[offset]
            case 0xBF:
                registers[to] = registers[source]
            case 0xB7:
                registers[to] = value
            case 0x57:
                registers[to] &= value
            case 0x77:
                registers[to] >>= value
            case 0x55:
                position += offset if registers[to] != value else 0
            case 0x15:
                position += offset if registers[to] == value else 0
            case 0x95:
                return registers[0] == 1
            case _:
                pytest.fail(f"unexpected instruction {operation:#x}")


def _decide(rules: tuple[DeviceRule, ...], kind: int, access: int, device: tuple[int, int]) -> bool:
    """What the rules mean, said plainly: for each kind of access the last match decides."""
    letters = {"m": MAKE, "r": READ, "w": WRITE}
    for letter, bit in letters.items():
        if not access & bit:
            continue
        allowed = True
        for rule in rules:
            matches = rule.type == "a" or (
                {"b": BLOCK, "c": CHARACTER}[rule.type] == kind
                and rule.major in {None, device[0]}
                and rule.minor in {None, device[1]}
            )
            if matches and letter in (rule.access or "rwm"):
                allowed = rule.allow
        if not allowed:
            return False
    return True


def _rule(allow: bool, kind: str, major: int | None, minor: int | None, access: str) -> DeviceRule:
    return DeviceRule(allow=allow, type=kind, major=major, minor=minor, access=access)


MIXED = (
    _rule(False, "a", None, None, "rwm"),
    _rule(True, "c", 1, 3, "r"),
    _rule(True, "c", 1, 3, "w"),
    _rule(True, "b", 8, None, "rwm"),
    _rule(False, "b", 8, 1, "w"),
    _rule(True, "c", None, 5, "m"),
)


@pytest.mark.parametrize("rules", [(), MIXED, DEVICE_RULES, MIXED[::-1]], ids=len)
def test_the_program_means_what_the_rules_mean(rules: tuple[DeviceRule, ...]) -> None:
    program = cgroup_devices.program(rules)
    devices = [(1, 3), (1, 5), (5, 0), (8, 0), (8, 1), (136, 7), (10, 229)]
    for kind, access, device in product((BLOCK, CHARACTER), range(1, 8), devices):
        expected = _decide(rules, kind, access, device)
        assert _run(program, kind, access, *device) == expected, (kind, access, device)


@pytest.mark.parametrize("rule", [_rule(True, "x", 1, 3, "r"), _rule(True, "c", 1, 3, "rx")])
def test_a_broken_rule_is_refused(rule: DeviceRule) -> None:
    with pytest.raises(InvalidInput):
        cgroup_devices.program([rule])


@pytest.fixture
def group(require: Callable[[object, str], None]) -> Iterator[Path]:
    tree = cgroup_mounts.find().v2
    require(tree is not None and tree.writable, "needs a writable cgroup v2 mount")
    assert tree is not None
    path = Path(tree.own, f"workbench-devices-{os.getpid()}")
    path.mkdir()
    yield path
    path.rmdir()


def _open_in(group: Path, device: str) -> int:
    """The errno of opening ``device`` for reading in a process of the group."""
    child = os.fork()
    if child == 0:
        code = 255
        try:
            (group / "cgroup.procs").write_text(str(os.getpid()))
            os.close(os.open(device, os.O_RDONLY))
            code = 0
        except OSError as error:
            code = error.errno or 254
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.kernel
def test_the_kernel_takes_the_program_and_obeys(group: Path) -> None:
    assert _open_in(group, "/dev/zero") == 0
    cgroup_devices.attach(str(group), MIXED)
    assert _open_in(group, "/dev/null") == 0
    assert _open_in(group, "/dev/zero") == errno.EPERM


@pytest.mark.kernel
def test_new_rules_take_the_place_of_old_ones(group: Path) -> None:
    cgroup_devices.attach(str(group), MIXED)
    cgroup_devices.attach(str(group), DEVICE_RULES)
    assert _open_in(group, "/dev/zero") == 0
    cgroup_devices.attach(str(group), (_rule(False, "a", None, None, "rwm"),))
    assert _open_in(group, "/dev/null") == errno.EPERM
