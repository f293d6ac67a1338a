"""Images and layers as the values that are shown: pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime

from workbench.engine.values import ImageInfo, LayerInfo
from workbench.oci.digest import Digest, chain_id
from workbench.oci.image import History, Image, Layer
from workbench.oci.reference import Reference

# From a chain id and its layer to the bytes of the layer's files.
SizeOf = Callable[[Digest, Layer], int]


def image_info(
    image: Image, names: Iterable[Reference], containers: int, size_of: SizeOf
) -> ImageInfo:
    """One line of ``docker images``."""
    return ImageInfo(
        id=image.id,
        references=tuple(names),
        image=image,
        created=parse_time(image.config.created),
        size=sum(
            size_of(chain, layer) for chain, layer in zip(chains(image), image.layers, strict=True)
        ),
        compressed=sum(layer.descriptor.size for layer in image.layers),
        containers=containers,
    )


def layer_infos(image: Image, others: Iterable[Image], size_of: SizeOf) -> tuple[LayerInfo, ...]:
    """One line per line of history, oldest first; layers without history follow at the end."""
    shared = [set(chains(other)) for other in others]
    stack = list(zip(chains(image), image.layers, strict=True))
    lines = list(image.config.history)
    layered = sum(not line.empty_layer for line in lines)
    lines += [History() for _ in range(len(stack) - layered)]
    infos = []
    for index, line in enumerate(lines):
        chain, layer = (None, None) if line.empty_layer or not stack else stack.pop(0)
        infos.append(_line(index, line, chain, layer, shared, size_of))
    return tuple(infos)


def _line(
    index: int,
    line: History,
    chain: Digest | None,
    layer: Layer | None,
    shared: list[set[Digest]],
    size_of: SizeOf,
) -> LayerInfo:
    known = chain is not None and layer is not None
    return LayerInfo(
        index=index,
        created=parse_time(line.created),
        created_by=line.created_by,
        comment=line.comment,
        size=size_of(chain, layer) if chain is not None and layer is not None else 0,
        compressed=layer.descriptor.size if layer else 0,
        digest=layer.descriptor.digest if layer else None,
        diff_id=layer.diff_id if layer else None,
        shared_with=sum(chain in other for other in shared) if known else 0,
    )


def chains(image: Image) -> tuple[Digest, ...]:
    """The chain id of every layer, bottom first."""
    diff_ids = image.config.rootfs.diff_ids
    return tuple(chain_id(diff_ids[: count + 1]) for count in range(len(diff_ids)))


def parse_time(text: str) -> datetime:
    """RFC 3339 as a UTC time; the epoch for what is missing or broken."""
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError:
        return datetime.fromtimestamp(0, UTC)
    return parsed.astimezone(UTC) if parsed.tzinfo else parsed.replace(tzinfo=UTC)
