"""The text forms of Docker's flags: ``8080:80/udp``, ``data:/var/lib:ro``, ``512m``, ``1m30s``.

Pure functions from text to the values of ``options.py``. Each raises InvalidInput, in Docker's
words where Docker has some. Source: the reference pages of ``docker run``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from workbench.engine.options import (
    DeviceOption,
    MountOption,
    PortMapping,
    RestartPolicy,
    Ulimit,
)
from workbench.errors import InvalidInput

_SIZE: Final = re.compile(r"(\d+(?:\.\d+)?) *([kmgtp]?)i?b?", re.IGNORECASE)
_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)")
_UNITS: Final = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,
    "ms": 1_000_000,
    "s": 10**9,
    "m": 60 * 10**9,
    "h": 3600 * 10**9,
}
_PORT: Final = re.compile(
    r"(?:(?P<ip>\[[0-9a-fA-F:.%]+\]|\d+(?:\.\d+){3}):)?(?:(?P<host>\d*(?:-\d+)?):)?"
    r"(?P<container>\d+(?:-\d+)?)(?:/(?P<protocol>\w+))?"
)
_PROPAGATION: Final = {"shared", "rshared", "slave", "rslave", "private", "rprivate"}


def size(text: str) -> int:
    """Bytes out of ``512m``, ``1.5g``, ``100``; powers of 1024; ``-1`` passes through."""
    if text.strip() == "-1":
        return -1
    match = _SIZE.fullmatch(text.strip())
    if not match:
        raise InvalidInput(f"invalid size: '{text}'", hint="write a number with b, k, m or g")
    power = " kmgtp".index(match[2].lower() or " ")
    return int(float(match[1]) * 1024**power)


def duration(text: str) -> int:
    """Nanoseconds out of Go's form: ``1m30s``, ``500ms``, ``0``."""
    if text == "0":
        return 0
    parts = _DURATION.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise InvalidInput(f'time: invalid duration "{text}"', hint="write it as 30s or 1m30s")
    return int(sum(float(number) * _UNITS[unit] for number, unit in parts))


def ports(text: str) -> tuple[PortMapping, ...]:
    """``[[ip:][host]:]container[/protocol]``, with ranges of the same length on both sides."""
    match = _PORT.fullmatch(text)
    if not match:
        raise InvalidInput(
            f"invalid containerPort: {text}", hint="write it as HOST:CONTAINER, such as 8080:80"
        )
    protocol = (match["protocol"] or "tcp").lower()
    if protocol not in ("tcp", "udp", "sctp"):
        raise InvalidInput(f"invalid proto: {protocol}")
    inner = _port_range(match["container"])
    outer = _port_range(match["host"]) if match["host"] else [0] * len(inner)
    if len(outer) != len(inner):
        if len(inner) != 1:
            raise InvalidInput(
                f"invalid ranges specified for container and host Ports: {match['container']} and "
                f"{match['host']}"
            )
        outer = outer[:1]
    address = (match["ip"] or "").strip("[]")
    return tuple(
        PortMapping(container_port=port, host_port=host, host_ip=address, protocol=protocol)
        for port, host in zip(inner, outer, strict=True)
    )


def _port_range(text: str) -> list[int]:
    first, _, last = text.partition("-")
    numbers = range(int(first or 0), int(last or first or 0) + 1)
    if not numbers or numbers[-1] > 65535:
        raise InvalidInput(f"invalid port range: {text}")
    return list(numbers)


def volume(text: str, *, base: Path) -> MountOption:
    """``-v``: ``[source:]target[:options]``; a source with a slash is a path, relative to ``base``.

    A path that is missing is made, as Docker does for ``-v`` (not for ``--mount``).
    """
    parts = text.split(":")
    if not 1 <= len(parts) <= 3 or not all(parts):
        raise InvalidInput(f"invalid volume specification: '{text}'")
    source, target = ("", parts[0]) if len(parts) == 1 else (parts[0], parts[1])
    flags = parts[2].split(",") if len(parts) == 3 else []
    if not target.startswith("/"):
        raise InvalidInput(
            f"invalid volume specification: '{text}': invalid mount config for type"
            f" \"volume\": invalid mount path: '{target}' mount path must be absolute"
        )
    bind = "/" in source or source.startswith((".", "~"))
    _check_flags(flags, text)
    return MountOption(
        type="bind" if bind else "volume",
        source=str((base / Path(source).expanduser()).absolute()) if bind else source,
        target=target,
        readonly="ro" in flags or "readonly" in flags,
        propagation=next((flag for flag in flags if flag in _PROPAGATION), ""),
        nocopy="nocopy" in flags,
        create_source=bind,
    )


def _check_flags(flags: Iterable[str], text: str) -> None:
    known = {"ro", "rw", "readonly", "z", "Z", "nocopy", "consistent", "cached", "delegated"}
    for flag in flags:
        if flag not in known | _PROPAGATION:
            raise InvalidInput(f"invalid volume specification: '{text}': invalid mode: {flag}")


