"""The flags of ``docker run``, as a parser that execution, help and completion share."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from typing import Any, Final

from magics.grammar import Parser, Thing

# Flags as (names, kind, what it is for). Kinds: yes, text, many, number, float.
_Flag = tuple[tuple[str, ...], str, str]
_GENERAL: Final[tuple[_Flag, ...]] = (
    (("-d", "--detach"), "yes", "run in the background"),
    (("-i", "--interactive"), "yes", "keep standard input open (of a container in the background)"),
    (("-t", "--tty"), "yes", "give it a terminal"),
    (("--rm",), "yes", "remove the container when it ends"),
    (("--name",), "text", "a name for the container"),
    (("-e", "--env"), "many", "NAME=VALUE of an environment variable"),
    (("--env-file",), "many", "a file of NAME=VALUE lines"),
    (("-w", "--workdir"), "text", "the directory to start in"),
    (("-u", "--user"), "text", "user or user:group to run as"),
    (("--group-add",), "many", "one more group"),
    (("--entrypoint",), "text", "the program to run instead of the image's"),
    (("-l", "--label"), "many", "KEY=VALUE"),
    (("--init",), "yes", "run a small init that reaps processes"),
    (("--restart",), "text", "no, always, unless-stopped or on-failure[:N]"),
    (("--stop-signal",), "text", "the signal that asks it to stop"),
    (("--stop-timeout",), "number", "seconds to wait before it is killed"),
    (("--pull",), "text", "missing, always or never"),
    (("--platform",), "text", "os/architecture of the image"),
    (("--log-driver",), "text", "json-file, local or none"),
    (("--log-opt",), "many", "KEY=VALUE for the log"),
    (("--health-cmd",), "text", "a command that tells whether it is well"),
    (("--health-interval",), "text", "time between two checks, such as 5s"),
    (("--health-timeout",), "text", "time after which a check has failed"),
    (("--health-start-period",), "text", "time in which failures do not count"),
    (("--health-retries",), "number", "failures in a row that make it unhealthy"),
    (("--no-healthcheck",), "yes", "do without the image's check"),
)
_FILES: Final[tuple[_Flag, ...]] = (
    (("-v", "--volume"), "many", "[SOURCE:]TARGET[:ro] of a directory or volume"),
    (("--mount",), "many", "type=bind,source=…,target=…"),
    (("--tmpfs",), "many", "TARGET[:size=64m] in memory"),
    (("--volumes-from",), "many", "the mounts of another container"),
    (("--device",), "many", "a device of the host"),
    (("--read-only",), "yes", "no writing to the root file system"),
    (("--shm-size",), "text", "size of /dev/shm"),
)
_NETWORK: Final[tuple[_Flag, ...]] = (
    (("--network", "--net"), "text", "bridge, host, none, container:NAME or a network's name"),
    (("-p", "--publish"), "many", "[[IP:]HOST:]PORT[/tcp]"),
    (("-P", "--publish-all"), "yes", "publish every exposed port"),
    (("--expose",), "many", "a port that others may publish"),
    (("-h", "--hostname"), "text", "its host name"),
    (("--domainname",), "text", "its domain name"),
    (("--network-alias",), "many", "one more name in the network"),
    (("--ip",), "text", "its IPv4 address"),
    (("--ip6",), "text", "its IPv6 address"),
    (("--mac-address",), "text", "its hardware address"),
    (("--dns",), "many", "a name server"),
    (("--dns-search",), "many", "a domain to search names in"),
    (("--dns-option",), "many", "an option of resolv.conf"),
    (("--add-host",), "many", "NAME:ADDRESS for /etc/hosts"),
    (("--link",), "many", "another container to reach by name"),
)
_LIMITS: Final[tuple[_Flag, ...]] = (
    (("-m", "--memory"), "text", "memory limit, such as 512m"),
    (("--memory-swap",), "text", "memory and swap together; -1 for no limit"),
    (("--memory-reservation",), "text", "soft memory limit"),
    (("--cpus",), "float", "number of processors"),
    (("-c", "--cpu-shares"), "number", "weight of processor time"),
    (("--cpuset-cpus",), "text", "processors to use, such as 0-1"),
    (("--pids-limit",), "number", "most processes at a time"),
    (("--ulimit",), "many", "NAME=SOFT[:HARD]"),
    (("--oom-kill-disable",), "yes", "do not kill it for want of memory"),
    (("--oom-score-adj",), "number", "how soon it is killed for want of memory"),
)
_SECURITY: Final[tuple[_Flag, ...]] = (
    (("--privileged",), "yes", "all that root of the host may do"),
    (("--cap-add",), "many", "one more capability"),
    (("--cap-drop",), "many", "one capability less"),
    (("--security-opt",), "many", "such as seccomp=unconfined"),
    (("--sysctl",), "many", "NAME=VALUE of a kernel parameter"),
    (("--pid",), "text", "host or container:NAME"),
    (("--ipc",), "text", "host or container:NAME"),
    (("--uts",), "text", "host"),
    (("--userns",), "text", "host"),
    (("--cgroupns",), "text", "host or private"),
)
_GROUPS: Final = (
    ("the container", _GENERAL),
    ("files", _FILES),
    ("network", _NETWORK),
    ("limits", _LIMITS),
    ("security", _SECURITY),
)
_THINGS: Final[dict[str, Thing]] = {
    "volumes_from": "container",
    "network": "network",
    "volume": "volume",
    "link": "container",
    "env_file": "directory",
}
_KINDS: Final[dict[str, dict[str, Any]]] = {
    "yes": {"action": "store_true"},
    "text": {"default": None},
    "many": {"action": "append", "default": []},
    "number": {"type": int, "default": None},
    "float": {"type": float, "default": None},
}


class RunParser(Parser):
    """``docker run``'s grammar: flags end at the image; what follows belongs to the command."""

    def __init__(self, *, script: bool = False) -> None:
        text = (
            "Run the cell as a script in a new container."
            if script
            else "Run a command in a new container, as docker run does."
        )
        super().__init__("run_container", text, cell=script)
        if script:
            self.add(
                "--shell", default="sh", metavar="PROGRAM",
                help="what reads the script: sh (the default), bash, python3, perl, node, ruby",
            )  # fmt: skip
        for title, flags in _GROUPS:
            _add_group(self, title, flags)
        self.add("image", metavar="IMAGE", thing="image", help="the image to run")
        self.add(
            "command", metavar="COMMAND", nargs=argparse.REMAINDER,
            help="arguments of the script" if script else "the command and its arguments",
        )  # fmt: skip

    def _own(self, words: list[str]) -> Iterable[str]:
        """The words up to the image."""
        takes = {
            name
            for action in self._actions
            if action.nargs != 0
            for name in action.option_strings
        }
        position = 0
        while position < len(words) and words[position].startswith("-"):
            position += 2 if words[position] in takes else 1
        return words[:position]


def _add_group(parser: RunParser, title: str, flags: tuple[_Flag, ...]) -> None:
    group = parser.add_argument_group(title)
    for names, kind, text in flags:
        options = dict(_KINDS[kind])
        if kind == "many":
            options["default"] = []
        if kind != "yes":
            options["metavar"] = names[-1].lstrip("-").upper().replace("-", "_")
        dest = group.add_argument(*names, help=text.replace("%", "%%"), **options).dest
        parser.things[dest] = _THINGS.get(dest, "")
