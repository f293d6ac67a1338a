"""What a registry answers when it will not, as errors of ours. Pure.

Source: distribution-spec 1.1, "Error Codes". The body is hostile: it is cut, and what a terminal
would obey is taken out.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

from workbench.errors import (
    BlobNotFound,
    Corrupt,
    Denied,
    InvalidInput,
    LimitExceeded,
    NotFound,
    Unauthorized,
    Unavailable,
    Unsupported,
    WorkbenchError,
)
from workbench.registry.hosts import redact

_LONGEST_WORDS: Final = 300
_MOST: Final = 5

# The code decides; where there is none that we know, the status does.
_BY_CODE: Final[dict[str, type[WorkbenchError]]] = {
    "UNAUTHORIZED": Unauthorized,
    "DENIED": Denied,
    "BLOB_UNKNOWN": BlobNotFound,
    "BLOB_UPLOAD_UNKNOWN": Unavailable,
    "BLOB_UPLOAD_INVALID": Unavailable,
    "DIGEST_INVALID": Corrupt,
    "SIZE_INVALID": Corrupt,
    "MANIFEST_BLOB_UNKNOWN": NotFound,
    "MANIFEST_INVALID": InvalidInput,
    "MANIFEST_UNVERIFIED": InvalidInput,
    "NAME_INVALID": InvalidInput,
    "TAG_INVALID": InvalidInput,
    "TOOMANYREQUESTS": Unavailable,
    "UNSUPPORTED": Unsupported,
    "UNAVAILABLE": Unavailable,
}
_MISSING: Final = frozenset({"NAME_UNKNOWN", "MANIFEST_UNKNOWN"})
_BY_STATUS: Final[dict[int, type[WorkbenchError]]] = {
    400: InvalidInput,
    401: Unauthorized,
    403: Denied,
    405: Unsupported,
    413: LimitExceeded,
    429: Unavailable,
    501: Unsupported,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """What a request is for, in the words of its errors.

    ``action`` is pull, push or delete; ``name`` the repository as people write it; ``subject``
    what is asked for, such as ``manifest for debian:nope``; ``missing`` the error if it is not
    there; ``registry`` where one would log in.
    """

    action: str
    name: str
    subject: str
    registry: str
    missing: type[WorkbenchError] = NotFound


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnostic:
    """One entry of a registry's list of errors."""

    code: str
    message: str

    def __str__(self) -> str:
        words = self.code.lower().replace("_", " ")
        if not self.message or self.message == words:
            return words
        return f"{words}: {self.message}" if words else self.message


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """An answer that is no success. ``retry_after`` is seconds."""

    method: str
    url: str
    status: int
    diagnostics: tuple[Diagnostic, ...] = ()
    retry_after: float | None = None

    def __str__(self) -> str:
        words = "; ".join(str(item) for item in self.diagnostics)
        phrase = f"{self.method} {redact(self.url)} answered {_status(self.status)}"
        return f"{phrase}: {words}" if words else phrase


def diagnostics(body: bytes) -> tuple[Diagnostic, ...]:
    """The errors in a body; none where it is not the JSON that the specification asks for."""
    try:
        tree: Any = json.loads(body)
    except (ValueError, RecursionError):
        return ()
    errors = tree.get("errors") if isinstance(tree, dict) else None
    if not isinstance(errors, list):
        return ()
    return tuple(
        Diagnostic(code=_clean(item.get("code")), message=_clean(item.get("message")))
        for item in errors[:_MOST]
        if isinstance(item, dict)
    )


def failure(refusal: Refusal, intent: Intent) -> WorkbenchError:
    """The error to raise. What was asked and answered stands in its notes."""
    kind = _kind(refusal, intent)
    words = _words(refusal)
    make = _SENTENCES.get(kind, _other)
    message, hint = make(refusal, intent, words)
    if kind is intent.missing:
        message = f"{intent.subject} not found: {words}"
    error = kind(message, hint=hint)
    error.add_note(str(refusal))
    return error


def _kind(refusal: Refusal, intent: Intent) -> type[WorkbenchError]:
    for item in refusal.diagnostics:
        if item.code in _MISSING:
            return intent.missing
        if item.code in _BY_CODE:
            return _BY_CODE[item.code]
    if refusal.status == HTTPStatus.NOT_FOUND:
        return intent.missing
    return _BY_STATUS.get(refusal.status, Unavailable)


def _words(refusal: Refusal) -> str:
    words = "; ".join(str(item) for item in refusal.diagnostics)
    return words or _status(refusal.status).lower()


def _access(_refusal: Refusal, intent: Intent, words: str) -> tuple[str, str]:
    message = f"{intent.action} access denied for {intent.name}"
    if intent.action == "pull":
        message += ", repository does not exist or may require 'docker login'"
    return f"{message}: {words}", f"log in to {intent.registry}, or check the name"


def _busy(refusal: Refusal, intent: Intent, words: str) -> tuple[str, str]:
    hint = "try again later"
    if refusal.retry_after is not None:
        hint = f"try again in {refusal.retry_after:.0f} seconds"
    if refusal.status == HTTPStatus.TOO_MANY_REQUESTS:
        hint += f"; a login to {intent.registry} often raises the limit"
    return f"{intent.registry} cannot {intent.action} {intent.name} now: {words}", hint


def _other(_refusal: Refusal, intent: Intent, words: str) -> tuple[str, str]:
    return f"{intent.registry} refuses to {intent.action} {intent.subject}: {words}", ""


_SENTENCES: Final[dict[type[WorkbenchError], Callable[[Refusal, Intent, str], tuple[str, str]]]] = {
    Unauthorized: _access,
    Denied: _access,
    Unavailable: _busy,
}


def _status(status: int) -> str:
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


def _clean(value: Any) -> str:
    text = value if isinstance(value, str) else ""
    return "".join(char if char.isprintable() else " " for char in text[:_LONGEST_WORDS]).strip()
