"""The ``process`` section: command, environment, user, capabilities, limits."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from workbench.engine.options import RunOptions
from workbench.engine.spec.inputs import Inputs
from workbench.errors import InvalidInput
from workbench.linux import capabilities
from workbench.oci.image import ContainerConfig
from workbench.oci.runtime_spec import Capabilities, Process, Rlimit, User

DEFAULT_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
INIT_PATH: Final = "/sbin/docker-init"


def process(inputs: Inputs) -> Process:
    """Raises InvalidInput where neither the caller nor the image names a command."""
    options, user = inputs.options, inputs.user
    args = command(options, inputs.image)
    if inputs.init_program:
        args = (INIT_PATH, "--", *args)
    return Process(
        args=args,
        cwd=options.working_dir or inputs.image.working_dir or "/",
        env=environment(inputs),
        user=User(uid=user.uid, gid=user.gid, additional_gids=user.groups),
        terminal=options.tty,
        capabilities=capability_sets(options, user.uid),
        rlimits=tuple(
            Rlimit(type=f"RLIMIT_{limit.name.upper()}", soft=limit.soft, hard=limit.hard)
            for limit in options.ulimits
        ),
        no_new_privileges=_no_new_privileges(options),
        apparmor_profile=_apparmor(inputs),
        oom_score_adj=options.oom_score_adj,
    )


def command(options: RunOptions, image: ContainerConfig) -> tuple[str, ...]:
    """Entry point and arguments; a new entry point drops the image's CMD, as Docker does."""
    if options.entrypoint is not None:
        args = (*options.entrypoint, *(options.command or ()))
    else:
        args = (*image.entrypoint, *(options.command or image.cmd))
    if not args:
        raise InvalidInput("no command specified", hint="the image has neither CMD nor ENTRYPOINT")
    return args


def environment(inputs: Inputs) -> tuple[str, ...]:
    """Docker's own variables, then the image's, then the caller's; later ones replace earlier."""
    own = [f"PATH={DEFAULT_PATH}", f"HOSTNAME={inputs.hostname}"]
    if inputs.options.tty:
        own.append("TERM=xterm")
    merged = merge_environment(own, inputs.image.env)
    merged = merge_environment(merged, inputs.options.env)
    if not any(item.startswith("HOME=") for item in merged):
        merged = [*merged, f"HOME={inputs.user.home}"]
    return tuple(merged)


def merge_environment(base: Iterable[str], changes: Iterable[str]) -> list[str]:
    """``NAME=VALUE`` replaces in place or is appended; ``NAME`` alone takes the variable away."""
    merged = {item.partition("=")[0]: item for item in base}
    for item in changes:
        name, equals, _ = item.partition("=")
        if not name:
            raise InvalidInput(f"invalid environment variable: {item!r}")
        if equals:
            merged[name] = item
        else:
            merged.pop(name, None)
    return list(merged.values())


def capability_sets(options: RunOptions, uid: int) -> Capabilities:
    """Docker's defaults, changed by --cap-add and --cap-drop; none effective for another user."""
    names = granted(options)
    kept = names if uid == 0 else ()
    return Capabilities(bounding=names, effective=kept, permitted=kept)


def granted(options: RunOptions) -> tuple[str, ...]:
    """The capabilities of the bounding set, in the order of their numbers."""
    security = options.security
    if security.privileged:
        return capabilities.ALL
    added = {_capability(name) for name in security.cap_add}
    dropped = {_capability(name) for name in security.cap_drop}
    base = set(capabilities.ALL if "ALL" in added else capabilities.DEFAULT)
    if "ALL" in dropped:
        base = set()
    chosen = (base | (added - {"ALL"})) - (dropped - {"ALL"})
    return tuple(name for name in capabilities.ALL if name in chosen)


def _capability(name: str) -> str:
    upper = name.upper()
    if upper == "ALL":
        return upper
    full = upper if upper.startswith("CAP_") else f"CAP_{upper}"
    if full not in capabilities.ALL:
        raise InvalidInput(f"invalid CapAdd or CapDrop: unknown capability: {name!r}")
    return full


def _no_new_privileges(options: RunOptions) -> bool:
    wanted = {"no-new-privileges", "no-new-privileges=true", "no-new-privileges:true"}
    return bool(wanted & set(options.security.options))


def _apparmor(inputs: Inputs) -> str:
    for option in inputs.options.security.options:
        name, _, value = option.replace(":", "=", 1).partition("=")
        if name == "apparmor":
            return "" if value == "unconfined" else value
    return ""
