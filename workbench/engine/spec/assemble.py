"""The whole specification, put together from its sections."""

from __future__ import annotations

import json
from pathlib import Path

from workbench.engine.options import RunOptions
from workbench.engine.spec.inputs import Inputs
from workbench.engine.spec.mounts import mounts
from workbench.engine.spec.process import granted, process
from workbench.engine.spec.resources import devices, resources
from workbench.errors import InvalidInput
from workbench.oci import codec
from workbench.oci.descriptor import Platform
from workbench.oci.runtime_spec import IDMapping, Linux, Namespace, Root, Seccomp, Spec
from workbench.runtime import profile


def assemble(inputs: Inputs) -> Spec:
    """The specification of one container. Raises InvalidInput and Unsupported."""
    options = inputs.options
    return Spec(
        root=Root(path="rootfs", readonly=options.security.readonly_rootfs),
        hostname=inputs.hostname if inputs.joined.uts == "" else "",
        domainname=options.networking.domainname if inputs.joined.uts == "" else "",
        process=process(inputs),
        mounts=mounts(inputs),
        annotations=options.annotations,
        linux=_linux(inputs),
    )


def _linux(inputs: Inputs) -> Linux:
    options = inputs.options
    privileged = options.security.privileged
    unmasked = privileged or "systempaths=unconfined" in options.security.options
    return Linux(
        namespaces=_namespaces(inputs),
        uid_mappings=_mappings(inputs, inputs.host.subuid),
        gid_mappings=_mappings(inputs, inputs.host.subgid),
        devices=devices(options),
        cgroups_path=f"{options.cgroup_parent or inputs.cgroup_parent}/{inputs.id}",
        resources=resources(inputs),
        rootfs_propagation=_propagation(inputs),
        seccomp=seccomp(options, inputs),
        sysctl=options.sysctls,
        masked_paths=() if unmasked else profile.MASKED_PATHS,
        readonly_paths=() if unmasked else profile.READONLY_PATHS,
    )


def _namespaces(inputs: Inputs) -> tuple[Namespace, ...]:
    joined = inputs.joined
    wanted = {
        "mount": "",
        "pid": joined.pid,
        "ipc": joined.ipc,
        "uts": joined.uts,
        "network": joined.network,
        "cgroup": joined.cgroup,
        "user": "" if inputs.host.rootless else None,
    }
    return tuple(
        Namespace(type=name, path=path) for name, path in wanted.items() if path is not None
    )


def _mappings(inputs: Inputs, mapped: tuple[IDMapping, ...]) -> tuple[IDMapping, ...]:
    """Root inside is the user outside; other ids are subordinate ones where there are any."""
    return mapped if inputs.host.rootless else ()


def _propagation(inputs: Inputs) -> str:
    shared = {option for mount in inputs.mounts for option in mount.options}
    if shared & {"shared", "rshared"}:
        return "shared"
    return "rslave" if shared & {"slave", "rslave"} else "rprivate"


def seccomp(options: RunOptions, inputs: Inputs) -> Seccomp | None:
    """Docker's default filter, the one of a file, or none where that was asked for."""
    if options.security.privileged:
        return None
    for option in options.security.options:
        name, _, value = option.replace(":", "=", 1).partition("=")
        if name == "seccomp" and value == "unconfined":
            return None
        if name == "seccomp" and value != "builtin":
            return _seccomp_of(value)
    release = inputs.host.kernel.split(".")
    return profile.default_seccomp(
        granted(options), Platform.host().architecture, (int(release[0]), int(release[1]))
    )


def _seccomp_of(value: str) -> Seccomp:
    """A profile from JSON text or, when it does not look like JSON, from a file of that name."""
    text = value
    if not value.lstrip().startswith("{"):
        try:
            text = Path(value).read_text("utf-8")
        except OSError as error:
            raise InvalidInput(
                f"opening seccomp profile ({value}) failed: {error.strerror}"
            ) from error
    tree = json.loads(text)
    tree.pop("archMap", None)
    return codec.decode(Seccomp, tree, "seccomp profile")  # type: ignore[no-any-return]
