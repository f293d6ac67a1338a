"""A program of its own: one task on a tree, as root of a user namespace. ``access.py`` runs it.

``python within.py FD members CHANGES LOWER...``, ``FD measure PATH`` or ``FD remove PATH``. FD is a
SOCK_SEQPACKET socket. It says ``{}`` once it is in its namespace, waits until the maps are written,
and sends JSON messages, the last of which is ``{"done": true}`` or an error.
"""

from __future__ import annotations

import json
import socket
import sys
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from workbench.errors import WorkbenchError
from workbench.linux import namespaces
from workbench.store.access import entry_to
from workbench.store.capture import overlay_members
from workbench.store.remove import remove_tree
from workbench.store.usage import measure


def main(end: socket.socket, task: str, paths: list[Path]) -> None:
    """Do the task and tell how it went."""
    try:
        namespaces.unshare(namespaces.CLONE_NEWUSER)
        _send(end, {})
        if not end.recv(16):
            return
        _do(end, task, paths)
        _send(end, {"done": True})
    except BrokenPipeError:
        return
    except WorkbenchError as error:
        name = type(error).__name__
        _send(end, {"error": name, "message": error.message, "hint": error.hint})
    except OSError as error:
        facts = {"errno": error.errno, "message": error.strerror, "path": error.filename}
        _send(end, {"error": "OSError", **facts})


def _do(end: socket.socket, task: str, paths: list[Path]) -> None:
    if task == "remove":
        remove_tree(str(paths[0]))
    elif task == "measure":
        usage = measure(paths[0])
        _send(end, {"bytes": usage.bytes, "inodes": usage.inodes})
    else:

        def notice(text: str) -> None:
            _send(end, {"notice": text})

        for entry, file in overlay_members(paths[0], lowers=tuple(paths[1:]), notice=notice):
            _send(end, entry_to(entry), *([] if file is None else [file]))


def _send(end: socket.socket, body: dict[str, Any], *descriptors: int) -> None:
    socket.send_fds(end, [json.dumps(body).encode()], descriptors)


if __name__ == "__main__":
    main(socket.socket(fileno=int(sys.argv[1])), sys.argv[2], [Path(word) for word in sys.argv[3:]])
