"""The JSON codec: round trips, keys that we do not know, and messages that name the place."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.errors import InvalidInput, WorkbenchError
from workbench.oci import codec, runtime_spec
from workbench.oci.descriptor import Descriptor, Platform
from workbench.oci.digest import Digest
from workbench.oci.image import ContainerConfig, Healthcheck, History, ImageConfig, RootFS
from workbench.oci.manifest import Index, Manifest

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=12,
)
KINDS = [Descriptor, Manifest, Index, ImageConfig, ContainerConfig, runtime_spec.Spec, Platform]


@dataclass(frozen=True, slots=True, kw_only=True)
class Thing:
    name: str
    some_number: int = 0
    kept: bool = codec.key("KEPT", default=False, keep=True)
    choice: int | str | None = None
    parts: tuple[Thing, ...] = ()
    table: Mapping[str, int] = field(default_factory=dict)
    class_: str = ""
    real: float = 0.0
    extra: Mapping[str, Any] = field(default_factory=dict)


def test_names_defaults_and_order() -> None:
    thing = Thing(name="a", some_number=3, parts=(Thing(name="b"),), class_="c")
    assert codec.dumps(thing) == (
        b'{"name":"a","someNumber":3,"KEPT":false,"parts":[{"name":"b","KEPT":false}],"class":"c"}'
    )
    assert codec.loads(Thing, codec.dumps(thing)) == thing


def test_unknown_keys_survive() -> None:
    raw = b'{"name":"a","KEPT":false,"new":{"deep":[1,null]}}'
    thing = codec.loads(Thing, raw)
    assert thing.extra == {"new": {"deep": [1, None]}}
    assert codec.dumps(thing) == raw


def test_null_means_absent() -> None:
    raw = b'{"name":"a","parts":null,"table":null,"choice":null}'
    assert codec.loads(Thing, raw) == Thing(name="a")


def test_unions_take_the_first_that_fits() -> None:
    assert codec.loads(Thing, b'{"name":"a","choice":"x"}').choice == "x"
    assert codec.loads(Thing, b'{"name":"a","choice":7}').choice == 7
    assert codec.loads(Thing, b'{"name":"a","real":7}').real == 7


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "not valid JSON"),
        (b"\xff", "not valid JSON"),
        (b"[" * 100_000, "not valid JSON"),
        (b"[]", "thing must be an object, not an array"),
        (b"{}", "thing lacks 'name'"),
        (b'{"name":null}', "thing lacks 'name'"),
        (b'{"name":1}', r"thing\.name must be str, not a number"),
        (b'{"name":"a","someNumber":true}', r"thing\.someNumber must be int, not a boolean"),
        (b'{"name":"a","someNumber":1.5}', r"thing\.someNumber must be int"),
        (b'{"name":"a","parts":{}}', r"thing\.parts must be an array, not an object"),
        (b'{"name":"a","parts":[{"name":"b"},{}]}', r"thing\.parts\[1\] lacks 'name'"),
        (b'{"name":"a","table":{"x":"y"}}', r"thing\.table\.x must be int, not a string"),
        (b'{"name":"a","table":[]}', r"thing\.table must be an object"),
        (b'{"name":"a","KEPT":0}', r"thing\.KEPT must be bool"),
    ],
)
def test_messages_name_the_place(raw: bytes, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        codec.loads(Thing, raw, what="thing")


def test_text_of_any_kind_survives() -> None:
    thing = Thing(name='é"\\\n\u2028 \U0001f600', extra={"\ud800": 1})
    assert codec.loads(Thing, codec.dumps(Thing(name=thing.name))) == Thing(name=thing.name)
    assert codec.dumps(Thing(name="\ud800"))


@given(JSON)
def test_any_document_is_decoded_or_refused(tree: Any) -> None:
    for kind in KINDS:
        try:
            value = codec.loads(kind, json.dumps(tree))
        except WorkbenchError:
            continue
        again = codec.loads(kind, codec.dumps(value))
        assert codec.dumps(again) == codec.dumps(value)


DIGESTS = st.binary(max_size=4).map(Digest.of)
TEXT = st.text(max_size=6)
PLATFORMS = st.builds(Platform, architecture=TEXT, os=TEXT, variant=TEXT, os_version=TEXT)
DESCRIPTORS = st.builds(
    Descriptor,
    media_type=TEXT,
    digest=DIGESTS,
    size=st.integers(0, 1 << 60),
    platform=st.none() | PLATFORMS,
    annotations=st.dictionaries(TEXT, TEXT, max_size=2),
    urls=st.lists(TEXT, max_size=2).map(tuple),
)
CONFIGS = st.builds(
    ImageConfig,
    architecture=TEXT,
    os=TEXT,
    rootfs=st.builds(RootFS, diff_ids=st.lists(DIGESTS, max_size=3).map(tuple)),
    created=TEXT,
    config=st.builds(
        ContainerConfig,
        env=st.lists(TEXT, max_size=2).map(tuple),
        cmd=st.lists(TEXT, max_size=2).map(tuple),
        labels=st.dictionaries(TEXT, TEXT, max_size=2),
        healthcheck=st.none() | st.builds(Healthcheck, retries=st.integers(0, 5)),
    ),
    history=st.lists(
        st.builds(History, created_by=TEXT, empty_layer=st.booleans()), max_size=2
    ).map(tuple),
)


@given(st.builds(Manifest, config=DESCRIPTORS, layers=st.lists(DESCRIPTORS, max_size=3).map(tuple)))
def test_manifests_come_back(manifest: Manifest) -> None:
    assert Manifest.parse(manifest.to_bytes()) == manifest


@given(CONFIGS)
def test_image_configurations_come_back(config: ImageConfig) -> None:
    assert ImageConfig.parse(config.to_bytes()) == config


@given(st.dictionaries(st.text(max_size=5).filter(lambda k: k.startswith("x")), JSON, max_size=3))
def test_unknown_keys_of_a_configuration_survive(extra: dict[str, Any]) -> None:
    tree = {"architecture": "amd64", "os": "linux", "rootfs": {"diff_ids": []}, **extra}
    config = ImageConfig.parse(json.dumps(tree).encode())
    assert json.loads(config.to_bytes()) == {
        **tree,
        "rootfs": {"diff_ids": [], "type": "layers"},
    }
