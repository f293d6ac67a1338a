"""Words of a line, variables in it, and parsers that raise."""

from __future__ import annotations

import pytest

from magics.grammar import Parser, expand, words_of
from workbench.errors import InvalidInput

NAMES = {"name": "web", "n": 3, "_hidden": "x"}


@pytest.mark.parametrize(
    "line,expected",
    [
        ("{name}:$n", "web:3"),
        ("${name}", "web"),
        ("$HOME {unknown}", "$HOME {unknown}"),
        ("--format '{{.Names}}' {{.name}}", "--format '{{.Names}}' {{.name}}"),
        ("sh -c 'echo $name {name}'", "sh -c 'echo $name {name}'"),
        ('sh -c "echo $name"', 'sh -c "echo web"'),
        (r"\$name", r"\$name"),
        ("${_hidden} {_hidden}", "${_hidden} {_hidden}"),
    ],
)
def test_variables_are_put_in_and_foreign_syntax_is_left_alone(line: str, expected: str) -> None:
    assert expand(line, NAMES) == expected


def test_a_last_semicolon_silences_and_an_escaped_one_does_not() -> None:
    assert words_of("ps -a ;", {}) == (["ps", "-a"], True)
    assert words_of("ps;", {}) == (["ps"], True)
    assert words_of(r"find . -exec ls \;", {}) == (["find", ".", "-exec", "ls", ";"], False)
    assert words_of("sh -c 'a;b'", {}) == (["sh", "-c", "a;b"], False)


def test_an_open_quote_is_an_error_with_a_mend() -> None:
    with pytest.raises(InvalidInput) as error:
        words_of("echo 'a", {})
    assert "quotes" in error.value.hint


def test_a_wrong_flag_names_the_magic_and_the_nearest_flag() -> None:
    parser = Parser("ps", "List.")
    parser.add("--all", action="store_true")
    with pytest.raises(InvalidInput) as error:
        parser.parse(["--al"])
    assert error.value.message.startswith("%ps: unrecognized arguments: --al")
    assert "--all" in error.value.hint


def test_a_result_needs_the_name_of_a_variable() -> None:
    with pytest.raises(InvalidInput, match="no name of a Python variable"):
        Parser("ps", "List.").parse(["-o", "1x"])
    with pytest.raises(InvalidInput, match="no name of a Python variable"):
        Parser("ps", "List.").parse(["-o", "class"])


def test_help_is_no_exit() -> None:
    assert Parser("ps", "List.").parse(["--help"]) is None
