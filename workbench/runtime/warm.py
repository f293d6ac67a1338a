"""What a process that makes many containers can do once, before the first.

A launcher calls this and forks afterwards: its children find modules loaded, types resolved and
the usual filter compiled.
"""

from __future__ import annotations

import contextlib
import os

from workbench.errors import WorkbenchError
from workbench.linux import capabilities, cgroup, seccomp
from workbench.oci.runtime_spec import Spec
from workbench.runtime.example import example
from workbench.runtime.profile import default_seccomp


def warm() -> None:
    """Load and compute what ``create`` and ``execute`` use. Never raises; changes nothing."""
    Spec.parse(example().to_bytes())
    cgroup.driver()
    kernel = os.uname()
    major, _, rest = kernel.release.partition(".")
    minor = rest.partition(".")[0]
    if not (major.isdigit() and minor.isdigit()):
        return
    with contextlib.suppress(WorkbenchError):  # told when a container asks for a filter
        profile = default_seccomp(capabilities.DEFAULT, kernel.machine, (int(major), int(minor)))
        seccomp.compile_filter(profile)
