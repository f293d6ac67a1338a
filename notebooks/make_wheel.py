"""Make the small wheel that the quickstart installs: ``python notebooks/make_wheel.py [FOLDER]``.

A wheel is a zip file with a fixed layout (the binary distribution format of the Python packaging
guide). Times, order and permissions are fixed, so that the same text gives the same bytes.
"""

from __future__ import annotations

import base64
import hashlib
import sys
import zipfile
from pathlib import Path
from typing import Final

NAME: Final = "postcard"
VERSION: Final = "1.0.0"
FILE: Final = f"{NAME}-{VERSION}-py3-none-any.whl"
INFO: Final = f"{NAME}-{VERSION}.dist-info"

MODULE: Final = '''"""Draw a text as a postcard."""


def card(text: str, width: int = 40) -> str:
    """The lines of ``text`` in a frame with a stamp."""
    lines = [line[: width - 4] for line in text.splitlines()]
    edge = "─" * (width - 2)
    rows = [f"│ {line.ljust(width - 4)} │" for line in lines]
    stamp = f"│ {'▣'.rjust(width - 4)} │"
    return "\\n".join([f"╭{edge}╮", stamp, *rows, f"╰{edge}╯"])
'''
METADATA: Final = f"""Metadata-Version: 2.1
Name: {NAME}
Version: {VERSION}
Summary: Draw a text as a postcard
Requires-Python: >=3.8
"""
WHEEL: Final = """Wheel-Version: 1.0
Generator: make_wheel
Root-Is-Purelib: true
Tag: py3-none-any
"""


def contents() -> dict[str, str]:
    """Every file of the wheel, the record of their digests last."""
    files = {
        f"{NAME}.py": MODULE,
        f"{INFO}/METADATA": METADATA,
        f"{INFO}/WHEEL": WHEEL,
    }
    lines = [f"{name},sha256={_digest(text)},{len(text.encode())}" for name, text in files.items()]
    record = f"{INFO}/RECORD"
    return {**files, record: "\n".join([*lines, f"{record},,"]) + "\n"}


def _digest(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def make(folder: Path) -> Path:
    """Write the wheel into ``folder`` and return its path."""
    target = folder / FILE
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for name, text in contents().items():
            entry = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            entry.create_system = 3
            entry.external_attr = 0o100644 << 16
            archive.writestr(entry, text)
    return target


if __name__ == "__main__":
    where = sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent / "quickstart-app/wheels"
    sys.stdout.write(f"{make(Path(where))}\n")
