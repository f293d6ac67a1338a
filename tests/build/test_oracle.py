"""The corpus and the golden tables read by Docker's own parser, where its package is installed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from workbench.build.dockerfile import parse
from workbench.build.instructions import Copy, Env, Label, Run
from workbench.build.tokens import Pair

dockerfile = pytest.importorskip("dockerfile", reason="the oracle package 'dockerfile' is missing")

CORPUS = Path(__file__).parent / "corpus"
EXTRA = (
    "FROM a\nRUN a \\\n # c\n\n b\nRUN [\"a\", \"b\"]\n",
    "# escape=`\nFROM a\nRUN a `\n b\n",
    "FROM a\nENV A=1 B=\"x y\" C=a\\ b\nENV old way here\nLABEL a=b 'c d'=e\n",
    "FROM a\nRUN --mount=type=cache,target=/x --network=none a b\n",
    "FROM a\nCOPY --chown=1:2 --from=x a b \"c d\" /e/\n",
    "FROM a\nRUN <<A cat 3<<-'B'\nx\nA\n\ty\n\tB\nCMD [\"z\"]\n",
    "FROM a\nHEALTHCHECK --interval=5s CMD a b\nEXPOSE 80 81\nVOLUME [\"/a\", \"/b\"]\n",
)  # fmt: skip


def _texts() -> list[str]:
    return [*(path.read_text() for path in sorted(CORPUS.glob("*/Dockerfile"))), *EXTRA]


def _pairs(pairs: tuple[Pair, ...]) -> list[str]:
    return [part for pair in pairs for part in (pair.name, pair.value)]


@pytest.mark.parametrize("text", _texts())
def test_both_read_the_same(text: str) -> None:
    theirs: tuple[Any, ...] = dockerfile.parse_string(text)
    ours = parse(text).instructions
    assert len(ours) == len(theirs)
    for mine, other in zip(ours, theirs, strict=True):
        where = mine.where
        assert where.keyword.upper() == other.cmd.upper()
        assert (where.span.line, where.span.end_line) == (other.start_line, other.end_line)
        flags = [
            f"--{flag.name}" + ("" if flag.value is None else f"={flag.value}")
            for flag in where.flags
        ]
        assert flags == list(other.flags)
        if isinstance(mine, (Env, Label)):
            assert _pairs(mine.pairs) == list(other.value)
        elif isinstance(mine, Run):
            assert list(mine.command.args) == list(other.value)
            assert mine.command.shell is not other.json
        elif isinstance(mine, Copy) and not mine.heredocs:
            words = [*(word.text for word in mine.sources), mine.target.text]
            assert words == list(other.value)
        heredocs = getattr(mine, "heredocs", ()) or getattr(
            getattr(mine, "command", None), "heredocs", ()
        )
        found = [(doc.name, doc.raw, doc.descriptor) for doc in heredocs]
        assert found == [(doc.name, doc.content, doc.file_descriptor) for doc in other.heredocs]
