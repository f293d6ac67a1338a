"""Capabilities: the table, the sets, and what is left of them in a child."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from workbench.errors import InvalidInput
from workbench.linux import capabilities
from workbench.oci.runtime_spec import Capabilities


def _status_of_child(action: Callable[[], None]) -> dict[str, tuple[str, ...]]:
    """Fork, do ``action`` in the child, and read the child's capability sets."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            action()
            with open("/proc/self/status", "rb") as status:  # noqa: PTH123 - a fork of the test
                os.write(write, status.read())
            code = 0
        finally:
            os._exit(code)
    os.close(write)
    with os.fdopen(read, encoding="ascii") as stream:
        text = stream.read()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    lines = dict(line.split(":\t", 1) for line in text.splitlines() if line.startswith("Cap"))
    return {name: capabilities.names(int(value, 16)) for name, value in lines.items()}


def test_the_table_has_the_kernels_numbers() -> None:
    assert len(capabilities.ALL) == 41
    assert capabilities.NUMBERS["CAP_CHOWN"] == 0
    assert capabilities.NUMBERS["CAP_SYS_ADMIN"] == 21
    assert capabilities.NUMBERS["CAP_SYSLOG"] == 34
    assert capabilities.NUMBERS["CAP_CHECKPOINT_RESTORE"] == 40


def test_the_defaults_are_dockers_fourteen() -> None:
    assert len(set(capabilities.DEFAULT)) == 14
    assert capabilities.mask(capabilities.DEFAULT) == 0xA80425FB


@pytest.mark.parametrize("text", ["net_admin", "NET_ADMIN", "cap_net_admin", " CAP_NET_ADMIN "])
def test_names_are_read_as_users_write_them(text: str) -> None:
    assert capabilities.parse(text) == "CAP_NET_ADMIN"


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(InvalidInput, match="fly"):
        capabilities.parse("fly")


def test_mask_and_names_are_inverse() -> None:
    assert capabilities.names(capabilities.mask(capabilities.ALL)) == capabilities.ALL
    assert capabilities.mask(["CAP_OF_A_LATER_KERNEL"]) == 0


def test_within_cuts_every_set_and_keeps_the_order() -> None:
    sets = Capabilities(
        bounding=("CAP_KILL", "CAP_CHOWN", "CAP_SYS_RESOURCE"),
        effective=("CAP_SYS_RESOURCE",),
        ambient=("CAP_KILL", "CAP_SYS_RESOURCE"),
    )
    cut = capabilities.within(sets, {"CAP_CHOWN", "CAP_KILL"})
    assert cut.bounding == ("CAP_KILL", "CAP_CHOWN")
    assert cut.effective == ()
    assert cut.ambient == ("CAP_KILL",)


def test_the_bounding_set_is_that_of_proc() -> None:
    shown = _status_of_child(lambda: None)["CapBnd"]
    assert capabilities.bounding() == frozenset(shown)


@pytest.mark.kernel
def test_a_child_keeps_what_it_was_given() -> None:
    wanted = ("CAP_CHOWN", "CAP_KILL")

    def restrict() -> None:
        capabilities.drop_bounding(wanted)
        capabilities.apply(Capabilities(effective=wanted, permitted=wanted, bounding=wanted))

    sets = _status_of_child(restrict)
    assert sets["CapBnd"] == sets["CapEff"] == sets["CapPrm"] == wanted
    assert sets["CapInh"] == sets["CapAmb"] == ()


@pytest.mark.kernel
def test_ambient_capabilities_survive_the_change_of_user() -> None:
    wanted = ("CAP_NET_BIND_SERVICE",)

    def become_somebody() -> None:
        capabilities.drop_bounding(wanted)
        capabilities.keep_over_setuid()
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
        capabilities.apply(
            Capabilities(effective=wanted, permitted=wanted, inheritable=wanted, ambient=wanted)
        )

    sets = _status_of_child(become_somebody)
    assert sets["CapEff"] == sets["CapPrm"] == sets["CapInh"] == sets["CapAmb"] == wanted


@pytest.mark.kernel
def test_capabilities_that_were_given_up_do_not_come_back() -> None:
    def grasp() -> None:
        capabilities.apply(Capabilities())
        with pytest.raises(PermissionError):
            capabilities.apply(Capabilities(permitted=("CAP_KILL",)))

    assert _status_of_child(grasp)["CapEff"] == ()
