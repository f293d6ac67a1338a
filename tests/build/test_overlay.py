"""What was written without a mount looks the same through the kernel's overlayfs."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Callable
from typing import Any

import pytest

pytestmark = pytest.mark.kernel

TEXT = """\
FROM scratch
COPY dir /usr/lib
COPY . /ctx/
RUN write /usr/lib/own 1
COPY a.txt /usr/lib/sub/deep/
COPY --link b.txt /usr/lib/linked/
COPY --chmod=700 dir /ctx/dir
WORKDIR /usr/lib/sub/work
"""


def test_the_kernel_sees_what_we_see(bench: Any, require: Callable[[object, str], None]) -> None:
    context = bench.context({"a.txt": "a", "b.txt": "b", "dir/x": "x", "dir/sub/y": "y"})
    (context / "link").symlink_to("dir")
    built = bench.build(TEXT, context=context)
    (mount,) = bench.parts.snapshotter.view("look", built.image.chain_id)
    target = bench.root / "mnt"
    target.mkdir()
    script = (
        f"mount -t overlay overlay -o {shlex.quote(','.join(mount.options))} {target} && "
        f"cd {target} && find . -mindepth 1 -printf '%m %U:%G %y %P %l\\n'"
    )
    run = subprocess.run(
        ["unshare", "-m", "sh", "-c", script], capture_output=True, text=True, check=False
    )
    require(run.returncode == 0, f"overlayfs cannot be mounted here: {run.stderr.strip()}")
    ours = []
    for item in built.tree.walk(()):
        kind = "d" if item.is_dir else "l" if item.is_link else "f"
        status = item.status
        text = item.readlink() if item.is_link else ""
        owner = f"{status.st_uid}:{status.st_gid}"
        ours.append(f"{status.st_mode & 0o7777:o} {owner} {kind} {'/'.join(item.path)} {text}")
    assert sorted(run.stdout.splitlines()) == sorted(ours)
    bench.parts.snapshotter.remove("look")
