"""Each rule finds what it is for, and leaves the mended form alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from workbench.build.context import BuildContext
from workbench.build.dockerfile import parse
from workbench.build.lint import lint
from workbench.build.lint_rules import RULES

CASES = [
    ("ConsistentInstructionCasing", "FROM a:1\nrun x\nCMD [\"y\"]", "FROM a:1\nRUN x\nCMD [\"y\"]"),
    ("DuplicateStageName", "FROM a:1 AS x\nFROM b:1 AS x", "FROM a:1 AS x\nFROM b:1 AS y"),
    ("ExposeInvalidFormat", "FROM a:1\nEXPOSE 80:80", "FROM a:1\nEXPOSE 80"),
    ("ExposeProtoCasing", "FROM a:1\nEXPOSE 80/TCP", "FROM a:1\nEXPOSE 80/tcp"),
    ("FromAsCasing", "FROM a:1 as x", "FROM a:1 AS x"),
    ("FromPlatformFlagConstDisallowed", "FROM --platform=linux/amd64 a:1 AS x",
     "FROM --platform=linux/amd64 a:1 AS x-amd64"),
    ("InvalidDefaultArgInFrom", "ARG V\nFROM a:${V}", "ARG V=1\nFROM a:${V}"),
    ("InvalidDefinitionDescription", "FROM a:1\n# something\nARG V",
     "FROM a:1\n# V something\nARG V"),
    ("JSONArgsRecommended", "FROM a:1\nCMD x", "FROM a:1\nCMD [\"x\"]"),
    ("LegacyKeyValueFormat", "FROM a:1\nENV A 1", "FROM a:1\nENV A=1"),
    ("MaintainerDeprecated", "FROM a:1\nMAINTAINER me", "FROM a:1\nLABEL by=me"),
    ("MultipleInstructionsDisallowed", "FROM a:1\nCMD [\"x\"]\nCMD [\"y\"]",
     "FROM a:1\nCMD [\"x\"]"),
    ("NoEmptyContinuation", "FROM a:1\nRUN a \\\n\n  b", "FROM a:1\nRUN a \\\n  b"),
    ("RedundantTargetPlatform", "FROM --platform=$TARGETPLATFORM a:1", "FROM a:1"),
    ("ReservedStageName", "FROM a:1 AS scratch", "FROM a:1 AS x"),
    ("SecretsUsedInArgOrEnv", "FROM a:1\nENV API_KEY=x", "FROM a:1\nENV API_KEY_FILE=x"),
    ("StageNameCasing", "FROM a:1 AS Base", "FROM a:1 AS base"),
    ("UndefinedArgInFrom", "FROM a:${V:-1}", "ARG V\nFROM a:${V:-1}"),
    ("UndefinedVar", "FROM a:1\nCOPY $SRC /x", "FROM a:1\nARG SRC\nCOPY $SRC /x"),
    ("WorkdirRelativePath", "FROM a:1\nWORKDIR x", "FROM a:1\nWORKDIR /x"),
    ("DL3001", "FROM a:1\nRUN ssh host", "FROM a:1\nRUN echo ssh"),
    ("DL3002", "FROM a:1\nUSER me\nUSER root", "FROM a:1\nUSER root\nUSER me"),
    ("DL3003", "FROM a:1\nRUN cd /x && make", "FROM a:1\nWORKDIR /x\nRUN make"),
    ("DL3004", "FROM a:1\nRUN sudo make", "FROM a:1\nRUN make"),
    ("DL3006", "FROM a", "FROM a:1"),
    ("DL3007", "FROM a:latest", "FROM a:1"),
    ("DL3008", "FROM a:1\nRUN apt-get install -y x", "FROM a:1\nRUN apt-get install -y x=1"),
    ("DL3009", "FROM a:1\nRUN apt-get install -y x=1",
     "FROM a:1\nRUN apt-get install -y x=1 && rm -rf /var/lib/apt/lists/*"),
    ("DL3013", "FROM a:1\nRUN pip install x", "FROM a:1\nRUN pip install x==1"),
    ("DL3014", "FROM a:1\nRUN apt-get install x", "FROM a:1\nRUN apt-get install -qqy x"),
    ("DL3015", "FROM a:1\nRUN apt-get install -y x",
     "FROM a:1\nRUN apt-get install -y --no-install-recommends x"),
    ("DL3018", "FROM a:1\nRUN apk add x", "FROM a:1\nRUN apk add x=1"),
    ("DL3019", "FROM a:1\nRUN apk add x", "FROM a:1\nRUN apk add --no-cache x"),
    ("DL3020", "FROM a:1\nADD x /y", "FROM a:1\nADD x.tar.gz /y"),
    ("DL3025", "FROM a:1\nENTRYPOINT x", "FROM a:1\nENTRYPOINT [\"x\"]"),
    ("DL3027", "FROM a:1\nRUN apt install x", "FROM a:1\nRUN apt-get install x"),
    ("DL3042", "FROM a:1\nRUN pip install x==1",
     "FROM a:1\nRUN --mount=type=cache,target=/root/.cache pip install x==1"),
    ("DL3045", "FROM a:1\nCOPY x y", "FROM a:1\nWORKDIR /w\nCOPY x y"),
    ("DL3059", "FROM a:1\nRUN x\nRUN y", "FROM a:1\nRUN x\nCOPY a /b\nRUN y"),
    ("DL4000", "FROM a:1\nMAINTAINER me", "FROM a:1"),
    ("DL4006", "FROM a:1\nRUN a | b",
     "FROM a:1\nSHELL [\"/bin/bash\", \"-o\", \"pipefail\", \"-c\"]\nRUN a | b"),
    ("WB001", "FROM a:1\nWORKDIR /w\nCOPY . .\nRUN pip install -r requirements.txt",

     "FROM a:1\nWORKDIR /w\nCOPY requirements.txt .\nRUN pip install -r requirements.txt"
     "\nCOPY . ."),
]  # fmt: skip


def _names(text: str) -> set[str]:
    return {item.rule.name for item in lint(parse(text))}


@pytest.mark.parametrize("rule,wrong,right", CASES, ids=[case[0] for case in CASES])
def test_rule(rule: str, wrong: str, right: str) -> None:
    assert rule in _names(wrong)
    assert rule not in _names(right)


def test_every_rule_has_a_case() -> None:
    assert {case[0] for case in CASES} | {"CopyIgnoredFile"} == set(RULES)
    assert len(RULES) >= 40


def test_every_rule_says_why_and_how_to_mend() -> None:
    assert all(rule.why.endswith(".") and rule.mend.endswith(".") for rule in RULES.values())


def test_copy_of_an_ignored_file(tmp_path: Path) -> None:
    (tmp_path / ".dockerignore").write_text("secret*\n")
    dockerfile = parse("FROM a:1\nWORKDIR /w\nCOPY secret.txt .\nCOPY open.txt .\n")
    found = lint(dockerfile, BuildContext.open(tmp_path))
    (item,) = (item for item in found if item.rule.name == "CopyIgnoredFile")
    assert (item.span.line, item.span.column) == (3, 6)
    assert item.message == (
        'Attempting to Copy file "secret.txt" that is excluded by .dockerignore'
    )


def test_findings_come_in_order_with_their_place() -> None:
    found = lint(parse("FROM a\nRUN sudo x\nCMD y"))
    assert [(item.span.line, item.rule.name) for item in found] == [
        (1, "DL3006"), (2, "DL3004"), (3, "DL3025"), (3, "JSONArgsRecommended"),
    ]  # fmt: skip


def test_rules_can_be_silenced() -> None:
    assert _names("# check=skip=DL3006,DL3004\nFROM a\nRUN sudo x") == set()
    assert _names("# check=skip=all\nFROM a\nCMD x") == set()


def test_a_good_file_has_no_findings() -> None:
    text = (
        "FROM python:3.11-slim\nWORKDIR /app\nCOPY requirements.txt .\n"
        "RUN pip install --no-cache-dir -r requirements.txt\nCOPY . .\n"
        'CMD ["python", "main.py"]\n'
    )
    assert lint(parse(text)) == ()
