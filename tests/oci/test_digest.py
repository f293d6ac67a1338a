"""Digests, chain ids, and the readers that hash and verify."""

from __future__ import annotations

import hashlib
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.errors import Corrupt, InvalidInput
from workbench.oci.digest import Digest, HashingReader, VerifyingReader, chain_id

HEX = st.text("0123456789abcdef", min_size=64, max_size=64)


@given(HEX)
def test_a_digest_is_its_text(value: str) -> None:
    digest = Digest(f"sha256:{value}")
    assert digest == f"sha256:{value}"
    assert (digest.algorithm, digest.hex, digest.short) == ("sha256", value, value[:12])
    assert Digest.from_hex(value) == digest
    assert hash(digest) == hash(str(digest))


@pytest.mark.parametrize(
    "text",
    ["", "sha256", "sha256:", "sha256:" + "0" * 63, "sha256:" + "0" * 65, "sha256:" + "A" * 64,
     "md5:" + "0" * 32, "0" * 64, "sha256:" + "0" * 64 + "\n", " sha256:" + "0" * 64,
     "sha512:" + "0" * 64, "sha256:" + "0" * 62 + "/.", "SHA256:" + "0" * 64],
)  # fmt: skip
def test_what_is_no_digest(text: str) -> None:
    with pytest.raises(InvalidInput):
        Digest(text)


@given(st.text())
def test_any_text_is_a_digest_or_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        Digest(text)


def test_sha512() -> None:
    assert Digest("sha512:" + "a" * 128).algorithm == "sha512"


def test_chain_ids_of_the_specification() -> None:
    one, two, three = (Digest.of(name) for name in (b"A", b"B", b"C"))
    assert chain_id([one]) == one
    both = Digest.of(f"{one} {two}".encode())
    assert chain_id([one, two]) == both
    assert chain_id([one, two, three]) == Digest.of(f"{both} {three}".encode())
    with pytest.raises(InvalidInput):
        chain_id([])


@given(st.binary(max_size=500), st.integers(1, 100))
def test_readers_pass_everything_through(data: bytes, step: int) -> None:
    hashing = HashingReader(io.BytesIO(data))
    verifying = VerifyingReader(hashing, Digest.of(data), len(data))
    pieces = []
    while piece := verifying.read(step):
        pieces.append(piece)
    assert b"".join(pieces) == data
    assert (hashing.digest, hashing.count) == (Digest.of(data), len(data))
    assert VerifyingReader(io.BytesIO(data), Digest.of(data)).read() == data


@given(st.binary(max_size=200), st.binary(max_size=200), st.integers(1, 100))
def test_other_bytes_are_noticed_at_the_end(promised: bytes, sent: bytes, step: int) -> None:
    reader = VerifyingReader(io.BytesIO(sent), Digest.of(promised), len(promised))
    if promised == sent:
        return
    with pytest.raises(Corrupt):
        while reader.read(step):
            pass
    with pytest.raises(Corrupt):
        VerifyingReader(io.BytesIO(sent), Digest.of(promised)).read()


def test_too_many_bytes_are_refused_as_they_come() -> None:
    reader = VerifyingReader(io.BytesIO(b"abcdef"), Digest.of(b"abc"), 3)
    with pytest.raises(Corrupt, match="longer"):
        reader.read(4)


def test_reading_nothing_is_not_the_end() -> None:
    reader = VerifyingReader(io.BytesIO(b"abc"), Digest.of(b"abc"), 3)
    assert reader.read(0) == b""
    assert reader.read(3) == b"abc"
    assert reader.read(3) == b""


def test_other_algorithms() -> None:
    reader = HashingReader(io.BytesIO(b"abc"), "sha512")
    reader.read()
    assert reader.digest == "sha512:" + hashlib.sha512(b"abc").hexdigest()
    assert VerifyingReader(io.BytesIO(b"abc"), reader.digest, 3).read() == b"abc"
