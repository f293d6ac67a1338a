"""``docker run``'s flags in a magic, as far as ``RunOptions``."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from magics.line.run_container import script
from magics.perform import Call
from magics.run_grammar import RunParser, options_of
from workbench import RunOptions
from workbench.errors import InvalidInput


def options(*words: str, script: bool = False) -> RunOptions:
    arguments = RunParser(script=script).parse(list(words))
    assert arguments is not None
    engine = SimpleNamespace(config=SimpleNamespace(environment={"HERE": "there"}))
    session: Any = SimpleNamespace(engine=engine)
    return options_of(Call(session=session, arguments=arguments))


def test_flags_end_at_the_image() -> None:
    found = options("--rm", "-e", "A=1", "app:2", "sh", "-c", "echo -e", "--rm", "-e")
    assert found.image == "app:2"
    assert found.remove and found.env == ("A=1",)
    assert found.command == ("sh", "-c", "echo -e", "--rm", "-e")


def test_short_flags_join_and_values_stick() -> None:
    found = options("-itd", "-p8080:80", "-w=/srv", "--name=web", "-m", "64m", "--cpus", ".5", "x")
    assert found.interactive and found.tty and found.detach
    assert found.networking.ports[0].container_port == 80
    assert (found.working_dir, found.name) == ("/srv", "web")
    assert found.resources.memory == 64 * 1024**2
    assert found.resources.cpus == 0.5


def test_h_is_the_host_name_as_in_docker() -> None:
    assert options("-h", "box", "x").networking.hostname == "box"


def test_a_variable_without_a_value_comes_from_the_host() -> None:
    assert options("-e", "HERE", "x").env == ("HERE=there",)


def test_help_of_the_command_is_the_commands() -> None:
    assert options("-e", "A=1", "x", "ls", "--help").command == ("ls", "--help")
    assert RunParser().parse(["--rm", "--help"]) is None
    assert RunParser().parse(["-e", "A=1", "--help", "x"]) is None


def test_double_dashes_reach_the_command() -> None:
    assert options("x", "sh", "--", "y").command == ("sh", "--", "y")


def test_an_image_is_needed() -> None:
    with pytest.raises(InvalidInput, match="IMAGE"):
        options("--rm")


def test_a_script_takes_the_place_of_the_entry_point() -> None:
    found = script(options("x", "one", script=True), "echo $1\n", "bash")
    assert found.entrypoint == ("bash",)
    assert found.command == ("-c", "echo $1\n", "bash", "one")
    found = script(options("x", "one", script=True), "print(1)", "python3")
    assert found.command == ("-c", "print(1)", "one")
    found = script(options("x", script=True), "say 1", "/usr/bin/perl")
    assert (found.entrypoint, found.command) == (("/usr/bin/perl",), ("-e", "say 1"))


def test_a_script_that_no_command_line_can_hold_is_refused() -> None:
    with pytest.raises(InvalidInput, match="KiB"):
        script(options("x", script=True), "x" * 200_000, "sh")
