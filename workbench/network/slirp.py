"""Networks without privilege: slirp4netns or pasta, where the host has one of them.

Each container gets a TAP device whose packets the tool turns into ordinary sockets of the user.
A small process (``python -m workbench.network.slirp``) starts the tool and ends it with the
container. Containers do not see each other; the world and published ports work.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from workbench.errors import Conflict, InvalidInput, Unsupported
from workbench.network.driver import Attachment, Endpoint, Network, Publication
from workbench.network.gate import home, module_arguments
from workbench.network.names import start_time

ADDRESS: Final = "10.0.2.100"
NAME_SERVER: Final = "10.0.2.3"
_READY: Final = 15.0


def find(path: str | None = None) -> str:
    """The tool to use, pasta or slirp4netns, by its path; empty where there is neither."""
    return shutil.which("slirp4netns", path=path) or shutil.which("pasta", path=path) or ""


def command(
    tool: str, pid: int, ports: Sequence[Publication], *, ready: int = -1, api: str = ""
) -> list[str]:
    """The arguments that connect the namespace of ``pid``; pure."""
    if Path(tool).name == "pasta":
        words = [tool, "--config-net", "--foreground", "--quiet", "--no-map-gw"]
        for port in ports:
            host = f"{port.host_ip}/" if port.host_ip else ""
            mark = "-u" if port.protocol == "udp" else "-t"
            words += [mark, f"{host}{port.host_port}:{port.container_port}"]
        for mark, protocol in (("-t", "tcp"), ("-u", "udp")):
            if not any(port.protocol == protocol for port in ports):
                words += [mark, "none"]
        return [*words, "-T", "none", "-U", "none", str(pid)]
    words = [tool, "--configure", "--mtu=65520", "--disable-host-loopback"]
    words += [f"--ready-fd={ready}"] if ready >= 0 else []
    words += [f"--api-socket={api}"] if api else []
    return [*words, str(pid), "tap0"]


class SlirpDriver:
    """Every network of an ordinary user is one of these: a way to the world for one container."""

    def __init__(self, tool: str) -> None:
        if not tool:
            raise Unsupported(
                "containers of an ordinary user have no network here",
                hint="install slirp4netns or passt, or run with --network none or host",
            )
        self._tool = tool

    def create(self, network: Network) -> tuple[str, ...]:
        """Nothing to make; says what such a network cannot do."""
        if network.internal:
            raise Unsupported("internal networks need root")
        return ("without root containers reach the world, but not each other",)

    def attach(self, network: Network, endpoint: Endpoint, pid: int) -> Attachment:
        """Start the tool. Raises Conflict where a port is taken, Unsupported where it fails."""
        request = {
            "tool": self._tool,
            "pid": pid,
            "started": start_time(pid),
            "ports": [
                [port.protocol, port.host_ip, port.host_port, port.container_port]
                for port in endpoint.ports
            ],
        }
        run = subprocess.run(
            [sys.executable, *module_arguments("workbench.network.slirp")],
            input=json.dumps(request).encode(),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=home(),
            start_new_session=True,
            timeout=2 * _READY,
            check=False,
        )
        if run.stdout == b"+":
            return Attachment(endpoint=endpoint, host_link="tap0")
        text = run.stdout.decode("utf-8", "replace") or "it ended at once"
        if text.startswith("port "):
            raise Conflict(text)
        raise Unsupported(f"{Path(self._tool).name} does not connect the container: {text}")

    def detach(self, network: Network, endpoint: Endpoint, *, ended: bool = False) -> None:
        """The tool ends with its container; before that it cannot be taken away."""
        if not ended:
            raise InvalidInput("a container of an ordinary user cannot leave its network")

    def delete(self, network: Network) -> None:
        """Nothing was made."""

    def reconcile(self, networks: Sequence[Network], endpoints: Sequence[Endpoint]) -> None:
        """The tools keep themselves."""


def _forward(api: str, port: list[Any]) -> str:
    """Ask slirp4netns to publish a port; empty, or what went wrong."""
    protocol, host, outside, inside = port
    arguments = {
        "proto": protocol,
        "host_addr": host or "0.0.0.0",
        "host_port": outside,
        "guest_port": inside,
    }
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(_READY)
        client.connect(api)
        client.sendall(json.dumps({"execute": "add_hostfwd", "arguments": arguments}).encode())
        client.shutdown(socket.SHUT_WR)
        answer = json.loads(client.recv(4096) or b"{}")
    failure = answer.get("error")
    return f"port {outside}/{protocol} cannot be published: {failure['desc']}" if failure else ""


def _run(request: dict[str, Any], folder: str) -> tuple[subprocess.Popen[bytes], str]:
    """Start the tool; the process, and what went wrong."""
    ports = [
        Publication(protocol=item[0], host_ip=item[1], host_port=item[2], container_port=item[3])
        for item in request["ports"]
    ]
    reader, writer = os.pipe()
    api = str(Path(folder) / "api") if ports else ""
    words = command(request["tool"], request["pid"], ports, ready=writer, api=api)
    process = subprocess.Popen(
        words,
        pass_fds=(writer,),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    os.close(writer)
    if Path(request["tool"]).name == "pasta":
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.3)
            return process, _words(process)
        return process, ""
    select.select([reader], [], [], _READY)
    if os.read(reader, 1) != b"1":
        process.wait(_READY)
        return process, _words(process)
    for port in request["ports"]:
        if failure := _forward(api, port):
            return process, failure
    return process, ""


def _words(process: subprocess.Popen[bytes]) -> str:
    """What the tool had to say at the end: the cause often stands a line before the outcome."""
    assert process.stderr is not None
    lines = process.stderr.read().decode("utf-8", "replace").strip().splitlines()
    return "; ".join(lines[-2:]) if lines else f"it ended with {process.returncode}"


def main() -> None:
    """Start the tool, say so, and end it with the container."""
    request = json.loads(sys.stdin.buffer.read())
    life = os.pidfd_open(request["pid"])
    if start_time(request["pid"]) != request["started"]:
        return
    with tempfile.TemporaryDirectory(prefix="workbench-slirp-") as folder:
        process, failure = _run(request, folder)
        if failure:
            process.kill()
            process.wait()
            os.write(1, failure.encode())
            return
    os.write(1, b"+")
    if os.fork():
        os._exit(0)
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in range(3):
        os.dup2(null, descriptor)
    select.select([life], [], [])
    with contextlib.suppress(ProcessLookupError):
        os.kill(process.pid, signal.SIGTERM)


if __name__ == "__main__":
    main()
