"""DNS messages: what is written is read again, and no bytes do harm."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.network import dns_wire as wire
from workbench.network.dns_wire import Malformed, Message, Question, Record

LABEL = st.text(st.sampled_from("abcXYZ019_-é"), min_size=1, max_size=20)
NAME = st.lists(LABEL, max_size=6).map(".".join)
KIND = st.integers(0, 65535)
RECORD = st.builds(
    Record, name=NAME, kind=KIND, data=st.binary(max_size=40), ttl=st.integers(0, 2**31),
    group=KIND,
)  # fmt: skip
MESSAGE = st.builds(
    Message,
    identity=st.integers(0, 65535),
    questions=st.lists(st.builds(Question, name=NAME, kind=KIND, group=KIND), max_size=3).map(
        tuple
    ),
    answers=st.lists(RECORD, max_size=3).map(tuple),
    authority=st.lists(RECORD, max_size=2).map(tuple),
    additional=st.lists(RECORD, max_size=2).map(tuple),
    response=st.booleans(),
    opcode=st.integers(0, 15),
    authoritative=st.booleans(),
    truncated=st.booleans(),
    recursion_desired=st.booleans(),
    recursion_available=st.booleans(),
    code=st.integers(0, 15),
)


@given(MESSAGE)
def test_what_is_written_is_read_again(message: Message) -> None:
    assert wire.decode(wire.encode(message)) == message


@given(st.binary(max_size=300))
def test_any_bytes_are_a_message_or_malformed(data: bytes) -> None:
    try:
        wire.decode(data)
    except Malformed:
        refusal = wire.refusal(data, wire.FORMAT_ERROR)
        assert refusal is None or wire.decode(refusal).code == wire.FORMAT_ERROR


@given(MESSAGE, st.data())
def test_a_cut_message_is_malformed(message: Message, data: st.DataObject) -> None:
    encoded = wire.encode(message)
    with pytest.raises(Malformed):
        wire.decode(encoded[: data.draw(st.integers(0, len(encoded) - 1))])


def test_pointers_that_go_round_are_malformed() -> None:
    header = bytes((0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0))
    for name in (b"\xc0\x0c", b"\x01a\xc0\x0c", b"\xc0\x0e\xc0\x0c"):
        with pytest.raises(Malformed):
            wire.decode(header + name + b"\0\1\0\1")


def test_compressed_names_are_read() -> None:
    query = wire.encode(Message(identity=7, questions=(Question(name="web.lab", kind=wire.A),)))
    answer = wire.decode(
        wire.reply(wire.decode(query), (Record(name="web.lab", kind=wire.A, data=bytes(4)),))
    )
    assert answer.answers[0].name == "web.lab"
    assert answer.response and answer.identity == 7


def test_an_answer_that_is_too_long_is_cut_and_says_so() -> None:
    query = Message(identity=1, questions=(Question(name="many", kind=wire.A),))
    records = tuple(Record(name="many", kind=wire.A, data=bytes(4)) for _ in range(100))
    data = wire.reply(query, records, room=query.room)
    answer = wire.decode(data)
    assert len(data) <= 512 and answer.truncated and 20 < len(answer.answers) < 100
    assert len(wire.decode(wire.reply(query, records)).answers) == 100


def test_a_response_is_never_refused() -> None:
    response = wire.encode(Message(identity=1, response=True))
    assert wire.refusal(response, wire.FORMAT_ERROR) is None


@given(st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)))
def test_reverse_names(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    assert wire.address_of_pointer(address.reverse_pointer) == str(address)
    assert wire.address_of_pointer(address.reverse_pointer.upper()) == str(address)


@pytest.mark.parametrize("name", ["", "in-addr.arpa", "1.2.3.in-addr.arpa", "x.2.3.4.in-addr.arpa"])
def test_what_is_no_reverse_name(name: str) -> None:
    assert wire.address_of_pointer(name) is None
