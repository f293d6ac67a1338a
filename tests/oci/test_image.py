"""Images as values: put together, taken apart, derived."""

from __future__ import annotations

import dataclasses
import json

import pytest

from workbench.errors import Corrupt, InvalidInput
from workbench.oci.descriptor import (
    DOCKER_CONFIG,
    DOCKER_MANIFEST,
    OCI_INDEX,
    OCI_LAYER_GZIP,
    OCI_MANIFEST,
    Descriptor,
    Platform,
    is_layer,
    layer_compression,
)
from workbench.oci.digest import Digest
from workbench.oci.image import (
    ContainerConfig,
    History,
    Image,
    ImageConfig,
    Layer,
    append_layer,
    with_config,
)
from workbench.oci.manifest import Index, Manifest

AMD = Platform(architecture="amd64")


def layer(data: bytes) -> Layer:
    return Layer(descriptor=Descriptor.of(OCI_LAYER_GZIP, b"z" + data), diff_id=Digest.of(data))


def test_scratch_grows_layer_by_layer() -> None:
    image = Image.scratch(AMD)
    assert (image.layers, image.chain_id) == ((), None)
    one = append_layer(
        image, layer(b"1"), History(created_by="one", created="2024-01-01T00:00:00Z")
    )
    two = append_layer(one, layer(b"2"), History(created_by="two"))
    assert image.layers == ()
    assert two.layers == (layer(b"1"), layer(b"2"))
    assert [line.created_by for line in two.config.history] == ["one", "two"]
    assert two.config.created == "2024-01-01T00:00:00Z"
    assert one.chain_id == layer(b"1").diff_id
    assert two.blobs()[1:] == (layer(b"1").descriptor, layer(b"2").descriptor)


def test_the_same_steps_give_the_same_image() -> None:
    images = [append_layer(Image.scratch(AMD), layer(b"1"), History()) for _ in range(2)]
    assert images[0].descriptor == images[1].descriptor


def test_with_config_keeps_the_layers() -> None:
    base = append_layer(Image.scratch(AMD), layer(b"1"), History(created_by="one"))
    config = ContainerConfig(cmd=("sh",), env=("A=1",))
    image = with_config(base, config, History(created_by="CMD", empty_layer=True))
    assert image.layers == base.layers
    assert image.config.config == config
    assert image.config.history[-1].empty_layer
    assert with_config(base, config).config.history == base.config.history
    assert image.id != base.id


def test_parse_is_the_inverse_of_build() -> None:
    image = append_layer(Image.scratch(AMD), layer(b"1"), History())
    assert Image.parse(image.descriptor, image.raw_manifest, image.raw_config) == image
    assert image.id == Digest.of(image.raw_config)


def test_foreign_bytes_are_kept_as_they_are() -> None:
    raw_config = json.dumps(
        {"os": "linux", "architecture": "amd64", "rootfs": {"diff_ids": []}, "x": 1}, indent=7
    ).encode()
    config = Descriptor.of(DOCKER_CONFIG, raw_config)
    raw_manifest = json.dumps(
        {"schemaVersion": 2, "config": {"mediaType": config.media_type, "digest": config.digest,
                                        "size": config.size}, "layers": []}, indent=3
    ).encode()  # fmt: skip
    image = Image.parse(Descriptor.of(OCI_MANIFEST, raw_manifest), raw_manifest, raw_config)
    assert image.id == Digest.of(raw_config)
    assert (image.raw_manifest, image.raw_config) == (raw_manifest, raw_config)
    assert image.config.extra == {"x": 1}


def test_documents_that_disagree_are_refused() -> None:
    image = append_layer(Image.scratch(AMD), layer(b"1"), History())
    with pytest.raises(Corrupt):
        Image.parse(image.descriptor, image.raw_manifest, Image.scratch(AMD).raw_config)
    with pytest.raises(InvalidInput):
        Image.build(image.config, ())


def test_docker_media_types() -> None:
    image = Image.build(ImageConfig.empty(AMD), (), docker=True)
    manifest = Manifest.parse(image.raw_manifest)
    assert (manifest.media_type, manifest.config.media_type) == (DOCKER_MANIFEST, DOCKER_CONFIG)
    assert image.descriptor.media_type == DOCKER_MANIFEST


def test_manifests_of_another_version() -> None:
    raw = Image.scratch(AMD).raw_manifest
    with pytest.raises(InvalidInput, match="version 1"):
        Manifest.parse(raw.replace(b'"schemaVersion":2', b'"schemaVersion":1'))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("linux/amd64", "linux/amd64"),
        ("linux/arm64", "linux/arm64/v8"),
        ("linux/aarch64", "linux/arm64/v8"),
        ("linux/arm/v7", "linux/arm/v7"),
        ("amd64", "linux/amd64"),
        ("Linux/X86_64", "linux/amd64"),
        ("windows/amd64", "windows/amd64"),
    ],
)
def test_platforms(text: str, shown: str) -> None:
    assert str(Platform.parse(text)) == shown


@pytest.mark.parametrize("text", ["", "/", "linux/", "a/b/c/d", "linux//v8"])
def test_what_is_no_platform(text: str) -> None:
    with pytest.raises(InvalidInput):
        Platform.parse(text)


def test_selection_prefers_the_exact_platform() -> None:
    def entry(platform: str | None, media_type: str = OCI_MANIFEST) -> Descriptor:
        chosen = Platform.parse(platform) if platform else None
        data = f"{platform}{media_type}".encode()
        return dataclasses.replace(Descriptor.of(media_type, data), platform=chosen)

    v6, v7, arm64 = entry("linux/arm/v6"), entry("linux/arm/v7"), entry("linux/arm64")
    index = Index(manifests=(entry("windows/amd64"), v6, v7, arm64, entry("linux/amd64", "other")))
    assert index.select(Platform.parse("linux/arm/v7")) == v7
    assert index.select(Platform.parse("linux/arm64")) == arm64
    assert index.select(Platform(architecture="arm64")) == arm64
    assert index.select(Platform.parse("linux/s390x")) is None
    assert index.select(Platform.parse("linux/amd64")) is None
    nested = entry(None, OCI_INDEX)
    assert Index(manifests=(nested,)).select(AMD) == nested


def test_layers_and_their_packing() -> None:
    assert layer_compression(OCI_LAYER_GZIP) == "gzip"
    assert is_layer(OCI_LAYER_GZIP)
    assert not is_layer(OCI_MANIFEST)
    with pytest.raises(InvalidInput):
        layer_compression("text/plain")


def test_a_size_below_zero_is_refused() -> None:
    with pytest.raises(InvalidInput):
        Descriptor(media_type="x", digest=Digest.of(b""), size=-1)
