"""One small process per container, and the launcher that forks it.

In: a container's directory (bundle and ``monitor.json``) and requests on a Unix socket. Out: the
container's output, its log file, ``exit.json``. Files and a socket, no database, few imports.
Start reading at ``run.py``; the engine's side of the socket is ``client.py``.
"""
