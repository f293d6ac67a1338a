"""The engine: the only place that knows every part, one service per noun.

In: ``Config`` and values such as ``RunOptions``. Out: frozen values of ``values.py``.
Start reading at ``Engine.open`` below, then the noun that you care about.
"""
