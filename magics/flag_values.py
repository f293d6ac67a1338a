"""Values of Docker's flags as text -> typed values: sizes, ports, mounts, times.

Source: the reference of ``docker run``. Everything raises InvalidInput with the flag's name.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from workbench import DeviceOption, MountOption, PortMapping, RestartPolicy, Ulimit
from workbench.errors import InvalidInput

_SIZE: Final = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(?:i?b)?", re.IGNORECASE)
_POWER: Final = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}
_TIME: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)")
_MILLISECONDS: Final = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000}
_PROPAGATION: Final = {"private", "rprivate", "shared", "rshared", "slave", "rslave"}


def size(text: str | None, flag: str) -> int | None:
    """Bytes of ``512m`` (binary units, as Docker's limits have them); -1 means no limit."""
    if text is None:
        return None
    if text == "-1":
        return -1
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise InvalidInput(f"{flag} {text!r}: expected a size such as 512m or 2g")
    return int(float(match[1]) * 1024 ** _POWER[match[2].lower()])


def milliseconds(text: str | None) -> int:
    """Go's durations such as ``1m30s``; 0 where nothing is given."""
    if not text:
        return 0
    found = list(_TIME.finditer(text))
    if "".join(match[0] for match in found) != text:
        raise InvalidInput(f"{text!r} is no duration: expected one such as 500ms, 5s or 1m30s")
    return int(sum(float(match[1]) * _MILLISECONDS[match[2]] for match in found))


def ports(text: str) -> tuple[PortMapping, ...]:
    """``[[IP:]HOST:]PORT[/PROTOCOL]``, each port possibly a range."""
    rest, _, protocol = text.partition("/")
    head, _, inner = rest.rpartition(":")
    ip, _, outer = head.rpartition(":")
    inside = _port_range(inner, text)
    outside = _port_range(outer, text) if outer else [0] * len(inside)
    if len(inside) != len(outside):
        raise InvalidInput(f"--publish {text!r}: the two ranges differ in length")
    if (protocol or "tcp") not in ("tcp", "udp", "sctp"):
        raise InvalidInput(f"--publish {text!r}: {protocol!r} is none of tcp, udp, sctp")
    return tuple(
        PortMapping(
            container_port=port, host_port=host, host_ip=ip.strip("[]"), protocol=protocol or "tcp"
        )
        for port, host in zip(inside, outside, strict=True)
    )


def _port_range(text: str, whole: str) -> list[int]:
    first, _, last = text.partition("-")
    try:
        found = list(range(int(first), int(last or first) + 1))
    except ValueError:
        found = []
    if not found or not 0 < found[0] <= found[-1] < 65536:
        raise InvalidInput(
            f"--publish {whole!r}: expected [[IP:]HOST_PORT:]CONTAINER_PORT",
            hint="for example -p 8080:80",
        )
    return found


def volume(text: str) -> MountOption:
    """``[SOURCE:]TARGET[:OPTIONS]``: a path is a bind mount, a name a volume."""
    pieces = text.split(":")
    if len(pieces) > 3 or not pieces[-1] or not all(pieces[:2]):
        raise InvalidInput(f"--volume {text!r}: expected [SOURCE:]TARGET[:OPTIONS]")
    if len(pieces) == 1:
        return MountOption(type="volume", target=_target(text, text))
    source, target = pieces[:2]
    words = set(pieces[2].split(",")) if len(pieces) == 3 else set()
    unknown = words - _PROPAGATION - {"ro", "rw", "z", "Z", "nocopy"}
    if unknown:
        raise InvalidInput(f"--volume {text!r}: unknown option {sorted(unknown)[0]!r}")
    bind = source.startswith(("/", ".", "~"))
    return MountOption(
        type="bind" if bind else "volume",
        source=_path(source) if bind else source,
        target=_target(target, text),
        readonly="ro" in words,
        propagation=next(iter(sorted(words & _PROPAGATION)), ""),
        nocopy="nocopy" in words,
        create_source=bind,
    )


def _path(text: str) -> str:
    return str(Path(text).expanduser().absolute())


def _target(path: str, whole: str) -> str:
    if not path.startswith("/"):
        raise InvalidInput(
            f"{whole!r}: the place in the container must be an absolute path, not {path!r}"
        )
    return path


def mount(text: str) -> MountOption:
    """``type=bind,source=…,target=…,readonly``, with Docker's other names of the same keys."""
    given = dict(_mount_pairs(text))
    kind = given.get("type", "volume")
    if kind not in ("bind", "volume", "tmpfs"):
        raise InvalidInput(f"--mount {text!r}: type is bind, volume or tmpfs, not {kind!r}")
    if "target" not in given:
        raise InvalidInput(f"--mount {text!r}: target is missing")
    source = given.get("source", "")
    if kind == "bind" and not source:
        raise InvalidInput(f"--mount {text!r}: source is missing")
    return MountOption(
        type=kind,
        source=_path(source) if kind == "bind" else source,
        target=_target(given["target"], text),
        readonly=given.get("readonly", "false") in ("true", "1", ""),
        propagation=given.get("bind-propagation", ""),
        nocopy=given.get("volume-nocopy", "false") in ("true", "1", ""),
        subpath=given.get("volume-subpath", ""),
        size=size(given.get("tmpfs-size"), "--mount tmpfs-size"),
        mode=_mode(given.get("tmpfs-mode"), text),
    )


_ALIASES: Final = {"src": "source", "dst": "target", "destination": "target", "ro": "readonly"}
_KEYS: Final = {
    "type", "source", "target", "readonly", "bind-propagation", "volume-nocopy", "volume-subpath",
    "tmpfs-size", "tmpfs-mode",
}  # fmt: skip


def _mount_pairs(text: str) -> list[tuple[str, str]]:
    found = []
    for piece in text.split(","):
        key, _, value = piece.partition("=")
        key = _ALIASES.get(key, key)
        if key not in _KEYS:
            raise InvalidInput(f"--mount {text!r}: unknown key {key!r}")
        found.append((key, value))
    return found


def _mode(text: str | None, whole: str) -> int | None:
    if text is None:
        return None
    try:
        return int(text, 8)
    except ValueError as error:
        raise InvalidInput(f"{whole!r}: {text!r} is no octal file mode") from error


def tmpfs(text: str) -> MountOption:
    """``TARGET[:size=…,mode=…]``."""
    target, _, words = text.partition(":")
    given = dict(word.partition("=")[::2] for word in words.split(",") if word)
    return MountOption(
        type="tmpfs",
        target=_target(target, text),
        readonly="ro" in given,
        size=size(given.get("size"), "--tmpfs size"),
        mode=_mode(given.get("mode"), text),
    )


def device(text: str) -> DeviceOption:
    """``SOURCE[:TARGET][:rwm]``."""
    source, *rest = text.split(":")
    if not source or len(rest) > 2:
        raise InvalidInput(f"--device {text!r}: expected SOURCE[:TARGET][:rwm]")
    permissions = "rwm"
    if rest and rest[-1] and set(rest[-1]) <= set("rwm"):
        permissions = rest.pop()
    return DeviceOption(source=source, target=rest[0] if rest else "", permissions=permissions)


def ulimit(text: str) -> Ulimit:
    """``NAME=SOFT[:HARD]``."""
    match = re.fullmatch(r"([a-z]+)=(-?\d+)(?::(-?\d+))?", text)
    if match is None:
        raise InvalidInput(f"--ulimit {text!r}: expected NAME=SOFT[:HARD]")
    return Ulimit(name=match[1], soft=int(match[2]), hard=int(match[3] or match[2]))


def restart(text: str) -> RestartPolicy:
    """``no``, ``always``, ``unless-stopped``, ``on-failure[:N]``."""
    name, _, count = text.partition(":")
    if name not in ("no", "always", "unless-stopped", "on-failure") or (
        count and (name != "on-failure" or not count.isdigit())
    ):
        raise InvalidInput(
            f"--restart {text!r}: expected no, always, unless-stopped or on-failure[:N]"
        )
    return RestartPolicy(name=name, maximum=int(count or 0))
