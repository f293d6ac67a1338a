"""WWW-Authenticate."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.registry.challenge import parse


def test_bearer() -> None:
    (found,) = parse(
        'Bearer realm="https://auth.docker.io/token",service="registry.docker.io",'
        'scope="repository:library/debian:pull,push"'
    )
    assert found.scheme == "bearer"
    assert found.parameters == {
        "realm": "https://auth.docker.io/token",
        "service": "registry.docker.io",
        "scope": "repository:library/debian:pull,push",
    }


def test_several_in_one_header() -> None:
    found = parse('Negotiate, Basic realm="a, b=\\"c\\"", bearer Realm=plain , error = "x"')
    assert [item.scheme for item in found] == ["negotiate", "basic", "bearer"]
    assert found[1].parameters == {"realm": 'a, b="c"'}
    assert found[2].parameters == {"realm": "plain", "error": "x"}


def test_the_first_value_of_a_name_counts() -> None:
    assert parse("Basic realm=a, realm=b")[0].parameters == {"realm": "a"}


@pytest.mark.parametrize("header", ["", ",,,", "=x", '"', "realm=x"])
def test_what_is_none(header: str) -> None:
    assert parse(header) == ()


@given(st.text(max_size=200))
def test_nothing_breaks_it(header: str) -> None:
    parse(header)


def test_a_long_header_is_cut() -> None:
    assert len(parse("a," * 100_000)) <= 16 * 1024
