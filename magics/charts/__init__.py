"""Pictures as inline SVG: value in, text of an SVG out; no I/O.

Start reading at ``layers.py``.
"""
