"""Lines of an image's history as people wrote them, without what builders put around them."""

from __future__ import annotations

import re
from typing import Final

_NOP: Final = re.compile(r"^/bin/sh -c #\(nop\)\s+")
_SHELL: Final = re.compile(r"^(?:RUN )?(?:\|\d+ (?:\S+=\S* )*)?/bin/sh -c ")
_BUILDKIT: Final = re.compile(r"\s*# buildkit$")


def short(created_by: str) -> str:
    """``/bin/sh -c #(nop)  CMD ["sh"]`` gives ``CMD ["sh"]``, ``/bin/sh -c ls`` ``RUN ls``."""
    text = _BUILDKIT.sub("", created_by).strip()
    bare = _NOP.sub("", text)
    if bare == text:
        bare = _SHELL.sub("RUN ", text, count=1)
    return " ".join(bare.split())
