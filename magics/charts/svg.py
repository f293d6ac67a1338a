"""Inline SVG: text that never breaks out, and Picture, an SVG to show or to save."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from pathlib import Path
from zlib import crc32

from magics.css import page
from magics.theme import LIGHT, alone


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A drawing. ``body`` is an ``<svg>`` element; ``words`` says the same as plain text."""

    body: str
    words: str

    def html(self) -> str:
        return page(self.body)

    def text(self) -> str:
        return self.words

    @property
    def svg(self) -> str:
        """The drawing as a file of its own: fixed colours, nothing from outside."""
        head, rest = self.body.replace(' width="100%"', "", 1).split(">", 1)
        rest = f"<style>{alone(LIGHT)}</style>{rest}"
        return f'{head} xmlns="http://www.w3.org/2000/svg" width="900">{rest}'

    def save(self, path: str | Path) -> Path:
        """Write ``svg`` to a file and return its path."""
        target = Path(path).expanduser()
        target.write_text(self.svg, "utf-8")
        return target


def identity(*parts: object) -> str:
    """An id for ``<defs>`` that differs between pictures of one page and not between runs."""
    return f"wb{crc32(repr(parts).encode()):08x}"


def text(x: str, y: float, words: str, *, style: str = "", anchor: str = "start") -> str:
    """A text element; ``x`` may be a percentage."""
    extra = f' style="{style}"' if style else ""
    return f'<text x="{x}" y="{y:g}" text-anchor="{anchor}"{extra}>{escape(words)}</text>'
