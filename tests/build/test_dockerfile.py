"""Reading Dockerfiles: what each form means, and that nothing crashes the parser."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.build.dockerfile import parse
from workbench.build.instructions import Copy, Env, HealthcheckInstruction, Onbuild, Run
from workbench.build.stages import split_stages
from workbench.errors import WorkbenchError


def _only(text: str) -> Any:
    (instruction,) = parse(text).instructions
    return instruction


@pytest.mark.parametrize(
    "text,args,shell",
    [
        ("RUN a  b", ("a  b",), True),
        ('RUN ["a", "b c"]', ("a", "b c"), False),
        ("RUN ['a']", ("['a']",), True),
        ('RUN ["a"', ('["a"',), True),
        ('RUN ["a"] b', ('["a"] b',), True),
        ('RUN [ "a" ] ', ("a",), False),
        ('RUN ["\\u00e9"]', ("é",), False),
        ("RUN a \\\n  b \\\n  c", ("a   b   c",), True),
        ("RUN a \\\n# comment\n  # more\n b", ("a  b",), True),
        ("RUN a \\\n\n\n b", ("a  b",), True),
        ("RUN a \\  \n b", ("a  b",), True),
        ("RUN a \\\\\n", ("a \\\\",), True),
        ("RUN a # no comment", ("a # no comment",), True),
        ("run a", ("a",), True),
        ("\t RUN\ta", ("a",), True),
        ("RUN --network=none a --b", ("a --b",), True),
        ("RUN -- --a", ("--a",), True),
        ("RUN", (), True),
        ("CMD []", (), False),
        ("# escape=`\nRUN a `\n b \\ c", ("a  b \\ c",), True),
        ("RUN a \\", ("a",), True),
        ("RUN echo '<<EOF'", ("echo '<<EOF'",), True),
    ],
)
def test_command_lines(text: str, args: tuple[str, ...], shell: bool) -> None:
    command = _only(text).command
    assert (command.args, command.shell) == (args, shell)


def test_heredocs_of_run() -> None:
    run = _only("RUN <<EOF cat 3<<-'B'\necho $a\nEOF\n\tx\n\tB\n")
    assert isinstance(run, Run)
    first, second = run.command.heredocs
    assert (first.name, first.content, first.expand, first.chomp) == (
        "EOF",
        "echo $a\n",
        True,
        False,
    )
    assert (second.name, second.content, second.raw) == ("B", "x\n", "\tx\n")
    assert (second.expand, second.chomp, second.descriptor) == (False, True, 3)


def test_a_comment_within_a_heredoc_is_content() -> None:
    assert _only("COPY <<E /x\n# not a comment\nE").heredocs[0].content == "# not a comment\n"


def test_env_forms() -> None:
    env = _only("ENV A=1 B=\"two words\" C=three\\ words D='$x' E=")
    assert isinstance(env, Env)
    assert [(pair.name, pair.value) for pair in env.pairs] == [
        ("A", "1"), ("B", '"two words"'), ("C", "three\\ words"), ("D", "'$x'"), ("E", ""),
    ]  # fmt: skip
    old = _only("ENV NAME all the rest = here")
    assert [(pair.name, pair.value, pair.legacy) for pair in old.pairs] == [
        ("NAME", "all the rest = here", True)
    ]


def test_copy_flags() -> None:
    copy = _only(
        "COPY --from=a --chown=1:2 --chmod=0755 --link --parents --exclude=x --exclude=y p q/"
    )
    assert isinstance(copy, Copy)
    assert (copy.from_, copy.chown, copy.chmod) == ("a", "1:2", "0755")
    assert (copy.link, copy.parents, copy.exclude) == (True, True, ("x", "y"))
    assert [word.text for word in copy.sources] == ["p"]
    assert copy.target.text == "q/"


def test_add_flags() -> None:
    add = _only("ADD --checksum=sha256:1 --keep-git-dir=true --unpack=false u v")
    assert (add.checksum, add.keep_git_dir, add.unpack) == ("sha256:1", True, False)


def test_healthcheck() -> None:
    check = _only("HEALTHCHECK --interval=1m30s --timeout=500ms --retries=3 CMD curl localhost")
    assert isinstance(check, HealthcheckInstruction)
    assert check.check.test == ("CMD-SHELL", "curl localhost")
    assert (check.check.interval, check.check.timeout) == (90_000_000_000, 500_000_000)
    assert _only("HEALTHCHECK none").check.test == ("NONE",)


def test_onbuild_keeps_its_heredoc() -> None:
    onbuild = _only("ONBUILD RUN <<E\nx\nE\n")
    assert isinstance(onbuild, Onbuild)
    assert onbuild.expression == "RUN <<E\nx\nE"


def test_directives() -> None:
    directives = parse("# Syntax = docker/dockerfile:1\n# check=skip=all\nFROM a").directives
    assert (directives.syntax, directives.check) == ("docker/dockerfile:1", "skip=all")
    late = parse("# hello\n# escape=`\nFROM a").directives
    assert late.escape == "\\"


def test_places_reach_into_continuations() -> None:
    copy = _only("COPY \\\n  one \\\n\ttwo /to")
    one, two = (word.span for word in copy.sources)
    assert (one.line, one.column, one.end_column) == (2, 3, 6)
    assert (two.line, two.column, two.end_column) == (3, 2, 5)
    assert (copy.target.span.line, copy.target.span.column) == (3, 6)


@given(st.text(alphabet="FROMRUNCOPYaA \\\n\t\"'[]{}$<-=#`:/,.1é\r\0"))
def test_nothing_but_our_errors(text: str) -> None:
    try:
        split_stages(parse(text))
    except WorkbenchError as error:
        assert str(error)


@given(
    st.lists(
        st.sampled_from(["RUN a", "COPY a b", "ENV A=1", "# c", "", "RUN x \\\n  y"]), max_size=9
    )
)
def test_each_span_holds_its_keyword(lines: list[str]) -> None:
    dockerfile = parse("\n".join(["FROM a", *lines]))
    for instruction in dockerfile.instructions:
        span = instruction.where.keyword_span
        line = dockerfile.source.lines[span.line - 1]
        assert line[span.column - 1 : span.end_column - 1] == instruction.where.keyword


def test_a_deeply_nested_word_is_refused() -> None:
    from workbench.build.words import Lexer, WordError

    with pytest.raises(WordError, match="nested"):
        Lexer().word("${a:-" * 5000 + "}" * 5000, {})


def test_a_pattern_cannot_be_slow() -> None:
    from workbench.build.words import Lexer

    value = "a" * 2000
    assert Lexer().word("${v##*a*a*a*a*a*a*a*a*b}", {"v": value}) == value
