"""Layers of an image as steps: where each begins on the bytes below it, and how wide it is.

Horizontal places are percentages and heights are pixels, so that the drawing fills a wide window
and a narrow one with type of the same size; long labels are cut by a nested ``<svg>``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from math import floor, log10
from typing import Final

from magics import units
from magics.charts.svg import Picture, identity, text
from magics.theme import MONO, SMALL

_ROW: Final = 30
_TOP: Final = 26
_LABEL: Final = 38.0  # per cent of the width for the instruction
_PLOT: Final = 46.0  # for the bars; what is left holds the sizes
_BAR: Final = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One layer: the instruction that made it, its bytes, and how many other images share it."""

    label: str
    size: int
    shared: int = 0


def draw(name: str, steps: Sequence[Step]) -> Picture:
    """Layers from the base upwards."""
    total = sum(step.size for step in steps)
    mark = identity(name, steps)
    limit, ticks = _scale(total)
    height = _TOP + _ROW * len(steps) + (30 if any(step.shared for step in steps) else 6)
    parts = [
        f'<svg class="wb-svg" role="img" aria-labelledby="{mark}t {mark}d" width="100%" '
        f'height="{height}" style="display:block;max-width:900px;overflow:visible">',
        f'<title id="{mark}t">Layers of {escape(name)}, {units.size(total)} in all</title>',
        f'<desc id="{mark}d">{escape(_words(steps))}</desc>',
        _pattern(mark),
        _heads(),
        *(_tick(value, limit, height) for value in ticks),
        *_rows(steps, limit, mark),
        _legend(steps, mark, height),
        "</svg>",
    ]
    return Picture(body="".join(parts), words=_in_words(name, steps, total))


def _pattern(mark: str) -> str:
    """Diagonal lines for layers that other images have too, and the fading of long labels."""
    stop = '<stop offset="{}" style="stop-color:var(--wb-paper);stop-opacity:{}"/>'
    return (
        f'<defs><linearGradient id="{mark}f">{stop.format(0, 0)}{stop.format(1, 1)}'
        "</linearGradient>"
        f'<pattern id="{mark}p" width="6" height="6" patternUnits="userSpaceOnUse" '
        'patternTransform="rotate(45)"><rect width="6" height="6" style="fill:var(--wb-shared)"/>'
        '<path d="M0 0V6" style="stroke:var(--wb-hatch);stroke-width:3"/></pattern></defs>'
    )


def _scale(total: int) -> tuple[float, list[float]]:
    """The end of the axis in bytes, and two to five round numbers on it."""
    if total <= 0:
        return 1.0, [0.0]
    rough = total / 4
    power = 10.0 ** floor(log10(rough))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= rough)
    ticks = [step * index for index in range(5) if step * index <= total]
    return float(total), ticks


def _at(value: float, limit: float) -> float:
    return _LABEL + _PLOT * value / limit


def _heads() -> str:
    style = f"fill:var(--wb-muted);font-size:{SMALL}px"
    return text("0", 14, "Layer, base first", style=style) + text(
        "100%", 14, "Size", style=style, anchor="end"
    )


def _tick(value: float, limit: float, height: int) -> str:
    """A vertical line with its number; the first keeps clear of the labels."""
    x = f"{_at(value, limit):.3f}%"
    bottom = height - 30 if height > _TOP + 40 else height
    return (
        f'<line x1="{x}" x2="{x}" y1="{_TOP - 4}" y2="{bottom}" '
        'style="stroke:var(--wb-line);stroke-width:1"/>'
        + text(
            x, 14, units.tick(value),
            style=f"fill:var(--wb-muted);font-size:{SMALL}px",
            anchor="start" if value == 0 else "middle",
        )
    )  # fmt: skip


def _rows(steps: Sequence[Step], limit: float, mark: str) -> list[str]:
    rows, below = [], 0
    for index, step in enumerate(steps):
        rows.append(_row(step, below, limit, _TOP + _ROW * index, mark))
        below += step.size
    return rows


def _row(step: Step, below: int, limit: float, top: int, mark: str) -> str:
    fill = f"url(#{mark}p)" if step.shared else "var(--wb-bar)"
    left, width = _at(below, limit), _PLOT * step.size / limit
    middle = top + _ROW / 2 + 4
    shared = f", shared with {_images(step.shared)}" if step.shared else ""
    tip = f"{step.label}\n{step.size:,} bytes{shared}"
    label = (
        f'<svg x="0" y="{top}" width="{_LABEL - 2}%" height="{_ROW}">'
        + text("0", _ROW / 2 + 4, step.label, style=f"fill:var(--wb-ink);font:{SMALL}px {MONO}")
        + f'<rect x="100%" width="24" height="{_ROW}" transform="translate(-24)" '
        f'fill="url(#{mark}f)"/></svg>'
    )
    bar = (
        f'<rect x="{left:.3f}%" y="{top + (_ROW - _BAR) / 2:g}" width="{width:.3f}%" '
        f'height="{_BAR}" rx="1" style="fill:{fill};stroke:var(--wb-{_edge(step)});'
        'stroke-width:1.5"/>'
    )
    number = text(
        "100%", middle, units.size(step.size),
        style=f"fill:var(--wb-ink);font-size:{SMALL}px;font-variant-numeric:tabular-nums",
        anchor="end",
    )  # fmt: skip
    return f"<g><title>{escape(tip)}</title>{label}{bar}{number}</g>"


def _edge(step: Step) -> str:
    """The outline keeps a layer of a few bytes visible as a thin mark."""
    return "hatch" if step.shared else "bar"


def _legend(steps: Sequence[Step], mark: str, height: int) -> str:
    if not any(step.shared for step in steps):
        return ""
    y = height - 20
    words = f"fill:var(--wb-muted);font-size:{SMALL}px"
    return (
        f'<rect x="{_LABEL}%" y="{y}" width="14" height="12" rx="1" style="fill:url(#{mark}p);'
        'stroke:var(--wb-hatch)"/>'
        f'<svg x="{_LABEL}%" y="{y - 4}" height="24" overflow="visible">'
        + text("20", 14, "shared with other images", style=words)
        + "</svg>"
    )


def _images(count: int) -> str:
    return f"{count} other image{'' if count == 1 else 's'}"


def _words(steps: Sequence[Step]) -> str:
    return "; ".join(
        f"{step.label}: {units.size(step.size)}"
        + (f", shared with {_images(step.shared)}" if step.shared else "")
        for step in steps
    )


def _in_words(name: str, steps: Sequence[Step], total: int) -> str:
    """The drawing as text: a bar of blocks for each layer."""
    width = 24
    lines = [f"Layers of {name}, {units.size(total)} in all"]
    for step in steps:
        blocks = round(width * step.size / total) if total else 0
        bar = ("▒" if step.shared else "█") * max(blocks, 1 if step.size else 0)
        label = step.label if len(step.label) <= 44 else step.label[:43] + "…"
        lines.append(f"{label:<44} {bar:<{width}} {units.size(step.size):>9}")
    return "\n".join(lines)
