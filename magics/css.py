"""The style rules of the HTML pictures, built from ``theme.py``; each output carries its own."""

from __future__ import annotations

from typing import Final

from magics.theme import MONO, RADIUS, SANS, SMALL, SPACE, themed

_TABLE: Final = (
    ".wb .wb-scroll{overflow-x:auto;max-width:100%}"
    ".wb table.wb-t{border-collapse:collapse;border:0;margin:0;width:auto;table-layout:auto;"
    f"font:{SMALL}px/1.5 {SANS};color:inherit}}"
    ".wb .wb-t caption,.wb .wb-head{caption-side:top;text-align:left;font-weight:600;"
    f"font-size:13px;color:var(--wb-ink);padding:0 0 {SPACE}px;margin:0;white-space:nowrap}}"
    ".wb p.wb-head{white-space:normal}"
    f".wb .wb-t th,.wb .wb-t td{{padding:{SPACE // 2}px {SPACE * 2}px {SPACE // 2}px 0;border:0;"
    "border-bottom:1px solid var(--wb-line);text-align:left;vertical-align:top;"
    "white-space:nowrap;max-width:none;background:none}"
    ".wb .wb-t thead th{color:var(--wb-muted);font-weight:500;border-bottom-width:1px;"
    "vertical-align:bottom}"
    ".wb .wb-t tbody tr,.wb .wb-t tbody tr:nth-child(odd),.wb .wb-t tbody tr:nth-child(even)"
    "{background:none}"
    ".wb .wb-t tbody tr:hover{background:var(--wb-soft)}"
    ".wb .wb-t tbody tr:last-child td{border-bottom:0}"
    ".wb .wb-t th:last-child,.wb .wb-t td:last-child{padding-right:0}"
    ".wb .wb-t .wb-n{text-align:right;font-variant-numeric:tabular-nums}"
    f".wb .wb-t .wb-c{{font-family:{MONO};white-space:pre-wrap;overflow-wrap:anywhere;"
    "min-width:26ch;max-width:72ch}"
    f"@media (max-width:600px){{.wb .wb-t th,.wb .wb-t td{{padding-right:{SPACE}px}}"
    ".wb .wb-t .wb-c{min-width:18ch}}"
    f".wb .wb-t .wb-i{{font-family:{MONO};color:var(--wb-muted)}}"
    ".wb .wb-t .wb-x{white-space:normal;overflow-wrap:anywhere;min-width:14ch;max-width:60ch}"
)
_WORDS: Final = (
    ".wb .wb-green{color:var(--wb-green)}.wb .wb-red{color:var(--wb-red)}"
    ".wb .wb-amber{color:var(--wb-amber)}.wb .wb-blue{color:var(--wb-blue)}"
    ".wb .wb-muted{color:var(--wb-muted)}"
    f".wb .wb-mono{{font-family:{MONO}}}"
    f".wb .wb-note{{color:var(--wb-muted);font-size:{SMALL}px;margin:{SPACE}px 0 0}}"
    f".wb .wb-empty{{border:1px dashed var(--wb-line);border-radius:{RADIUS}px;margin:0;"
    f"padding:{SPACE}px {SPACE * 2}px;color:var(--wb-muted);display:inline-block}}"
    f".wb code{{font-family:{MONO};background:var(--wb-soft);color:inherit;padding:1px 4px;"
    f"border-radius:{RADIUS}px;font-size:{SMALL}px}}"
)
BUILD: Final = (
    f".wb pre.wb-tail{{font:{SMALL}px/1.45 {MONO};background:var(--wb-soft);color:var(--wb-ink);"
    f"border-left:3px solid var(--wb-line);border-radius:0 {RADIUS}px {RADIUS}px 0;"
    f"margin:{SPACE // 2}px 0;padding:{SPACE // 2}px {SPACE}px;max-height:13em;overflow:auto;"
    "white-space:pre-wrap;overflow-wrap:anywhere}"
    ".wb .wb-t tr.wb-run td,.wb .wb-t tr.wb-bad td{border-bottom:0}"
    ".wb .wb-t tr.wb-out td{padding-top:0}"
    f".wb .wb-track{{height:4px;border-radius:2px;background:var(--wb-line);max-width:320px;"
    f"margin:0 0 {SPACE}px;overflow:hidden}}"
    ".wb .wb-track i{display:block;height:100%;background:var(--wb-bar)}"
    ".wb .wb-live{display:inline-block}"
    "@media (prefers-reduced-motion:no-preference){.wb .wb-live{animation:wb-live 1.2s "
    "ease-in-out infinite alternate}@keyframes wb-live{from{opacity:1}to{opacity:.25}}}"
)


def page(inner: str, *extra: str) -> str:
    """One output: the rules that it needs, and its content."""
    return f'<div class="wb"><style>{themed()}{_WORDS}{_TABLE}{"".join(extra)}</style>{inner}</div>'
