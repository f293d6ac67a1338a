"""Parsed flags of ``docker run`` -> ``RunOptions``. Pure, but for the reading of ``--env-file``."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import Any

from magics.flag_values import (
    device,
    milliseconds,
    mount,
    ports,
    restart,
    size,
    tmpfs,
    ulimit,
    volume,
)
from magics.grammar import pairs
from workbench import (
    EndpointOptions,
    Healthcheck,
    LogOptions,
    NamespaceOptions,
    NetworkOptions,
    ResourceOptions,
    RunOptions,
    SecurityOptions,
)
from workbench.errors import InvalidInput


def options_of(given: Namespace) -> RunOptions:
    """What the flags ask for. Raises InvalidInput that names the flag and what was expected."""
    return RunOptions(
        image=given.image,
        command=tuple(given.command) or None,
        entrypoint=_entrypoint(given.entrypoint),
        name=given.name or "",
        detach=given.detach,
        interactive=given.interactive,
        tty=given.tty,
        remove=given.rm,
        env=(*_env_files(given.env_file), *given.env),
        working_dir=given.workdir or "",
        user=given.user or "",
        group_add=tuple(given.group_add),
        labels=pairs(given.label, "--label"),
        mounts=_mounts(given),
        volumes_from=tuple(given.volumes_from),
        network=_network(given),
        resources=_resources(given),
        security=_security(given),
        namespaces=_namespaces(given),
        devices=tuple(map(device, given.device)),
        ulimits=tuple(map(ulimit, given.ulimit)),
        sysctls=pairs(given.sysctl, "--sysctl"),
        init=given.init,
        healthcheck=_healthcheck(given),
        no_healthcheck=given.no_healthcheck,
        **_where_given(given),
    )


def _where_given(given: Namespace) -> dict[str, Any]:
    """Options whose default is better left to ``RunOptions``."""
    found: dict[str, Any] = {
        "shm_size": size(given.shm_size, "--shm-size"),
        "restart": restart(given.restart) if given.restart else None,
        "stop_signal": given.stop_signal,
        "stop_timeout": given.stop_timeout,
        "oom_score_adj": given.oom_score_adj,
        "platform": given.platform,
        "pull": given.pull,
    }
    if given.log_driver or given.log_opt:
        found["log"] = LogOptions(
            driver=given.log_driver or "json-file", options=pairs(given.log_opt, "--log-opt")
        )
    return {name: value for name, value in found.items() if value is not None}


def _entrypoint(text: str | None) -> tuple[str, ...] | None:
    """Empty text clears the image's entry point, as Docker has it."""
    if text is None:
        return None
    return (text,) if text else ()


def _env_files(names: list[str]) -> tuple[str, ...]:
    lines: list[str] = []
    for name in names:
        try:
            text = Path(name).expanduser().read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidInput(f"--env-file {name}: {error}") from error
        stripped = (line.strip() for line in text.splitlines())
        lines += [line for line in stripped if line and not line.startswith("#")]
    return tuple(lines)


def _mounts(given: Namespace) -> tuple[Any, ...]:
    return (
        *map(volume, given.volume),
        *map(mount, given.mount),
        *map(tmpfs, given.tmpfs),
    )


def _network(given: Namespace) -> NetworkOptions:
    mode = given.network or "bridge"
    endpoint = EndpointOptions(
        network=mode,
        ipv4=given.ip or "",
        ipv6=given.ip6 or "",
        aliases=tuple(given.network_alias),
    )
    special = endpoint != EndpointOptions(network=mode)
    return NetworkOptions(
        mode=mode,
        endpoints=(endpoint,) if special else (),
        ports=tuple(port for text in given.publish for port in ports(text)),
        publish_all=given.publish_all,
        expose=tuple(given.expose),
        hostname=given.hostname or "",
        domainname=given.domainname or "",
        dns=tuple(given.dns),
        dns_search=tuple(given.dns_search),
        dns_options=tuple(given.dns_option),
        extra_hosts=tuple(given.add_host),
        mac=given.mac_address or "",
        links=tuple(given.link),
    )


def _resources(given: Namespace) -> ResourceOptions:
    if given.cpus is not None and given.cpus <= 0:
        raise InvalidInput(f"--cpus {given.cpus}: expected a number above 0")
    return ResourceOptions(
        memory=size(given.memory, "--memory"),
        memory_swap=size(given.memory_swap, "--memory-swap"),
        memory_reservation=size(given.memory_reservation, "--memory-reservation"),
        oom_kill_disable=given.oom_kill_disable,
        cpus=given.cpus,
        cpu_shares=given.cpu_shares,
        cpuset_cpus=given.cpuset_cpus or "",
        pids_limit=given.pids_limit,
    )


def _security(given: Namespace) -> SecurityOptions:
    return SecurityOptions(
        privileged=given.privileged,
        cap_add=tuple(given.cap_add),
        cap_drop=tuple(given.cap_drop),
        options=tuple(given.security_opt),
        readonly_rootfs=given.read_only,
    )


def _namespaces(given: Namespace) -> NamespaceOptions:
    return NamespaceOptions(
        pid=given.pid or "",
        ipc=given.ipc or "",
        uts=given.uts or "",
        userns=given.userns or "",
        cgroupns=given.cgroupns or "",
    )


def _healthcheck(given: Namespace) -> Healthcheck | None:
    if given.health_cmd is None:
        return None
    return Healthcheck(
        test=("CMD-SHELL", given.health_cmd),
        interval=milliseconds(given.health_interval) * 1_000_000,
        timeout=milliseconds(given.health_timeout) * 1_000_000,
        start_period=milliseconds(given.health_start_period) * 1_000_000,
        retries=given.health_retries or 0,
    )
