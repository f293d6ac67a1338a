"""Registry errors as errors of ours."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.errors import (
    BlobNotFound,
    Corrupt,
    Denied,
    ImageNotFound,
    InvalidInput,
    LimitExceeded,
    NotFound,
    Unauthorized,
    Unavailable,
    Unsupported,
    WorkbenchError,
)
from workbench.registry.failures import Diagnostic, Intent, Refusal, diagnostics, failure

INTENT = Intent(
    action="pull",
    name="debian",
    subject="manifest for debian:nope",
    registry="docker.io",
    missing=ImageNotFound,
)


def made(status: int, code: str = "", message: str = "", **more: float) -> WorkbenchError:
    found = (Diagnostic(code=code, message=message),) if code else ()
    url = "https://user:secret@host/v2/x?token=secret"
    refusal = Refusal(method="GET", url=url, status=status, diagnostics=found, **more)
    return failure(refusal, INTENT)


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (401, "UNAUTHORIZED", Unauthorized),
        (401, "", Unauthorized),
        (403, "DENIED", Denied),
        (401, "DENIED", Denied),
        (404, "NAME_UNKNOWN", ImageNotFound),
        (404, "MANIFEST_UNKNOWN", ImageNotFound),
        (404, "", ImageNotFound),
        (404, "BLOB_UNKNOWN", BlobNotFound),
        (404, "MANIFEST_BLOB_UNKNOWN", NotFound),
        (400, "DIGEST_INVALID", Corrupt),
        (400, "MANIFEST_INVALID", InvalidInput),
        (400, "", InvalidInput),
        (405, "UNSUPPORTED", Unsupported),
        (413, "", LimitExceeded),
        (429, "TOOMANYREQUESTS", Unavailable),
        (500, "UNKNOWN", Unavailable),
        (503, "", Unavailable),
        (599, "", Unavailable),
    ],
)
def test_classes(status: int, code: str, kind: type[WorkbenchError]) -> None:
    error = made(status, code, "words")
    assert type(error) is kind
    assert "secret" not in f"{error} {error.hint} {error.__notes__}"
    assert error.__notes__[0].startswith(f"GET https://host/v2/x answered {status}")


def test_dockers_words() -> None:
    error = made(404, "MANIFEST_UNKNOWN", "manifest unknown")
    assert str(error) == "manifest for debian:nope not found: manifest unknown"
    error = made(401, "UNAUTHORIZED", "authentication required")
    assert str(error) == (
        "pull access denied for debian, repository does not exist or may require 'docker login':"
        " unauthorized: authentication required"
    )


def test_hints() -> None:
    assert made(429, "TOOMANYREQUESTS", retry_after=90.0).hint.startswith("try again in 90 seconds")
    assert "docker.io" in made(401).hint


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[]", b'{"errors":{}}', b'{"errors":[1,null]}', b"[" * 200_000]
)
def test_bodies_that_say_nothing(body: bytes) -> None:
    assert diagnostics(body) == ()


def test_words_are_cut_and_harmless() -> None:
    errors = [{"code": "DENIED", "message": "\x1b[31mred\n" + "x" * 10_000, "detail": {}}] * 50
    found = diagnostics(json.dumps({"errors": errors}).encode())
    assert len(found) == 5
    assert found[0].message.startswith("[31mred")
    assert len(found[0].message) <= 300


@given(st.binary(max_size=100))
def test_nothing_breaks_it(body: bytes) -> None:
    diagnostics(body)
