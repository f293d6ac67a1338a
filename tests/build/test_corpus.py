"""The corpus: each folder is one behaviour, with its Dockerfile, its context and its outcome.

``expected.json`` has the configuration (what is not empty), the history, and the tree: mode, owner
and path of each entry, then the text of a link or of a file.
"""

from __future__ import annotations

import json
import os
import shutil
import stat
from pathlib import Path
from typing import Any

import pytest

from workbench.oci.codec import encode

CORPUS = Path(__file__).parent / "corpus"
CASES = sorted(path.name for path in CORPUS.iterdir())


def _tree(built: Any) -> list[str]:
    rows = []
    for item in built.tree.walk(()):
        status = item.status
        mode = f"{stat.S_IMODE(status.st_mode):04o}"
        row = f"{mode} {status.st_uid}:{status.st_gid} /{'/'.join(item.path)}"
        if item.is_dir:
            row += "/"
        elif item.is_link:
            row += f" -> {item.readlink()}"
        else:
            row += f" = {built.text('/'.join(item.path))!r}"
        rows.append(row)
    return rows


def _came_out(built: Any) -> dict[str, Any]:
    config = {name: value for name, value in encode(built.config).items() if value}
    config.pop("ArgsEscaped", None)
    if built.image.config.author:
        config["author"] = built.image.config.author
    history = [
        f"{'empty' if line.empty_layer else 'layer'}: {line.created_by}"
        for line in built.image.config.history
    ]
    return {"config": config, "history": history, "tree": _tree(built)}


def _plain_modes(folder: Path) -> None:
    """git keeps no modes but one bit: give files and directories the usual ones."""
    for path in [folder, *folder.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)


def test_the_corpus_is_large_enough() -> None:
    assert len(CASES) >= 60


@pytest.mark.parametrize("name", CASES)
def test_corpus(any_bench: Any, name: str, require: Any) -> None:
    case, bench = CORPUS / name, any_bench
    require(os.geteuid() == 0, "owners of files can be compared by root only")
    bench.base("toolbox", "FROM scratch\n")
    context = bench.root / "context"
    if (case / "context").is_dir():
        shutil.copytree(case / "context", context, dirs_exist_ok=True, symlinks=True)
    _plain_modes(context)
    text = (case / "Dockerfile").read_text()
    built = bench.build(text, context=context)
    expected = json.loads((case / "expected.json").read_text())
    assert _came_out(built) == expected
