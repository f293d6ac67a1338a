"""The configuration of an engine: one frozen value, and the only reader of ``os.environ``.

Sources, the later winning: defaults, ``/etc/workbench/config.toml`` (or
``$XDG_CONFIG_HOME/workbench/config.toml`` for an ordinary user), the environment, arguments.
"""

from __future__ import annotations

import dataclasses
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from workbench.errors import InvalidInput


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryConfig:
    """How registries are reached.

    ``mirrors`` are base URLs tried before Docker Hub; ``insecure`` are host[:port] names that may
    be spoken to in plain HTTP or with an unknown certificate (loopback always may, in plain HTTP);
    ``certs`` is a folder laid out as ``/etc/docker/certs.d``.
    """

    mirrors: tuple[str, ...] = ()
    insecure: tuple[str, ...] = ()
    certs: str = "/etc/docker/certs.d"


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildConfig:
    """How builds run. ``host_trust`` lets RUN steps see the host's proxies and CA certificates."""

    host_trust: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds on what hostile input may cost. Sizes are bytes.

    ``layer_bytes`` and ``layer_entries`` bound one unpacked layer, ``manifest_bytes`` one manifest
    or image configuration, ``dockerfile_bytes`` one Dockerfile.
    """

    layer_bytes: int = 64 * 1024**3
    layer_entries: int = 5_000_000
    manifest_bytes: int = 4 * 1024**2
    dockerfile_bytes: int = 4 * 1024**2


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Everything that an engine is told from outside.

    ``root`` is the state directory. ``environment`` is the process's environment as it was when
    the configuration was read; what must know a variable reads it here.
    """

    root: Path
    registry: RegistryConfig = RegistryConfig()
    build: BuildConfig = BuildConfig()
    limits: Limits = Limits()
    environment: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    @classmethod
    def load(
        cls,
        *,
        root: Path | str | None = None,
        environment: Mapping[str, str] | None = None,
        file: Path | None = None,
    ) -> Config:
        """Read all sources. Raises InvalidInput that names file and key for what is wrong."""
        env = MappingProxyType(dict(os.environ if environment is None else environment))
        path = file or _config_file(env)
        table = _read_toml(path)
        where = root or env.get("WORKBENCH_ROOT") or table.pop("root", None) or _default_root(env)
        table.pop("root", None)
        sections = {
            "registry": _section(RegistryConfig, table.pop("registry", {}), path, "registry"),
            "build": _section(BuildConfig, table.pop("build", {}), path, "build"),
            "limits": _section(Limits, table.pop("limits", {}), path, "limits"),
        }
        if table:
            raise InvalidInput(f"{path}: unknown key {sorted(table)[0]!r}")
        return cls(root=Path(str(where)).expanduser().absolute(), environment=env, **sections)


def _default_root(env: Mapping[str, str]) -> Path:
    if os.geteuid() == 0:
        return Path("/var/lib/workbench")
    data = env.get("XDG_DATA_HOME") or str(Path.home() / ".local/share")
    return Path(data) / "workbench"


def _config_file(env: Mapping[str, str]) -> Path:
    if named := env.get("WORKBENCH_CONFIG"):
        return Path(named)
    if os.geteuid() == 0:
        return Path("/etc/workbench/config.toml")
    base = env.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    return Path(base) / "workbench/config.toml"


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise InvalidInput(f"cannot read the configuration {path}: {error}") from error


def _section(kind: type[Any], table: Any, path: Path, name: str) -> Any:
    if not isinstance(table, dict):
        raise InvalidInput(f"{path}: [{name}] must be a table")
    known = {item.name: item for item in dataclasses.fields(kind)}
    for key, value in table.items():
        if key not in known:
            raise InvalidInput(f"{path}: unknown key {name}.{key}")
        expected = type(known[key].default)
        if expected is tuple and isinstance(value, list):
            table[key] = tuple(str(item) for item in value)
        elif type(value) is not expected:
            raise InvalidInput(f"{path}: {name}.{key} must be of type {expected.__name__}")
    return kind(**table)
