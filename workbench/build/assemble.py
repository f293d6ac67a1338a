"""The image that a plan's target makes: configuration, history with its times, manifest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

from workbench.build.definition import Plan, StagePlan
from workbench.oci.descriptor import (
    DOCKER_LAYER,
    DOCKER_LAYER_GZIP,
    DOCKER_LAYER_ZSTD,
    OCI_CONFIG,
    OCI_LAYER,
    OCI_LAYER_GZIP,
    OCI_LAYER_ZSTD,
    Platform,
)
from workbench.oci.image import History, Image, ImageConfig, Layer, RootFS
from workbench.store.content import ContentStore

COMMENT: Final = "buildkit.dockerfile.v0"
_AS_OCI: Final = {
    DOCKER_LAYER: OCI_LAYER,
    DOCKER_LAYER_GZIP: OCI_LAYER_GZIP,
    DOCKER_LAYER_ZSTD: OCI_LAYER_ZSTD,
}


def rfc3339(seconds: float) -> str:
    """A time as image configurations have it, in UTC; whole seconds where it is one."""
    moment = datetime.fromtimestamp(seconds, UTC)
    text = moment.strftime("%Y-%m-%dT%H:%M:%S")
    return f"{text}.{moment.microsecond:06d}Z" if moment.microsecond else f"{text}Z"


def assemble(
    plan: Plan,
    layers: Sequence[Layer],
    created: Mapping[int, str],
    *,
    platform: Platform | None,
    epoch: int | None,
) -> Image:
    """The image of the target.

    ``layers`` are all of them, bottom first; ``created`` is when each step's layer was made.
    ``platform`` is what was asked for, ``epoch`` the time (seconds) that all new lines get.
    """
    stage = plan.stages[plan.target]
    base = stage.image.config
    lines = _times((*base.history, *_lines(plan, stage, created, epoch)))
    moment = rfc3339(epoch) if epoch is not None else (lines[-1].created if lines else "")
    config = replace(
        base,
        config=stage.config,
        author=stage.author,
        history=lines,
        rootfs=RootFS(diff_ids=tuple(layer.diff_id for layer in layers)),
        created=moment or base.created,
    )
    if platform is not None:
        config = _for_platform(config, platform)
    return Image.build(config, tuple(_as_oci(layer) for layer in layers))


def _lines(
    plan: Plan, stage: StagePlan, created: Mapping[int, str], epoch: int | None
) -> list[History]:
    lines = []
    for index in stage.lines:
        step = plan.steps[index]
        layered = step.definition is not None
        moment = created.get(index, "") if layered else ""
        lines.append(
            History(
                created=rfc3339(epoch) if epoch is not None else moment,
                created_by=step.created_by,
                comment=COMMENT,
                empty_layer=not layered,
            )
        )
    return lines


def _times(lines: tuple[History, ...]) -> tuple[History, ...]:
    """Lines without a time get that of the layer before, or of the first new layer."""
    first_gap = next((index for index, line in enumerate(lines) if not line.created), None)
    if first_gap is None:
        return lines
    after = [line.created for line in lines[first_gap:] if line.created]
    before = [line.created for line in lines[:first_gap] if line.created]
    current = after[0] if after else (before[-1] if before else "")
    filled = list(lines[:first_gap])
    for line in lines[first_gap:]:
        current = line.created or current
        filled.append(replace(line, created=current))
    return tuple(filled)


def _for_platform(config: ImageConfig, platform: Platform) -> ImageConfig:
    same = (config.os, config.architecture) == (platform.os, platform.architecture)
    variant = platform.variant if platform.variant or not same else config.variant
    return replace(config, os=platform.os, architecture=platform.architecture, variant=variant)


def _as_oci(layer: Layer) -> Layer:
    media_type = _AS_OCI.get(layer.descriptor.media_type)
    if media_type is None:
        return layer
    return replace(layer, descriptor=replace(layer.descriptor, media_type=media_type))


def store_image(image: Image, content: ContentStore) -> None:
    """Put the two documents of an image beside its layers."""
    content.put(OCI_CONFIG, image.raw_config)
    content.put(image.descriptor.media_type, image.raw_manifest)
