"""Shown: a value with a picture as HTML and as plain text, for IPython's formatters."""

from __future__ import annotations

from typing import Protocol


class Shown(Protocol):
    """Both pictures read without JavaScript; the text says what the HTML says."""

    def html(self) -> str: ...
    def text(self) -> str: ...
