"""Checks of the commands that RUN gives to a shell. Source: hadolint's wiki, the DL rules."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from typing import Final

from workbench.build.instructions import Copy, Run, Shell, User
from workbench.build.lint_rules import RULES, Finding
from workbench.build.remotes import RemoteKind, remote_kind
from workbench.build.stages import Stage

_SEPARATORS: Final = frozenset({"&&", "||", ";", "|", "&", "(", ")", "{", "}", "\n", "|&"})
_USELESS: Final = frozenset(
    {"ssh", "vim", "shutdown", "service", "ps", "free", "top", "kill", "mount"}
)
_ARCHIVE: Final = re.compile(r"\.(?:tar|tgz|txz|tbz2?)(?:\.|$)")
_ASSIGNMENT: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=")
_INSTALLS: Final = ("pip install", "npm install", "npm ci", "yarn install", "poetry install")


def commands_of(run: Run) -> list[list[str]]:
    """The simple commands of a RUN, each as its words; nothing where quotes do not match."""
    if not run.command.shell:
        return [list(run.command.args)]
    text = run.command.heredocs[0].content if run.command.heredocs else run.command.args[0]
    lexer = shlex.shlex(text, posix=True, punctuation_chars=True)
    lexer.whitespace = " \t\r"
    lexer.commenters = ""
    try:
        tokens = list(lexer)
    except ValueError:
        return []
    commands: list[list[str]] = [[]]
    for token in tokens:
        if token in _SEPARATORS or set(token) <= {"\n", ";"}:
            commands.append([])
        elif commands[-1] or not _ASSIGNMENT.match(token):
            commands[-1].append(token)
    return [words for words in commands if words]


def _find(stage: Stage) -> Iterator[tuple[Run, list[list[str]]]]:
    for item in stage.body:
        if isinstance(item, Run) and (item.command.args or item.command.heredocs):
            yield item, commands_of(item)


def _finding(rule: str, message: str, run: Run) -> Finding:
    return Finding(rule=RULES[rule], message=message, span=run.where.span)


def programs(stage: Stage) -> Iterator[Finding]:
    """Programs that do not belong into a build, or not so."""
    pipefail = any(isinstance(item, Shell) and "pipefail" in item.args for item in stage.body)
    for run, commands in _find(stage):
        names = {words[0] for words in commands}
        for name in sorted(names & _USELESS):
            message = (
                f"For some bash commands it makes no sense running them in a container: {name}"
            )
            yield _finding("DL3001", message, run)
        if commands and commands[0][0] == "cd":
            yield _finding("DL3003", "Use WORKDIR to switch to a directory", run)
        if "sudo" in names:
            yield _finding("DL3004", "Do not use sudo as it leads to unpredictable behavior", run)
        if "apt" in names:
            yield _finding("DL3027", "Do not use apt, use apt-get instead", run)
        text = run.command.args[0] if run.command.shell and run.command.args else ""
        if re.search(r"[^|]\|[^|]", text) and "pipefail" not in text and not pipefail:
            message = "Set the SHELL option -o pipefail before RUN with a pipe in it"
            yield _finding("DL4006", message, run)


def packages(stage: Stage) -> Iterator[Finding]:
    """Package managers: versions, questions, and what they leave behind."""
    for run, commands in _find(stage):
        cached = {word.text for word in run.mounts if "type=cache" in word.text}
        for words in commands:
            if words[0] in ("apt-get", "apt") and "install" in words:
                yield from _apt(run, words, commands, bool(cached))
            elif words[0] == "apk" and "add" in words:
                yield from _apk(run, words, bool(cached))
            elif words[0] in ("pip", "pip3") and "install" in words:
                yield from _pip(run, words, bool(cached))


def _apt(run: Run, words: list[str], commands: list[list[str]], cached: bool) -> Iterator[Finding]:
    flags = {word for word in words if word.startswith("-")}
    names = [word for word in words[words.index("install") + 1 :] if not word.startswith("-")]
    if any("=" not in name and "/" not in name and "$" not in name for name in names):
        yield _finding("DL3008", "Pin versions in apt get install", run)
    if not any(_says_yes(flag) for flag in flags):
        yield _finding("DL3014", "Use the -y switch to avoid manual input", run)
    if "--no-install-recommends" not in flags:
        message = "Avoid additional packages by specifying --no-install-recommends"
        yield _finding("DL3015", message, run)
    removed = any(
        other[0] == "rm" and any("/var/lib/apt/lists" in word for word in other)
        for other in commands
    )
    if not removed and not cached:
        message = "Delete the apt lists (/var/lib/apt/lists) after installing something"
        yield _finding("DL3009", message, run)


def _says_yes(flag: str) -> bool:
    if flag.startswith("--"):
        return flag in ("--yes", "--assume-yes")
    return "y" in flag or "qq" in flag


def _apk(run: Run, words: list[str], cached: bool) -> Iterator[Finding]:
    names = [word for word in words[words.index("add") + 1 :] if not word.startswith((".", "-"))]
    if any(not set("=~<>$") & set(name) for name in names):
        yield _finding("DL3018", "Pin versions in apk add", run)
    if "--no-cache" not in words and not cached:
        yield _finding("DL3019", "Use the --no-cache switch", run)


def _pip(run: Run, words: list[str], cached: bool) -> Iterator[Finding]:
    rest = words[words.index("install") + 1 :]
    listed = {"-r", "--requirement", "-e", "--editable", "-c"} & set(rest)
    names = [word for word in rest if not word.startswith(("-", ".", "/", "$"))]
    if not listed and any(not re.search(r"[=<>~@]|\.whl|://", name) for name in names):
        yield _finding("DL3013", "Pin versions in pip", run)
    if "--no-cache-dir" not in rest and not cached:
        yield _finding("DL3042", "Avoid use of cache directory with pip", run)


def layers(stage: Stage) -> Iterator[Finding]:
    """RUNs that could be one, and ADD where COPY would do."""
    before: Run | None = None
    for item in stage.body:
        if isinstance(item, Run):
            alike = before is not None and (before.mounts, before.network) == (
                item.mounts,
                item.network,
            )
            if alike and not item.command.heredocs:
                message = "Multiple consecutive RUN instructions"
                yield _finding("DL3059", message, item)
            before = item
        else:
            before = None
        if isinstance(item, Copy) and item.add and item.sources:
            plain = all(
                remote_kind(word.text) is RemoteKind.LOCAL and not _ARCHIVE.search(word.text)
                for word in item.sources
            )
            if plain:
                message = "Use COPY instead of ADD for files and folders"
                yield Finding(rule=RULES["DL3020"], message=message, span=item.where.span)


def user(stage: Stage) -> Iterator[Finding]:
    """A stage that says USER and ends as root."""
    users = [item for item in stage.body if isinstance(item, User)]
    if users and users[-1].user.partition(":")[0] in ("root", "0"):
        message = "Last USER should not be root"
        yield Finding(rule=RULES["DL3002"], message=message, span=users[-1].where.span)


def dependencies(stage: Stage) -> Iterator[Finding]:
    """Everything copied, then an install: any change reruns the install."""
    copied: Copy | None = None
    for item in stage.body:
        if isinstance(item, Copy) and not item.from_:
            everything = any(word.text in (".", "./", "/") for word in item.sources)
            copied = copied or (item if everything else None)
        if isinstance(item, Run) and copied is not None:
            text = " ".join(item.command.args)
            if any(install in text for install in _INSTALLS):
                message = "The whole context is copied before dependencies are installed"
                yield Finding(rule=RULES["WB001"], message=message, span=copied.where.span)
                copied = None
