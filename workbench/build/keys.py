"""The cache key of a step, and why there is no entry for it.

A key is made of named ingredients: the instruction, the tree that it begins with, the variables
that it sees, the content of what it reads. Kept beside the result, they tell a later build which
of them changed. Secrets, proxies and times are no ingredients.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from workbench.build.definition import (
    CopyDefinition,
    FromContext,
    MountDefinition,
    RunDefinition,
    Step,
    WorkdirDefinition,
)
from workbench.build.fingerprint import Fingerprint

_VERSION: Final = "1"

MissKind = Literal[
    "cache off", "no entry", "parent", "instruction", "file", "variable", "layer gone", "setting"
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Miss:
    """Why a step had to run. ``names`` are the files, variables or settings that changed."""

    kind: MissKind
    names: tuple[str, ...] = ()

    def __str__(self) -> str:
        shown = ", ".join(self.names[:3])
        if len(self.names) > 3:
            shown += f" and {len(self.names) - 3} more"
        return {
            "cache off": "the cache is off",
            "no entry": "never built before",
            "parent": "an earlier step changed",
            "instruction": "the instruction changed",
            "file": f"changed: {shown}",
            "variable": f"variable changed: {shown}",
            "layer gone": "its layer was removed from the store",
            "setting": f"changed: {shown}",
        }[self.kind]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ingredients:
    """``counted`` make the key; ``files`` only tell which file changed."""

    counted: Mapping[str, str]
    files: Mapping[str, str] = field(default_factory=dict)

    @property
    def key(self) -> str:
        text = json.dumps([_VERSION, sorted(self.counted.items())], separators=(",", ":"))
        return "step:" + hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()

    def to_keep(self) -> dict[str, str]:
        """What is stored beside the result: short digests, no values."""
        short = {name: _short(value) for name, value in self.counted.items()}
        return {**short, **{f"file {name}": value for name, value in self.files.items()}}


def _short(value: str) -> str:
    return hashlib.sha256(value.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _text(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=True)


def ingredients_of(
    step: Step,
    *,
    parent: str,
    platform: str,
    prints: Mapping[str, Fingerprint],
    remote: str = "",
    settings: Mapping[str, str] | None = None,
) -> Ingredients:
    """What the key of a step is made of.

    ``parent`` is the chain id of the tree below, "" for none. ``prints`` are of what it reads:
    under "" for a COPY, under its target for a mount. ``settings`` are those of the build that a
    command may notice.
    """
    counted = {"platform": platform}
    match step.definition:
        case RunDefinition():
            counted |= _run(step.definition, prints)
            counted |= {f"setting {name}": value for name, value in (settings or {}).items()}
        case CopyDefinition():
            counted |= _copy(step.definition, prints.get(""), remote)
        case WorkdirDefinition():
            counted["instruction"] = _text(["WORKDIR", step.definition.path, step.definition.user])
    alone = isinstance(step.definition, CopyDefinition) and step.definition.link
    if not alone:
        counted["parent"] = parent
    files = {name: value for found in prints.values() for name, value in found.files.items()}
    return Ingredients(counted=counted, files=files)


def _run(run: RunDefinition, prints: Mapping[str, Fingerprint]) -> dict[str, str]:
    counted = {
        "instruction": _text(
            [
                "RUN", run.args, run.cwd, run.user, run.network, run.security, run.devices,
                run.script, [_mount(item) for item in run.mounts],
            ]
        ),
    }  # fmt: skip
    counted |= {f"variable {name}": value for name, value in run.env}
    for item in run.mounts:
        found = prints.get(item.target)
        if found is not None and item.mount.type == "bind":
            counted[f"content {item.target}"] = found.digest
    return counted


def _mount(item: MountDefinition) -> list[Any]:
    mount = item.mount
    return [
        mount.type, mount.source, item.target, mount.writable, mount.id, mount.sharing,
        mount.size, mount.mode, mount.uid, mount.gid, mount.env,
    ]  # fmt: skip


def _copy(copy: CopyDefinition, found: Fingerprint | None, remote: str) -> dict[str, str]:
    kind = "local" if isinstance(copy.origin, FromContext) else "tree"
    return {
        "instruction": _text(
            [
                "ADD" if copy.add else "COPY", kind, copy.sources, copy.target, copy.chown,
                copy.chmod, copy.link, copy.parents, copy.exclude, copy.unpack,
                copy.unpack_remote, copy.remote, [(doc.name, doc.content) for doc in copy.inline],
            ]
        ),
        "content": found.digest if found else "",
        "remote": remote,
    }  # fmt: skip


def explain(new: Ingredients, old: Mapping[str, str] | None) -> Miss:
    """Which ingredient of an earlier build is another one now."""
    if not old:
        return Miss(kind="no entry")
    now = new.to_keep()
    changed = [name for name in {**old, **now} if old.get(name) != now.get(name)]
    if "instruction" in changed:
        return Miss(kind="instruction")
    for prefix, kind in (("file ", "file"), ("variable ", "variable"), ("setting ", "setting")):
        names = tuple(
            sorted(name.removeprefix(prefix) for name in changed if name.startswith(prefix))
        )
        if names:
            return Miss(kind=kind, names=names)  # type: ignore[arg-type]
    if "parent" in changed:
        return Miss(kind="parent")
    if changed:
        return Miss(kind="setting", names=tuple(sorted(changed)))
    return Miss(kind="no entry")
