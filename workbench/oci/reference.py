"""Names of images: ``[registry/]repository[:tag][@digest]``, with Docker's defaults.

Source: the grammar of the distribution project's ``reference`` package and Docker's normalisation
(``docker.io`` and ``library/`` where nothing is said).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Final

from workbench.errors import InvalidInput
from workbench.oci.digest import Digest

DEFAULT_REGISTRY: Final = "docker.io"
DEFAULT_TAG: Final = "latest"

_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REPOSITORY: Final = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_TAG: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_LABEL = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_REGISTRY: Final = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9a-fA-F:.]+\])(?::[0-9]{{1,5}})?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """A full name. At least one of ``tag`` and ``digest`` is set in what ``parse`` returns."""

    registry: str
    repository: str
    tag: str | None = None
    digest: Digest | None = None

    @classmethod
    def parse(cls, text: str) -> Reference:
        """Raises InvalidInput with Docker's words for what is no name."""
        rest, digest = _split_digest(text)
        rest, tag = _split_tag(rest)
        registry, repository = _split_registry(rest)
        _validate(text, registry, repository, tag)
        if tag is None and digest is None:
            tag = DEFAULT_TAG
        return cls(registry=registry, repository=repository, tag=tag, digest=digest)

    @property
    def name(self) -> str:
        """``registry/repository`` in full."""
        return f"{self.registry}/{self.repository}"

    @property
    def familiar_name(self) -> str:
        """The name as people write it: without docker.io and library/."""
        if self.registry != DEFAULT_REGISTRY:
            return self.name
        return self.repository.removeprefix("library/")

    @property
    def familiar(self) -> str:
        """``familiar_name`` with tag and digest, as ``docker images`` shows it."""
        return self.familiar_name + self._suffix

    def with_tag(self, tag: str) -> Reference:
        return replace(self, tag=tag, digest=None)

    def with_digest(self, digest: Digest) -> Reference:
        return replace(self, digest=digest)

    @property
    def _suffix(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        return tag + (f"@{self.digest}" if self.digest else "")

    def __str__(self) -> str:
        return self.name + self._suffix


def _split_digest(text: str) -> tuple[str, Digest | None]:
    rest, at, digest = text.partition("@")
    if not at:
        return text, None
    try:
        return rest, Digest(digest)
    except InvalidInput as error:
        raise InvalidInput(f"invalid reference format: {text!r} ({error})") from error


def _split_tag(text: str) -> tuple[str, str | None]:
    head, slash, last = text.rpartition("/")
    name, colon, tag = last.partition(":")
    return (head + slash + name, tag) if colon else (text, None)


def _split_registry(text: str) -> tuple[str, str]:
    first, slash, rest = text.partition("/")
    if slash and (set(first) & set(".:") or first == "localhost" or first != first.lower()):
        registry = DEFAULT_REGISTRY if first == "index.docker.io" else first
    else:
        registry, rest = DEFAULT_REGISTRY, text
    if registry == DEFAULT_REGISTRY and "/" not in rest:
        rest = f"library/{rest}"
    return registry, rest


def _validate(text: str, registry: str, repository: str, tag: str | None) -> None:
    if re.fullmatch(r"[0-9a-f]{64}", text):
        raise InvalidInput(f"invalid repository name ({text}): 64 hex digits are an image id")
    if repository != repository.lower() and _REPOSITORY.fullmatch(repository.lower()):
        raise InvalidInput(
            f"invalid reference format: repository name ({repository}) must be lowercase"
        )
    if not _REPOSITORY.fullmatch(repository) or not _REGISTRY.fullmatch(registry):
        raise InvalidInput(f"invalid reference format: {text!r}")
    if len(repository) + len(registry) > 255:
        raise InvalidInput(f"invalid reference format: {text!r} has more than 255 characters")
    if tag is not None and not _TAG.fullmatch(tag):
        raise InvalidInput(f"invalid reference format: {tag!r} is not a tag")
