"""An OCI runtime: a bundle directory comes in, a running process comes out. Usable alone.

In: a ``Bundle`` (``config.json`` and ``rootfs.json``) and file descriptors. Out: a pid, a state
file, and errors of ``workbench.errors``. Knows no images, networks or volumes.
Start reading at ``plan.py`` (what will be done), then ``init.py`` (the loop that does it).
"""
