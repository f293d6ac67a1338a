"""The flags of the instructions: which there are, of what kind, and what was given.

Source: Dockerfile reference, the sections of each instruction.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, Literal

from workbench.build.suggest import did_you_mean
from workbench.build.tokens import FlagUse, TokenError, Word

Kind = Literal["text", "list", "switch"]

FLAGS: Final[Mapping[str, Mapping[str, Kind]]] = MappingProxyType(
    {
        "FROM": {"platform": "text"},
        "RUN": {"mount": "list", "network": "text", "security": "text", "device": "list"},
        "COPY": {
            "from": "text",
            "chown": "text",
            "chmod": "text",
            "link": "switch",
            "parents": "switch",
            "exclude": "list",
        },
        "ADD": {
            "chown": "text",
            "chmod": "text",
            "link": "switch",
            "exclude": "list",
            "checksum": "text",
            "keep-git-dir": "switch",
            "unpack": "switch",
        },
        "HEALTHCHECK": {
            "interval": "text",
            "timeout": "text",
            "start-period": "text",
            "start-interval": "text",
            "retries": "text",
        },
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Flags:
    """What the flags of one instruction say."""

    texts: Mapping[str, Word] = field(default_factory=dict)
    lists: Mapping[str, tuple[Word, ...]] = field(default_factory=dict)
    switches: Mapping[str, bool] = field(default_factory=dict)

    def text(self, name: str, default: str = "") -> str:
        return self.texts[name].text if name in self.texts else default

    def list(self, name: str) -> tuple[Word, ...]:
        return self.lists.get(name, ())

    def switch(self, name: str) -> bool | None:
        return self.switches.get(name)


def read_flags(instruction: str, uses: tuple[FlagUse, ...]) -> Flags:
    """Sort the flags of an instruction. Raises TokenError in Docker's words."""
    kinds = FLAGS.get(instruction, {})
    texts: dict[str, Word] = {}
    lists: dict[str, tuple[Word, ...]] = {}
    switches: dict[str, bool] = {}
    for use in uses:
        kind = kinds.get(use.name)
        if kind is None:
            near = did_you_mean(use.name, kinds)
            raise TokenError(f"unknown flag: --{use.name}{near}", use.span)
        if use.name in texts or use.name in switches:
            raise TokenError(f"duplicate flag specified: --{use.name}", use.span)
        if kind == "switch":
            switches[use.name] = _switch(use)
            continue
        if use.value is None:
            raise TokenError(f"missing a value on flag: --{use.name}", use.span)
        word = Word(text=use.value, span=use.span)
        if kind == "list":
            lists[use.name] = (*lists.get(use.name, ()), word)
        else:
            texts[use.name] = word
    return Flags(texts=texts, lists=lists, switches=switches)


def _switch(use: FlagUse) -> bool:
    if use.value is None:
        return True
    if use.value == "":
        raise TokenError(f"missing a value on flag: --{use.name}", use.span)
    value = use.value.lower()
    if value not in ("true", "false"):
        raise TokenError(
            f"expecting boolean value for flag --{use.name}, not: {use.value}", use.span
        )
    return value == "true"