def mount(text: str, *, base: Path) -> MountOption:
    """``--mount``: ``type=bind,source=...,target=...`` and its other keys."""
    fields: dict[str, str] = {}
    driver_opts: dict[str, str] = {}
    for part in text.split(","):
        name, equals, value = part.partition("=")
        name = _MOUNT_KEYS.get(name.strip().lower(), "")
        if not name:
            raise InvalidInput(f"unexpected key '{part.partition('=')[0]}' in '{part}'")
        if name == "volume-opt":
            option, _, setting = value.partition("=")
            driver_opts[option] = setting
        else:
            fields[name] = value if equals else "true"
    kind = fields.get("type", "volume")
    source = fields.get("source", "")
    if kind not in ("bind", "volume", "tmpfs"):
        raise InvalidInput(f"invalid mount config: mount type unknown: '{kind}'")
    if "target" not in fields:
        raise InvalidInput(
            f'invalid mount config for type "{kind}": field Target must not be empty'
        )
    if kind == "bind" and not source:
        raise InvalidInput('invalid mount config for type "bind": field Source must not be empty')
    return MountOption(
        type=kind,
        source=str((base / source).absolute()) if kind == "bind" else source,
        target=fields["target"],
        readonly=_truth(fields.get("readonly", "false")),
        propagation=fields.get("bind-propagation", ""),
        nocopy=_truth(fields.get("volume-nocopy", "false")),
        subpath=fields.get("volume-subpath", ""),
        size=size(fields["tmpfs-size"]) if "tmpfs-size" in fields else None,
        mode=int(fields["tmpfs-mode"], 8) if "tmpfs-mode" in fields else None,
        driver_opts=driver_opts,
    )


_MOUNT_KEYS: Final = {
    "type": "type",
    "source": "source",
    "src": "source",
    "target": "target",
    "destination": "target",
    "dst": "target",
    "readonly": "readonly",
    "ro": "readonly",
    "bind-propagation": "bind-propagation",
    "volume-nocopy": "volume-nocopy",
    "volume-subpath": "volume-subpath",
    "volume-opt": "volume-opt",
    "tmpfs-size": "tmpfs-size",
    "tmpfs-mode": "tmpfs-mode",
    "consistency": "consistency",
}


def _truth(text: str) -> bool:
    if text.lower() not in ("true", "false", "1", "0"):
        raise InvalidInput(f"invalid boolean value: '{text}'")
    return text.lower() in ("true", "1")


def tmpfs(text: str) -> MountOption:
    """``--tmpfs``: ``target[:size=...,mode=...]``."""
    target, _, flags = text.partition(":")
    settings = dict(flag.partition("=")[::2] for flag in flags.split(",") if flag)
    return MountOption(
        type="tmpfs",
        target=target,
        readonly="ro" in settings,
        size=size(settings["size"]) if "size" in settings else None,
        mode=int(settings["mode"], 8) if "mode" in settings else None,
    )


def device(text: str) -> DeviceOption:
    """``--device``: ``source[:target][:permissions]``."""
    parts = text.split(":")
    if not 1 <= len(parts) <= 3 or not all(parts):
        raise InvalidInput(f"invalid device specification: {text}")
    target, permissions = parts[0], "rwm"
    if len(parts) == 2 and set(parts[1]) <= set("rwm"):
        permissions = parts[1]
    elif len(parts) > 1:
        target = parts[1]
    return DeviceOption(
        source=parts[0], target=target, permissions=parts[2] if len(parts) == 3 else permissions
    )


def ulimit(text: str) -> Ulimit:
    """``--ulimit``: ``name=soft[:hard]``."""
    name, equals, value = text.partition("=")
    soft, _, hard = value.partition(":")
    numbers = [part.lstrip("-") for part in (soft, hard or soft)]
    if not equals or not all(number.isdecimal() for number in numbers):
        raise InvalidInput(f"invalid ulimit argument: {text}")
    return Ulimit(name=name, soft=int(soft), hard=int(hard or soft))


def restart(text: str) -> RestartPolicy:
    """``--restart``: ``no``, ``always``, ``unless-stopped``, ``on-failure[:N]``."""
    name, colon, maximum = (text or "no").partition(":")
    if name not in ("no", "always", "unless-stopped", "on-failure"):
        raise InvalidInput(f"invalid restart policy: unknown policy '{name}'")
    if colon and (name != "on-failure" or not maximum.isdecimal()):
        raise InvalidInput(f"invalid restart policy: '{text}' takes no maximum retry count")
    return RestartPolicy(name=name, maximum=int(maximum or 0))


def pairs(entries: Iterable[str]) -> dict[str, str]:
    """``key=value`` entries; a key alone has an empty value."""
    return dict(entry.partition("=")[::2] for entry in entries)


def env_file(path: Path) -> tuple[str, ...]:
    """``--env-file``: a line each, ``#`` comments, no quoting."""
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"open {path}: {getattr(error, 'strerror', error)}") from error
    stripped = (line.lstrip() for line in lines)
    entries = tuple(line for line in stripped if line and not line.startswith("#"))
    for entry in entries:
        name = entry.partition("=")[0]
        if not name or any(letter.isspace() for letter in name):
            raise InvalidInput(f"poorly formatted environment: variable '{name}' in {path}")
    return entries


def environment(entries: Iterable[str], host: dict[str, str]) -> tuple[str, ...]:
    """``-e NAME`` takes the value of the caller's own environment, or nothing where it has none."""
    found = []
    for entry in entries:
        name, equals, _ = entry.partition("=")
        if not name:
            raise InvalidInput(f"invalid environment variable: {entry}")
        if equals:
            found.append(entry)
        elif name in host:
            found.append(f"{name}={host[name]}")
    return tuple(found)


def build_args(entries: Iterable[str], host: Mapping[str, str]) -> dict[str, str]:
    """``--build-arg``: ``KEY=VALUE``, or ``KEY`` for the value of the caller's environment."""
    return pairs(environment(entries, dict(host)))
