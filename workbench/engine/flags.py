"""``docker run``'s flags as one table, from which every skin makes its parser.

The command line (click) and the magics (argparse) turn ``FLAGS`` into their own options, collect
what the user wrote into a mapping by ``Flag.key``, and hand it to ``run_options``. Flags that the
engine knows and refuses (``--gpus``) stand here too, so that they are refused with a reason.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from workbench.engine import forms
from workbench.engine.options import (
    EndpointOptions,
    LogOptions,
    MountOption,
    NamespaceOptions,
    NetworkOptions,
    ResourceOptions,
    RestartPolicy,
    RunOptions,
    SecurityOptions,
)
from workbench.errors import InvalidInput, Unsupported
from workbench.oci.image import Healthcheck

Kind = Literal["switch", "text", "number", "fraction", "list"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Flag:
    """One flag. ``key`` names it in the mapping; ``kind`` says what follows it."""

    names: tuple[str, ...]
    key: str
    kind: Kind
    help: str
    metavar: str = ""


def _flag(names: str, kind: Kind, help: str, metavar: str = "") -> Flag:
    parts = tuple(names.split())
    key = next(part for part in parts if part.startswith("--"))[2:].replace("-", "_")
    return Flag(names=parts, key=key, kind=kind, help=help, metavar=metavar)


FLAGS: Final[tuple[Flag, ...]] = (
    _flag("--add-host", "list", "Add a line to /etc/hosts", "HOST:IP"),
    _flag("--annotation", "list", "Add an annotation to the OCI specification", "KEY=VALUE"),
    _flag("--blkio-weight", "number", "Share of block I/O, 10 to 1000"),
    _flag("--cap-add", "list", "Add a Linux capability", "CAP"),
    _flag("--cap-drop", "list", "Drop a Linux capability", "CAP"),
    _flag("--cgroup-parent", "text", "Parent cgroup of the container", "PATH"),
    _flag("--cgroupns", "text", "Cgroup namespace: host or private", "MODE"),
    _flag("--cpu-period", "number", "CFS period in microseconds"),
    _flag("--cpu-quota", "number", "CFS quota in microseconds"),
    _flag("--cpu-rt-period", "number", "Real-time period in microseconds"),
    _flag("--cpu-rt-runtime", "number", "Real-time runtime in microseconds"),
    _flag("--cpu-shares -c", "number", "Relative weight of CPU time"),
    _flag("--cpus", "fraction", "Number of CPUs"),
    _flag("--cpuset-cpus", "text", "CPUs on which to run: 0-3, 0,1", "LIST"),
    _flag("--cpuset-mems", "text", "Memory nodes to use", "LIST"),
    _flag("--detach-keys", "text", "Keys that leave a container", "KEYS"),
    _flag("--device", "list", "Add a device of the host", "PATH[:PATH][:rwm]"),
    _flag("--device-read-bps", "list", "Limit bytes read per second", "PATH:RATE"),
    _flag("--device-read-iops", "list", "Limit reads per second", "PATH:RATE"),
    _flag("--device-write-bps", "list", "Limit bytes written per second", "PATH:RATE"),
    _flag("--device-write-iops", "list", "Limit writes per second", "PATH:RATE"),
    _flag("--dns", "list", "Name server", "IP"),
    _flag("--dns-option", "list", "Option of resolv.conf", "OPTION"),
    _flag("--dns-search", "list", "Search domain", "DOMAIN"),
    _flag("--domainname", "text", "NIS domain name", "NAME"),
    _flag("--entrypoint", "text", "Replace the image's ENTRYPOINT", "COMMAND"),
    _flag("--env -e", "list", "Set an environment variable", "NAME[=VALUE]"),
    _flag("--env-file", "list", "Read environment variables from a file", "FILE"),
    _flag("--expose", "list", "Expose a port without publishing it", "PORT"),
    _flag("--gpus", "text", "GPUs to add (not available)", "REQUEST"),
    _flag("--group-add", "list", "Add a group", "GROUP"),
    _flag("--health-cmd", "text", "Command that tests health", "COMMAND"),
    _flag("--health-interval", "text", "Time between tests", "DURATION"),
    _flag("--health-retries", "number", "Failures in a row until unhealthy"),
    _flag("--health-start-interval", "text", "Time between tests while starting", "DURATION"),
    _flag("--health-start-period", "text", "Time in which failures do not count", "DURATION"),
    _flag("--health-timeout", "text", "Time that one test may take", "DURATION"),
    _flag("--hostname -h", "text", "Host name of the container", "NAME"),
    _flag("--init", "switch", "Run an init that reaps processes"),
    _flag("--interactive -i", "switch", "Keep stdin open"),
    _flag("--ip", "text", "IPv4 address", "IP"),
    _flag("--ip6", "text", "IPv6 address", "IP"),
    _flag("--ipc", "text", "IPC namespace: host, private, container:NAME", "MODE"),
    _flag("--isolation", "text", "Isolation technology (only default)", "NAME"),
    _flag("--label -l", "list", "Set a label", "KEY=VALUE"),
    _flag("--label-file", "list", "Read labels from a file", "FILE"),
    _flag("--link", "list", "Add a link to another container", "NAME[:ALIAS]"),
    _flag("--log-driver", "text", "json-file, local or none", "NAME"),
    _flag("--log-opt", "list", "Option of the log driver", "KEY=VALUE"),
    _flag("--mac-address", "text", "MAC address", "MAC"),
    _flag("--memory -m", "text", "Memory limit", "BYTES"),
    _flag("--memory-reservation", "text", "Soft memory limit", "BYTES"),
    _flag("--memory-swap", "text", "Memory plus swap; -1 is without limit", "BYTES"),
    _flag("--memory-swappiness", "number", "How eagerly to swap, 0 to 100"),
    _flag("--mount", "list", "Attach a file system", "KEY=VALUE,..."),
    _flag("--name", "text", "Name of the container", "NAME"),
    _flag("--network --net", "text", "bridge, host, none, container:NAME or a network", "NAME"),
    _flag("--network-alias --net-alias", "list", "Another name within the network", "NAME"),
    _flag("--no-healthcheck", "switch", "Disable the image's HEALTHCHECK"),
    _flag("--oom-kill-disable", "switch", "Do not kill when memory runs out"),
    _flag("--oom-score-adj", "number", "Preference of the OOM killer, -1000 to 1000"),
    _flag("--pid", "text", "PID namespace: host or container:NAME", "MODE"),
    _flag("--pids-limit", "number", "Limit of processes; -1 is without limit"),
    _flag("--platform", "text", "Platform, such as linux/amd64", "PLATFORM"),
    _flag("--privileged", "switch", "Give all capabilities and devices"),
    _flag("--publish -p", "list", "Publish a port", "[IP:][HOST:]CONTAINER"),
    _flag("--publish-all -P", "switch", "Publish every exposed port"),
    _flag("--pull", "text", "missing, always or never", "WHEN"),
    _flag("--read-only", "switch", "Mount the root file system read-only"),
    _flag("--restart", "text", "no, always, unless-stopped, on-failure[:N]", "POLICY"),
    _flag("--rm", "switch", "Remove the container when it ends"),
    _flag("--runtime", "text", "Runtime (only the built-in one)", "NAME"),
    _flag("--security-opt", "list", "Security option", "OPTION"),
    _flag("--shm-size", "text", "Size of /dev/shm", "BYTES"),
    _flag("--stop-signal", "text", "Signal that stops it", "SIGNAL"),
    _flag("--stop-timeout", "number", "Seconds to wait before killing it"),
    _flag("--sysctl", "list", "Kernel parameter of its namespaces", "KEY=VALUE"),
    _flag("--tmpfs", "list", "Mount a tmpfs", "PATH[:OPTIONS]"),
    _flag("--tty -t", "switch", "Give it a terminal"),
    _flag("--ulimit", "list", "Limit of setrlimit(2)", "NAME=SOFT[:HARD]"),
    _flag("--user -u", "text", "User name or number", "USER[:GROUP]"),
    _flag("--userns", "text", "User namespace: host", "MODE"),
    _flag("--uts", "text", "UTS namespace: host", "MODE"),
    _flag("--volume -v", "list", "Bind a directory or use a volume", "[SOURCE:]TARGET[:ro]"),
    _flag("--volumes-from", "list", "Use the mounts of another container", "NAME"),
    _flag("--workdir -w", "text", "Working directory", "PATH"),
)

# Only ``run`` has it: ``create`` takes every other flag.
DETACH: Final = _flag("--detach -d", "switch", "Run in the background")


def run_options(
    values: Mapping[str, Any],
    image: str,
    command: Sequence[str] = (),
    *,
    environment: Mapping[str, str],
    base: Path,
) -> RunOptions:
    """What the user wrote as one value. Raises InvalidInput, or Unsupported for what is refused.

    ``environment`` is the caller's own, for ``-e NAME``; ``base`` resolves relative host paths.
    """
    _refuse(values)
    entrypoint = values.get("entrypoint")
    return RunOptions(
        image=image,
        command=tuple(command) or None,
        entrypoint=None if entrypoint is None else tuple(filter(None, [entrypoint])),
        name=values.get("name") or "",
        detach=bool(values.get("detach")),
        interactive=bool(values.get("interactive")),
        tty=bool(values.get("tty")),
        remove=bool(values.get("rm")),
        env=_environment(values, environment, base),
        working_dir=values.get("workdir") or "",
        user=values.get("user") or "",
        group_add=_list(values, "group_add"),
        labels=_labels(values, base),
        annotations=forms.pairs(_list(values, "annotation")),
        mounts=_mounts(values, base),
        volumes_from=_list(values, "volumes_from"),
        network=_network(values),
        resources=_resources(values),
        security=_security(values),
        namespaces=_namespaces(values),
        devices=tuple(forms.device(text) for text in _list(values, "device")),
        ulimits=tuple(forms.ulimit(text) for text in _list(values, "ulimit")),
        sysctls=forms.pairs(_list(values, "sysctl")),
        shm_size=forms.size(values["shm_size"]) if values.get("shm_size") else 64 * 1024**2,
        init=bool(values.get("init")),
        restart=_restart(values),
        stop_signal=values.get("stop_signal") or "",
        stop_timeout=values.get("stop_timeout"),
        healthcheck=_healthcheck(values),
        no_healthcheck=bool(values.get("no_healthcheck")),
        oom_score_adj=values.get("oom_score_adj"),
        log=_log(values),
        cgroup_parent=values.get("cgroup_parent") or "",
        platform=values.get("platform") or "",
        pull=values.get("pull") or "missing",
        runtime=values.get("runtime") or "",
        detach_keys=values.get("detach_keys") or "",
    )


def _refuse(values: Mapping[str, Any]) -> None:
    if values.get("gpus"):
        raise Unsupported(
            "could not select device driver: GPUs are not passed to containers here",
            hint="give the device nodes themselves with --device",
        )
    if values.get("isolation") not in (None, "", "default"):
        raise InvalidInput(f'invalid isolation "{values["isolation"]}": Linux has only "default"')
    if values.get("runtime") not in (None, "", "workbench"):
        raise InvalidInput(f"unknown or invalid runtime name: {values['runtime']}")
    if values.get("pull") not in (None, "", "missing", "always", "never"):
        raise InvalidInput(f"invalid pull option: '{values['pull']}'")


def _list(values: Mapping[str, Any], key: str) -> tuple[str, ...]:
    return tuple(values.get(key) or ())


def _environment(
    values: Mapping[str, Any], environment: Mapping[str, str], base: Path
) -> tuple[str, ...]:
    files = [entry for name in _list(values, "env_file") for entry in forms.env_file(base / name)]
    return forms.environment([*files, *_list(values, "env")], dict(environment))


def _labels(values: Mapping[str, Any], base: Path) -> dict[str, str]:
    files = [entry for name in _list(values, "label_file") for entry in forms.env_file(base / name)]
    return forms.pairs([*files, *_list(values, "label")])


def _mounts(values: Mapping[str, Any], base: Path) -> tuple[MountOption, ...]:
    return (
        *(forms.volume(text, base=base) for text in _list(values, "volume")),
        *(forms.mount(text, base=base) for text in _list(values, "mount")),
        *(forms.tmpfs(text) for text in _list(values, "tmpfs")),
    )


def _network(values: Mapping[str, Any]) -> NetworkOptions:
    mode = values.get("network") or "bridge"
    endpoint = EndpointOptions(
        network=mode,
        ipv4=values.get("ip") or "",
        ipv6=values.get("ip6") or "",
        mac=values.get("mac_address") or "",
        aliases=_list(values, "network_alias"),
        links=_list(values, "link"),
    )
    wanted = endpoint != EndpointOptions(network=mode)
    return NetworkOptions(
        mode=mode,
        endpoints=(endpoint,) if wanted else (),
        ports=tuple(port for text in _list(values, "publish") for port in forms.ports(text)),
        publish_all=bool(values.get("publish_all")),
        expose=_list(values, "expose"),
        hostname=values.get("hostname") or "",
        domainname=values.get("domainname") or "",
        dns=_list(values, "dns"),
        dns_search=_list(values, "dns_search"),
        dns_options=_list(values, "dns_option"),
        extra_hosts=_list(values, "add_host"),
        mac=values.get("mac_address") or "",
        links=_list(values, "link"),
    )


def _resources(values: Mapping[str, Any]) -> ResourceOptions:
    def sized(key: str) -> int | None:
        return forms.size(values[key]) if values.get(key) else None

    def rates(key: str) -> tuple[tuple[str, int], ...]:
        return tuple(_rate(text) for text in _list(values, key))

    return ResourceOptions(
        memory=sized("memory"),
        memory_swap=sized("memory_swap"),
        memory_reservation=sized("memory_reservation"),
        memory_swappiness=values.get("memory_swappiness"),
        oom_kill_disable=bool(values.get("oom_kill_disable")),
        cpus=values.get("cpus"),
        cpu_shares=values.get("cpu_shares"),
        cpu_period=values.get("cpu_period"),
        cpu_quota=values.get("cpu_quota"),
        cpu_rt_period=values.get("cpu_rt_period"),
        cpu_rt_runtime=values.get("cpu_rt_runtime"),
        cpuset_cpus=values.get("cpuset_cpus") or "",
        cpuset_mems=values.get("cpuset_mems") or "",
        pids_limit=values.get("pids_limit"),
        blkio_weight=values.get("blkio_weight"),
        device_read_bps=rates("device_read_bps"),
        device_write_bps=rates("device_write_bps"),
        device_read_iops=rates("device_read_iops"),
        device_write_iops=rates("device_write_iops"),
    )


def _rate(text: str) -> tuple[str, int]:
    path, colon, rate = text.rpartition(":")
    if not colon or not path.startswith("/dev/"):
        raise InvalidInput(f"bad format for path: {text}", hint="write it as /dev/sda:1mb")
    return path, forms.size(rate)


def _security(values: Mapping[str, Any]) -> SecurityOptions:
    return SecurityOptions(
        privileged=bool(values.get("privileged")),
        cap_add=_list(values, "cap_add"),
        cap_drop=_list(values, "cap_drop"),
        options=_list(values, "security_opt"),
        readonly_rootfs=bool(values.get("read_only")),
    )


def _namespaces(values: Mapping[str, Any]) -> NamespaceOptions:
    return NamespaceOptions(
        pid=values.get("pid") or "",
        ipc=values.get("ipc") or "",
        uts=values.get("uts") or "",
        userns=values.get("userns") or "",
        cgroupns=values.get("cgroupns") or "",
    )


def _restart(values: Mapping[str, Any]) -> RestartPolicy:
    policy = forms.restart(values.get("restart") or "no")
    if values.get("rm") and policy.name != "no":
        raise InvalidInput("conflicting options: cannot specify both --restart and --rm")
    return policy


def _healthcheck(values: Mapping[str, Any]) -> Healthcheck | None:
    command = values.get("health_cmd")
    check = Healthcheck(
        test=("CMD-SHELL", command) if command else (),
        interval=forms.duration(values.get("health_interval") or "0"),
        timeout=forms.duration(values.get("health_timeout") or "0"),
        start_period=forms.duration(values.get("health_start_period") or "0"),
        start_interval=forms.duration(values.get("health_start_interval") or "0"),
        retries=values.get("health_retries") or 0,
    )
    if check != Healthcheck() and values.get("no_healthcheck"):
        raise InvalidInput("--no-healthcheck conflicts with --health-* options")
    return check if check != Healthcheck() else None


def _log(values: Mapping[str, Any]) -> LogOptions:
    driver = values.get("log_driver") or "json-file"
    if driver not in ("json-file", "local", "none"):
        raise InvalidInput(
            f"logger: no log driver named '{driver}' is registered",
            hint="json-file, local and none are built in",
        )
    return LogOptions(driver=driver, options=forms.pairs(_list(values, "log_opt")))
