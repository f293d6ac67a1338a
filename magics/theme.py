"""The design system: type, spacing, colours for light and dark, and patterns. One file for all.

HTML and inline SVG use the CSS variables below. They follow JupyterLab's and VS Code's own where
those have a fitting one, and fall back on fixed values elsewhere (an exported page). The series
colours are after Okabe and Ito, told apart with every kind of colour vision; whatever colour says,
a word, a sign or a pattern says too. Text keeps a contrast of at least 4.5 to 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

# Sizes in pixels at 100 % zoom.
TEXT: Final = 13
SMALL: Final = 12
SPACE: Final = 8
RADIUS: Final = 4

LIGHT: Final[Mapping[str, str]] = {
    "ink": "#1f2328",
    "muted": "#59636e",
    "paper": "#ffffff",
    "soft": "#f4f6f8",
    "line": "#d5dae0",
    "blue": "#0969a2",
    "green": "#1a7446",
    "red": "#b3261e",
    "amber": "#8a5a00",
    "bar": "#3d8fc9",
    "shared": "#b8c4d0",
    "hatch": "#6d7d8d",
}
DARK: Final[Mapping[str, str]] = {
    "ink": "#e6e9ed",
    "muted": "#a3adb8",
    "paper": "#111111",
    "soft": "#1e2227",
    "line": "#3a4149",
    "blue": "#79c0ff",
    "green": "#5fd39a",
    "red": "#ff9b8f",
    "amber": "#f0b849",
    "bar": "#4a9fdc",
    "shared": "#3d4854",
    "hatch": "#8896a5",
}
# What the surrounding page decides, when it says so.
_FOLLOW: Final = {
    "ink": "var(--jp-content-font-color1, var(--vscode-foreground, {}))",
    "paper": "var(--jp-layout-color0, var(--vscode-editor-background, {}))",
}
SANS: Final = (
    "var(--jp-content-font-family, system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif)"
)
MONO: Final = "var(--jp-code-font-family, ui-monospace, SFMono-Regular, Menlo, Consolas, monospace)"

_DARK_PLACES: Final = "[data-jp-theme-light=false] .wb,.vscode-dark .wb,.wb.wb-dark"


def variables(palette: Mapping[str, str], *, follow: bool) -> str:
    """A palette as CSS declarations; ``follow`` lets the page's own variables win."""
    return "".join(
        f"--wb-{name}:{_FOLLOW[name].format(value) if follow and name in _FOLLOW else value};"
        for name, value in palette.items()
    )


def themed() -> str:
    """The rules that set the variables, light and dark."""
    return (
        f".wb{{{variables(LIGHT, follow=True)}color:var(--wb-ink);"
        f"font:{TEXT}px/1.5 {SANS};max-width:1100px;margin:{SPACE // 2}px 0;"
        # In JupyterLab, as far in as the text of a cell's source and of its streams.
        f"padding-left:calc(var(--jp-code-padding,0px) + 2px);"
        f"-webkit-text-size-adjust:100%}}"
        f"{_DARK_PLACES}{{{variables(DARK, follow=True)}}}"
    )


def alone(palette: Mapping[str, str]) -> str:
    """The rules of a picture that stands by itself in a file."""
    return f".wb{{{variables(palette, follow=False)}font:{TEXT}px/1.5 {SANS}}}"
