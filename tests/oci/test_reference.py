"""Names of images, as Docker reads and writes them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.errors import InvalidInput
from workbench.oci.digest import Digest
from workbench.oci.reference import Reference

SUM = "sha256:" + "0123456789abcdef" * 4

GOOD = {
    "busybox": ("docker.io/library/busybox:latest", "busybox:latest"),
    "busybox:1.36": ("docker.io/library/busybox:1.36", "busybox:1.36"),
    "team/tool": ("docker.io/team/tool:latest", "team/tool:latest"),
    "docker.io/busybox": ("docker.io/library/busybox:latest", "busybox:latest"),
    "index.docker.io/library/busybox": ("docker.io/library/busybox:latest", "busybox:latest"),
    "docker.io/team/tool:x": ("docker.io/team/tool:x", "team/tool:x"),
    "ghcr.io/a/b/c:v1": ("ghcr.io/a/b/c:v1", "ghcr.io/a/b/c:v1"),
    "localhost/tool": ("localhost/tool:latest", "localhost/tool:latest"),
    "localhost:5000/tool": ("localhost:5000/tool:latest", "localhost:5000/tool:latest"),
    "127.0.0.1:5000/tool:1": ("127.0.0.1:5000/tool:1", "127.0.0.1:5000/tool:1"),
    "[::1]:5000/tool": ("[::1]:5000/tool:latest", "[::1]:5000/tool:latest"),
    "Upper/tool": ("Upper/tool:latest", "Upper/tool:latest"),
    f"busybox@{SUM}": (f"docker.io/library/busybox@{SUM}", f"busybox@{SUM}"),
    f"busybox:1@{SUM}": (f"docker.io/library/busybox:1@{SUM}", f"busybox:1@{SUM}"),
    "a__b/c--d.e": ("docker.io/a__b/c--d.e:latest", "a__b/c--d.e:latest"),
    "x:" + "a" * 128: ("docker.io/library/x:" + "a" * 128, "x:" + "a" * 128),
}


@pytest.mark.parametrize("text", GOOD)
def test_names_and_their_two_forms(text: str) -> None:
    reference = Reference.parse(text)
    assert (str(reference), reference.familiar) == GOOD[text]
    assert Reference.parse(str(reference)) == reference
    assert Reference.parse(reference.familiar) == reference


@pytest.mark.parametrize(
    "text",
    ["", " ", ":", "@", "/", "a b", "Busybox", "busybox:", "busybox:a b", "busybox:-x", "a//b",
     "/busybox", "busybox/", "-a", "a-", "a___b", "a..b", ".a", "a:b:c", "busybox@", "b@sha256:00",
     f"busybox@{SUM}x", f"@{SUM}", "x:" + "a" * 129, "0" * 64, "a" * 256, "localhost:port/x",
     "host:123456/x", "../etc/passwd", "a/../b", "busybox\n", "busybox:1\n", "bu\0sy", "é",
     "host.io:5000", "https://host.io/x", "team/Tool", "a_.b", "host..io/x", "-host.io/x"],
)  # fmt: skip
def test_what_is_no_name(text: str) -> None:
    if text == "host.io:5000":
        # A tag that looks like a port is a tag.
        assert Reference.parse(text).tag == "5000"
        return
    with pytest.raises(InvalidInput):
        Reference.parse(text)


def test_docker_says_what_is_wrong() -> None:
    with pytest.raises(InvalidInput, match="must be lowercase"):
        Reference.parse("Busybox")
    with pytest.raises(InvalidInput, match="invalid reference format"):
        Reference.parse("a b")


def test_derived_names() -> None:
    reference = Reference.parse("team/tool:1")
    assert reference.with_tag("2").familiar == "team/tool:2"
    assert reference.with_digest(Digest(SUM)).familiar == f"team/tool:1@{SUM}"
    assert Reference.parse(f"tool@{SUM}").with_tag("x").digest is None
    assert reference.name == "docker.io/team/tool"


PART = st.from_regex(r"[a-z0-9]{1,8}(?:[._-][a-z0-9]{1,8}){0,2}", fullmatch=True)
TAG = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,20}", fullmatch=True)
HOST = st.from_regex(r"[a-z]{1,8}\.[a-z]{2,4}(?::[0-9]{2,5})?", fullmatch=True)


@given(st.none() | HOST, st.lists(PART, min_size=1, max_size=3), st.none() | TAG, st.booleans())
def test_what_is_put_together_comes_apart(
    host: str | None, parts: list[str], tag: str | None, digest: bool
) -> None:
    text = "/".join([host, *parts] if host else parts)
    text += (f":{tag}" if tag else "") + (f"@{SUM}" if digest else "")
    if not host and len(parts) > 1 and set(parts[0]) & set(".:"):
        return
    reference = Reference.parse(text)
    assert reference.tag == (tag or (None if digest else "latest"))
    assert reference.digest == (SUM if digest else None)
    assert reference.registry == (host or "docker.io") or parts[0] == "localhost"
    assert Reference.parse(str(reference)) == reference
    assert Reference.parse(reference.familiar) == reference


@given(st.text(max_size=80))
def test_any_text_is_a_name_or_refused(text: str) -> None:
    try:
        reference = Reference.parse(text)
    except InvalidInput:
        return
    assert Reference.parse(str(reference)) == reference
    assert Reference.parse(reference.familiar) == reference
