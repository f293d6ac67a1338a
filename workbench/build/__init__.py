"""A Dockerfile becomes an image: text, instructions, a graph of steps, layers.

In: a ``BuildRequest`` (text, context, arguments) and ``Parts`` (stores, a runner, a cache) that the
engine hands in. Out: an image in the content store, and a record of every step with the reason why
it ran. Each stage of the way is a frozen value that can be printed and compared.
Start reading at ``dockerfile.py``, then ``plan.py``, then ``solve.py``.
"""
