"""The design system keeps its promises: contrast, and one palette for both themes."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from magics.css import page
from magics.theme import DARK, LIGHT, themed

TEXTS = ("ink", "muted", "blue", "green", "red", "amber")
MARKS = ("bar", "hatch")


def luminance(colour: str) -> float:
    """Relative luminance of WCAG 2.1."""
    parts = [int(colour[index : index + 2], 16) / 255 for index in (1, 3, 5)]
    linear = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(first: str, second: str) -> float:
    high, low = sorted((luminance(first), luminance(second)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("palette", [LIGHT, DARK], ids=["light", "dark"])
@pytest.mark.parametrize("ground", ["paper", "soft"])
def test_text_has_a_contrast_of_four_and_a_half(palette: Mapping[str, str], ground: str) -> None:
    for name in TEXTS:
        assert contrast(palette[name], palette[ground]) >= 4.5, name


@pytest.mark.parametrize("palette", [LIGHT, DARK], ids=["light", "dark"])
def test_marks_have_a_contrast_of_three(palette: Mapping[str, str]) -> None:
    for name in MARKS:
        assert contrast(palette[name], palette["paper"]) >= 3, name


def test_both_palettes_name_the_same_colours() -> None:
    assert LIGHT.keys() == DARK.keys()


def test_dark_rules_follow_the_pages_of_jupyter_and_code() -> None:
    rules = themed()
    assert "[data-jp-theme-light=false] .wb" in rules and ".vscode-dark .wb" in rules
    assert "var(--jp-content-font-color1" in rules


def test_each_output_carries_its_own_rules_and_they_are_small() -> None:
    assert page("").startswith('<div class="wb"><style>') and len(page("")) < 5000
