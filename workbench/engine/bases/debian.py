"""``debian:SUITE-slim``: a minimal Debian, installed by debootstrap(8) and made smaller."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Final

from workbench.engine.bases.debian_tree import entries
from workbench.engine.bases.toolbox import labels
from workbench.engine.bases.tree import BasePlan
from workbench.errors import InvalidInput, Unavailable, Unsupported
from workbench.events import Notice, Report, silent
from workbench.oci.image import ContainerConfig

DEFAULT_TAG: Final = "bookworm-slim"
MIRROR: Final = "http://deb.debian.org/debian"

_SUITE: Final = re.compile(r"[a-z][a-z0-9-]{0,30}")
_SOURCES: Final = Path("/etc/apt")
_URL: Final = re.compile(r"https?://[^\s\]]+/debian/?(?=\s|$)")
_TAIL: Final = 15  # lines of debootstrap's output in an error
_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def plan(tag: str = DEFAULT_TAG, *, mirror: str | None = None, report: Report = silent) -> BasePlan:
    """Takes a minute or so, and the network. ``mirror`` is the host's unless given.

    Raises Unsupported without debootstrap or root, Unavailable when the mirror cannot be read.
    """
    suite = tag.removesuffix("-slim")
    if not _SUITE.fullmatch(suite):
        raise InvalidInput(f"{tag!r} names no Debian release", hint="try bookworm-slim")
    program = shutil.which("debootstrap", path=_PATH)
    if program is None:
        raise Unsupported(
            "debootstrap makes Debian images, and is not there",
            hint="apt-get install debootstrap",
        )
    if os.geteuid() != 0:
        raise Unsupported(
            "debootstrap needs root",
            hint="pull debian:bookworm-slim from a registry, or use the toolbox base",
        )
    scratch = Path(tempfile.mkdtemp(prefix="workbench-debian-"))
    root = scratch / "root"
    try:
        _run(program, suite, root, mirror or host_mirror(), report)
        made = labels("debian", f"debootstrap --variant=minbase {suite}")
        return BasePlan(
            entries=entries(root, suite),
            config=ContainerConfig(env=(f"PATH={_PATH}",), cmd=("bash",), labels=made),
            labels=made,
            default_name=f"debian:{suite}-slim",
            scratch=scratch,
        )
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        raise


def host_mirror(apt: Path = _SOURCES) -> str:
    """The Debian archive that this host installs from, or Debian's own."""
    files = [apt / "sources.list", *sorted((apt / "sources.list.d").glob("*"))]
    for path in files:
        if path.suffix not in {".list", ".sources"} or not path.is_file():
            continue
        for line in path.read_text("utf-8", "replace").splitlines():
            found = None if line.lstrip().startswith("#") else _URL.search(line)
            if found:
                return found[0].rstrip("/")
    return MIRROR


def _run(program: str, suite: str, root: Path, mirror: str, report: Report) -> None:
    """Run debootstrap, its lines to ``report`` as they come."""
    command = [program, "--variant=minbase", "--merged-usr", suite, str(root), mirror]
    lines: list[str] = []
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, errors="replace",
    ) as process:  # fmt: skip
        try:
            for line in process.stdout or ():
                lines.append(line.rstrip())
                report(Notice(message=lines[-1]))
        except BaseException:
            process.terminate()
            raise
    if process.returncode:
        tail = "\n".join(lines[-_TAIL:])
        raise Unavailable(
            f"debootstrap {suite} from {mirror} failed with code {process.returncode}:\n{tail}",
            hint="is the mirror reachable, and does it have this release?",
        )
