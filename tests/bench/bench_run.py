"""What a container costs: create to removal of ``true``, beside the kernel's own floor; imports.

Run it as root: ``python tests/bench/bench_run.py``. Times are milliseconds.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from workbench import Config, Engine, RunOptions

_FLOOR = (
    "mount -t overlay overlay -o lowerdir={lower},upperdir={upper},workdir={work} {root}"
    " && exec chroot {root} /bin/true"
)


def figures(act: Callable[[], object], runs: int) -> tuple[float, float, float]:
    """Median, 10th and 90th percentile of a call, after three that do not count."""
    for _ in range(3):
        act()
    spent = []
    for _ in range(runs):
        began = time.perf_counter()
        act()
        spent.append((time.perf_counter() - began) * 1000)
    tenths = statistics.quantiles(spent, n=10)
    return statistics.median(spent), tenths[0], tenths[-1]


def floor(lower: Path, scratch: Path) -> Callable[[], object]:
    """``unshare -mnpuif`` with an overlay mount and chroot, each time on fresh directories."""
    count = 0

    def run() -> None:
        nonlocal count
        count += 1
        place = scratch / str(count)
        for name in ("upper", "work", "root"):
            (place / name).mkdir(parents=True)
        script = _FLOOR.format(
            lower=lower, upper=place / "upper", work=place / "work", root=place / "root"
        )
        subprocess.run(["unshare", "-mnpuif", "/bin/busybox", "sh", "-c", script], check=True)

    return run


def imports(code: str) -> float:
    """Milliseconds that ``code`` needs in a fresh interpreter, beyond the interpreter's start."""
    timed = f"import time; began = time.perf_counter(); {code}; "
    timed += "import sys; sys.stdout.write(str((time.perf_counter() - began) * 1000))"
    runs = [
        float(subprocess.run([sys.executable, "-c", timed], capture_output=True, check=True).stdout)
        for _ in range(7)
    ]
    return statistics.median(runs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=50)
    runs = parser.parse_args().runs
    out = sys.stdout
    machine = f"{platform.platform()}, {os.cpu_count()} processors"
    out.write(f"{machine}, Python {platform.python_version()}\n")
    with (
        tempfile.TemporaryDirectory() as folder,
        Engine.open(Config.load(root=Path(folder) / "root")) as engine,
    ):
        engine.images.base("toolbox")
        bare = floor(Path(folder) / "root/snapshots/1/fs", Path(folder) / "floor")
        options = RunOptions(image="toolbox", command=["true"], network="none", remove=True)
        rows = [
            ("floor: unshare, overlay, chroot", figures(bare, runs)),
            ("run --rm, network none", figures(lambda: engine.containers.run(options), runs)),
        ]
    for name, (median, low, high) in rows:
        out.write(f"{name:<34} median {median:6.1f}   p10 {low:6.1f}   p90 {high:6.1f}\n")
    out.write(f"{'ratio of the medians':<34} {rows[1][1][0] / rows[0][1][0]:13.2f}\n")
    out.write(f"{'import magics':<34} median {imports('import magics'):6.1f}\n")
    shell = "from IPython.core.interactiveshell import InteractiveShell as S; s = S.instance()"
    load = imports(f"{shell}; began = time.perf_counter(); s.run_line_magic('load_ext', 'magics')")
    out.write(f"{'%load_ext magics':<34} median {load:6.1f}\n")


if __name__ == "__main__":
    main()
