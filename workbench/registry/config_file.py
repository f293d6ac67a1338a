"""Docker's ``config.json``: read whole, changed whole, never seen half written."""

from __future__ import annotations

import fcntl
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from workbench.errors import InvalidInput

_LARGEST: Final = 4 * 1024**2


class ConfigFile:
    """One file. Keys that we do not know survive a change."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> dict[str, Any]:
        """The object in the file; empty where there is none. Raises InvalidInput."""
        try:
            with self.path.open("rb") as file:
                raw = file.read(_LARGEST + 1)
            tree = json.loads(raw) if raw.strip() else {}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, RecursionError) as error:
            # The text of a JSON error may quote the file, and so a secret.
            raise InvalidInput(f"cannot read {self.path}: {type(error).__name__}") from None
        if not isinstance(tree, dict):
            raise InvalidInput(f"cannot read {self.path}: not a JSON object")
        return tree

    @contextmanager
    def change(self) -> Iterator[dict[str, Any]]:
        """The object, to be altered in place; written on leaving, mode 0600, all or nothing.

        Raises InvalidInput when the file cannot be read or written.
        """
        # A link stays a link: people keep this file in a repository of their own.
        path = Path(os.path.realpath(self.path))
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise InvalidInput(f"cannot write {path}: {error.strerror}") from error
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            tree = self.read()
            yield tree
            _replace(path, json.dumps(tree, indent="\t", ensure_ascii=False).encode() + b"\n")
        finally:
            os.close(folder)


def _replace(path: Path, data: bytes) -> None:
    try:
        number, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(number, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink()
            raise
    except OSError as error:
        raise InvalidInput(f"cannot write {path}: {error.strerror}") from error
