"""Base images made out of this host: something to build on where no registry can be reached.

In: the name of a kind ("toolbox", "python", "debian:bookworm-slim"). Out: a ``BasePlan``, which
is a list of files, a configuration and labels, and the tar of a layer made from it. The same host
gives the same bytes. Start reading at ``plan.py``, then ``toolbox.py``.
"""
