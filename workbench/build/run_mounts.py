"""The value of ``RUN --mount``: comma separated ``key=value``.

Source: Dockerfile reference, "RUN --mount".
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, TypeVar

from workbench.build.suggest import did_you_mean

T = TypeVar("T")

TYPES: Final = ("bind", "cache", "secret", "ssh", "tmpfs")
_SHARING: Final = ("locked", "private", "shared")
_KEYS: Final = (
    "type", "from", "source", "target", "readonly", "id", "sharing", "required", "size", "mode",
    "uid", "gid", "src", "dst", "destination", "ro", "rw", "readwrite", "env",
)  # fmt: skip
_TRUE: Final = {"1", "t", "T", "TRUE", "true", "True"}
_FALSE: Final = {"0", "f", "F", "FALSE", "false", "False"}
_SIZE: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?([kKmMgGtTpP]?)(?:[iI]?[bB])?")


class MountError(ValueError):
    """The value makes no sense; the message is Docker's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunMount:
    """One mount of a RUN step; ``size`` is bytes, ids and mode None where not given.

    ``readonly`` None means the type's default; ``env`` None means a file, "" the secret's own name.
    """

    type: str = "bind"
    from_: str = ""
    source: str = ""
    target: str = ""
    readonly: bool | None = None
    id: str = ""
    sharing: str = ""
    required: bool = False
    size: int = 0
    mode: int | None = None
    uid: int | None = None
    gid: int | None = None
    env: str | None = None

    @property
    def writable(self) -> bool:
        if self.readonly is None:
            return self.type in ("cache", "tmpfs")
        return not self.readonly


def check_mount(text: str) -> None:
    """What can be said before variables are known. Raises MountError."""
    for field in _fields(text):
        key, equals, value = field.partition("=")
        at = value.find("$")
        if equals and key.lower() == "from" and at not in (-1, len(value) - 1):
            raise MountError(
                "'from' doesn't support variable expansion, define alias stage instead"
            )


def origin_of(text: str) -> str:
    """The ``from`` of a mount, before variables are known."""
    pairs = [field.partition("=") for field in _fields(text)]
    return next((value for key, _, value in reversed(pairs) if key.lower() == "from"), "")


def parse_mount(text: str, expand: Callable[[str], str]) -> RunMount:
    """The mount. Raises MountError."""
    mount = RunMount()
    for field in _fields(text):
        key, equals, value = field.partition("=")
        key = key.lower()
        mount = _keyed(mount, key, expand(value), field) if equals else _bare(mount, key, field)
    _check(mount)
    return mount


def _fields(text: str) -> list[str]:
    try:
        return next(csv.reader([text], strict=True), [])
    except csv.Error as error:
        raise MountError(f"failed to parse csv mounts: {error}") from None


def _bare(mount: RunMount, key: str, field: str) -> RunMount:
    if key in ("readonly", "ro"):
        return replace(mount, readonly=True)
    if key in ("readwrite", "rw"):
        return replace(mount, readonly=False)
    if key == "required":
        return replace(mount, required=_only(mount, key, True, ("secret", "ssh")))
    raise MountError(f"invalid field '{field}' must be a key=value pair")


def _keyed(mount: RunMount, key: str, value: str, field: str) -> RunMount:
    match key:
        case "type":
            return replace(mount, type=_one_of(value, TYPES, "unsupported mount type"))
        case "from":
            return replace(mount, from_=value)
        case "source" | "src":
            return replace(mount, source=value)
        case "target" | "dst" | "destination":
            return replace(mount, target=value)
        case "readonly" | "ro":
            return replace(mount, readonly=_boolean(key, value))
        case "readwrite" | "rw":
            return replace(mount, readonly=not _boolean(key, value))
        case "required":
            _only(mount, key, True, ("secret", "ssh"))
            return replace(mount, required=_boolean(key, value))
        case "size":
            return replace(mount, size=_only(mount, key, _bytes(key, value), ("tmpfs",)))
        case "id":
            return replace(mount, id=value)
        case "sharing":
            return replace(mount, sharing=_one_of(value, _SHARING, "unsupported sharing value"))
        case "mode":
            return replace(mount, mode=_integer(key, value, 8))
        case "uid":
            return replace(mount, uid=_integer(key, value, 10))
        case "gid":
            return replace(mount, gid=_integer(key, value, 10))
        case "env":
            return replace(mount, env=value)
    raise MountError(f"unexpected key '{key}' in '{field}'{did_you_mean(key, _KEYS)}")


def _only(mount: RunMount, key: str, value: T, types: tuple[str, ...]) -> T:
    if mount.type not in types:
        raise MountError(f"unexpected key '{key}' for mount type '{mount.type}'")
    return value


def _one_of(value: str, options: tuple[str, ...], what: str) -> str:
    if value.lower() not in options:
        raise MountError(f'{what} "{value}"{did_you_mean(value, options)}')
    return value.lower()


def _boolean(key: str, value: str) -> bool:
    if value in _TRUE or value in _FALSE:
        return value in _TRUE
    raise MountError(f"invalid value for {key}: {value}")


def _integer(key: str, value: str, base: int) -> int:
    digits = "01234567" if base == 8 else "0123456789"
    if not value or set(value) - set(digits) or int(value, base) >= 1 << 32:
        raise MountError(f"invalid value {value} for {key}")
    return int(value, base)


def _bytes(key: str, value: str) -> int:
    match = _SIZE.fullmatch(value)
    if match is None:
        raise MountError(f"invalid value for {key}: {value}")
    return int(float(match[1]) * 1024 ** " kmgtp".index(match[2].lower() or " "))


def _check(mount: RunMount) -> None:
    if mount.type in ("bind", "tmpfs"):
        for name in ("mode", "uid", "gid"):
            if getattr(mount, name) is not None:
                raise MountError(f'{name} not allowed for "{mount.type}" type mounts')
    if mount.type == "secret":
        _check_secret(mount)
    if mount.sharing and mount.type != "cache":
        raise MountError(f"invalid cache sharing set for {mount.type} mount")
    if mount.type == "ssh" and mount.source:
        raise MountError("ssh does not support source")


def _check_secret(mount: RunMount) -> None:
    if mount.from_:
        raise MountError("secret mount should not have a from")
    if mount.sharing:
        raise MountError("secret mount should not define sharing")
    if not (mount.source or mount.target or mount.id):
        raise MountError("invalid secret mount. one of source, target required")
    if mount.source and mount.id:
        raise MountError("both source and id can't be set")
