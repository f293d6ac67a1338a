"""Whether a source of ADD is a path, a URL or a git address.

Source: Dockerfile reference, "ADD": adding files from a URL, adding from a Git repository.
"""

from __future__ import annotations

import posixpath
import re
from enum import Enum
from typing import Final
from urllib.parse import unquote, urlsplit

_SCP_LIKE: Final = re.compile(r"[A-Za-z0-9_][\w.-]*@[\w.-]+:(?!/).+")
_GIT_URL: Final = re.compile(r"(?:git|ssh|git\+https?|git\+ssh)://", re.IGNORECASE)


class RemoteKind(Enum):
    """Where a source lies."""

    LOCAL = "local"
    HTTP = "http"
    GIT = "git"


def remote_kind(source: str) -> RemoteKind:
    """What a source is, by its looks alone."""
    if _GIT_URL.match(source) or _SCP_LIKE.fullmatch(source):
        return RemoteKind.GIT
    if source.startswith(("http://", "https://")):
        path = urlsplit(source).path
        return RemoteKind.GIT if path.endswith(".git") else RemoteKind.HTTP
    return RemoteKind.LOCAL


def file_name(url: str) -> str:
    """What a file fetched from a URL is called: the last part of its path."""
    name = posixpath.basename(unquote(urlsplit(url).path).rstrip("/"))
    return name if name not in ("", ".", "..") and "\0" not in name else "__unnamed__"
