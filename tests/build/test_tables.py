"""Golden tables: wrong Dockerfiles, words, patterns."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from workbench.build.dockerfile import parse
from workbench.build.ignore import Patterns
from workbench.build.stages import split_stages
from workbench.build.words import Lexer, WordError
from workbench.errors import DockerfileError

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "build"
ENV = {
    "PWD": "/home",
    "SHELL": "bash",
    "EMPTY": "",
    "NAME": "foo.tar.gz",
    "PATHS": "a/b/a/c",
    "STAR": "a*b",
}


def _rows(name: str) -> list[list[str]]:
    lines = (GOLDEN / name).read_text("utf-8").splitlines()
    return [
        [part.strip() for part in line.rsplit(" |", line.count(" |"))]
        for line in lines
        if line and not line.startswith("# ")
    ]


def _errors() -> list[tuple[str, str, str, str]]:
    text = (GOLDEN / "errors.txt").read_text("utf-8")
    cases = []
    for block in re.split(r"^=== ", text, flags=re.MULTILINE)[1:]:
        head, _, rest = block.partition("\n")
        body, _, message = rest.rpartition("\n--- ")
        place, _, name = head.partition(" ")
        for mark, char in (("<TAB>", "\t"), ("<CR>", "\r"), ("<BOM>", "\ufeff")):
            body = body.replace(mark, char)
        cases.append((name, place, body, message.rstrip("\n")))
    return cases


ERRORS = _errors()


def test_there_are_enough_wrong_dockerfiles() -> None:
    assert len(ERRORS) >= 80
    assert len({name for name, *_ in ERRORS}) == len(ERRORS)


@pytest.mark.parametrize(
    "place,body,message", [case[1:] for case in ERRORS], ids=[case[0] for case in ERRORS]
)
def test_what_is_said_of_a_wrong_dockerfile(place: str, body: str, message: str) -> None:
    with pytest.raises(DockerfileError) as caught:
        split_stages(parse(body))
    assert caught.value.message == message
    line, column = (int(part) for part in place.split(":"))
    assert (caught.value.line or 0) == line
    if line:
        assert caught.value.excerpt.startswith(f"Dockerfile:{line}\n")
    if column:
        carets = [
            row
            for row in caught.value.excerpt.splitlines()
            if re.fullmatch(r"     \| +\t*\^+", row)
        ]
        assert carets
        assert carets[0].index("^") - 10 == column


@pytest.mark.parametrize("row", _rows("words.txt"), ids=lambda row: row[0])
def test_words(row: list[str]) -> None:
    text, expected = row
    if not expected.startswith("!"):
        assert Lexer().word(text, ENV) == expected
        return
    with pytest.raises(WordError) as caught:
        Lexer().word(text, ENV)
    assert str(caught.value) == f'failed to process "{text}": {expected[1:]}'


@pytest.mark.parametrize("row", _rows("ignore.txt"), ids=lambda row: " ".join(row[:2]))
def test_ignore(row: list[str]) -> None:
    patterns, path, expected = row
    assert Patterns.read("\n".join(patterns.split())).hides(path) is (expected == "hidden")


@pytest.mark.parametrize("row", _rows("ignore.txt"), ids=lambda row: " ".join(row[:2]))
def test_ignore_on_a_walk_says_the_same(row: list[str]) -> None:
    patterns = Patterns.read("\n".join(row[0].split()))
    parts = row[1].split("/")
    matched, parents = False, None
    for end in range(1, len(parts) + 1):
        matched, parents = patterns.match("/".join(parts[:end]), parents)
    assert matched is (row[2] == "hidden")
