"""What the READMEs say is there: commands, paths, and the copy of the import table."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from itertools import pairwise
from pathlib import PurePosixPath

import pytest

from tests.architecture.law import MAY_IMPORT, ROOT
from workbench.cli.main import COMMANDS

README = (ROOT / "README.md").read_text("utf-8")
MAP = (ROOT / "workbench" / "README.md").read_text("utf-8")


def fences(text: str, *languages: str) -> Iterator[str]:
    """The bodies of fenced blocks in these languages."""
    for language, body in re.findall(r"^```(\w*)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
        if language in languages:
            yield body


def commands(text: str) -> Iterator[list[str]]:
    """The words of every line of a shell block that calls ``workbench``."""
    for body in fences(text, "shell", "console"):
        for line in body.splitlines():
            bare = line.removeprefix("$ ")
            if bare.startswith("workbench "):
                yield shlex.split(bare)


def drawn(tree: str) -> Iterator[str]:
    """The paths of a tree that is drawn by indentation; words follow after two spaces."""
    folders: list[tuple[int, PurePosixPath]] = []
    for line in tree.splitlines():
        indent = len(line) - len(line.lstrip())
        while folders and folders[-1][0] >= indent:
            folders.pop()
        above = folders[-1][1] if folders else PurePosixPath()
        names = [word for word in re.split(r"\s{2,}", line.strip())[0].split() if _is_path(word)]
        assert names, f"no path in the line {line!r}"
        for name in names:
            yield f"{above / name}{'/' if name.endswith('/') else ''}"
        if names[-1].endswith("/"):
            folders.append((indent, above / names[-1]))


def _is_path(word: str) -> bool:
    return word.endswith("/") or re.fullmatch(r"\w+\.(py|sql)", word) is not None


TREE = next(fences(MAP, "text"))
TABLE = list(fences(MAP, "text"))[1]


def test_shell_blocks_call_commands_that_exist() -> None:
    named = [words[1] for words in commands(README)]
    assert len(named) > 3
    assert set(named) - set(COMMANDS) == set()


def test_folders_and_files_that_shell_blocks_name_exist() -> None:
    named = re.findall(r"(?:notebooks|tests|binder)/[\w./-]*\w", README)
    assert named
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_relative_links_lead_somewhere() -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", README)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


@pytest.mark.parametrize("path", sorted(drawn(TREE)))
def test_the_tree_of_the_map_is_there(path: str) -> None:
    found = ROOT / path
    assert found.is_dir() if path.endswith("/") else found.is_file()


def test_the_tree_of_the_map_has_every_package() -> None:
    packages = {
        path.parent.relative_to(ROOT).as_posix() + "/"
        for path in (ROOT / "workbench").rglob("__init__.py")
    }
    assert packages - {path for path in drawn(TREE) if path.endswith("/")} == set()


def test_the_import_table_of_the_map_is_the_law() -> None:
    rows = dict(re.split(r"\s+<-\s*", line, maxsplit=1) for line in TABLE.splitlines())
    assert list(rows) == [name for name in rows if name in MAY_IMPORT]
    above = set(rows) - {"engine", "api", "cli"}
    expected = {name: ", ".join(sorted(parts)) for name, parts in MAY_IMPORT.items()}
    assert MAY_IMPORT["engine"] == above
    assert rows == {**expected, "engine": "everything above"}


def test_decisions_are_numbered_without_gaps() -> None:
    section = MAP.partition("## Decisions")[2].partition("\n## ")[0]
    numbers = [int(number) for number in re.findall(r"^(\d+)\. ", section, re.MULTILINE)]
    assert numbers[0] == 1
    assert all(after == before + 1 for before, after in pairwise(numbers))
