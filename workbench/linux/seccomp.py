"""System-call filters: an OCI ``seccomp`` section becomes a program of seccomp(2)."""

from __future__ import annotations

from collections.abc import Iterable

from workbench.oci.runtime_spec import Seccomp


def compile_filter(profile: Seccomp, machine: str | None = None) -> bytes:
    """The classic BPF program of ``profile`` for ``machine`` (``os.uname().machine`` if None).

    Plain bytes: an array of ``struct sock_filter`` that may be kept on disk and given to
    ``install``. Names of system calls that the machine does not have are left out. Raises
    Unsupported for SCMP_ACT_NOTIFY and unknown machines, InvalidInput for what makes no sense.
    """
    raise OSError(f"{profile} {machine}")


def install(program: bytes, flags: Iterable[str] = ()) -> None:
    """Put ``program`` over the calling thread, for good.

    Needs no_new_privs or CAP_SYS_ADMIN. ``flags`` are SECCOMP_FILTER_FLAG_* as in the profile.
    Raises OSError.
    """
    raise OSError(f"{program!r} {flags}")
