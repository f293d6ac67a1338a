"""Names of users and groups, looked up in the file tree of the image that is being built.

Source: passwd(5), group(5); Dockerfile reference, "COPY --chown" and "USER".
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from workbench.build.merged import MergedTree
from workbench.errors import InvalidInput
from workbench.oci.runtime_spec import User

_MOST_BYTES: Final = 4 << 20
_HIGHEST: Final = (1 << 32) - 2


def owner_of(text: str, tree: MergedTree) -> tuple[int, int]:
    """User and group id of ``user[:group]``; a number alone is both. Raises InvalidInput."""
    user, colon, group = text.partition(":")
    number = _number(user)
    if number is not None:
        uid = gid = number
    elif user:
        uid, gid = _user(user, tree)[:2]
    else:
        uid = gid = 0
    return uid, _group(group, tree) if colon and group else gid


def process_user(text: str, tree: MergedTree) -> User:
    """What a command runs as, with the groups that /etc/group adds. Raises InvalidInput."""
    if not text:
        return User()
    name, _, group = text.partition(":")
    number = _number(name)
    login = name
    if number is None:
        uid, gid, login = _user(name, tree) if name else (0, 0, "root")
    else:
        known = next((entry for entry in _passwd(tree) if entry[1] == number), None)
        uid, gid, login = (number, known[2], known[0]) if known else (number, 0, "")
    if group:
        return User(uid=uid, gid=_group(group, tree))
    extra = tuple(number for _, number, members in _groups(tree) if login and login in members)
    return User(uid=uid, gid=gid, additional_gids=extra)


def home_of(uid: int, tree: MergedTree) -> str:
    """The home directory of a user, "/" where nothing is known."""
    return next((entry[3] for entry in _passwd(tree) if entry[1] == uid and entry[3]), "/")


def _number(text: str) -> int | None:
    if not (text.isascii() and text.isdigit()):
        return None
    if len(text) > 10 or int(text) > _HIGHEST:
        raise InvalidInput(f"uids and gids must be in range 0-{_HIGHEST}")
    return int(text)


def _user(name: str, tree: MergedTree) -> tuple[int, int, str]:
    for login, uid, gid, _ in _passwd(tree):
        if login == name:
            return uid, gid, login
    raise InvalidInput(
        f"unable to find user {name}: no matching entries in passwd file",
        hint="create the user in an earlier step, or use a number",
    )


def _group(name: str, tree: MergedTree) -> int:
    number = _number(name)
    if number is not None:
        return number
    for group, gid, _ in _groups(tree):
        if group == name:
            return gid
    raise InvalidInput(
        f"unable to find group {name}: no matching entries in group file",
        hint="create the group in an earlier step, or use a number",
    )


def _passwd(tree: MergedTree) -> Iterator[tuple[str, int, int, str]]:
    for fields in _lines("/etc/passwd", tree):
        if len(fields) >= 4 and fields[2].isdigit() and fields[3].isdigit():
            home = fields[5] if len(fields) > 5 else ""
            yield fields[0], int(fields[2]), int(fields[3]), home


def _groups(tree: MergedTree) -> Iterator[tuple[str, int, list[str]]]:
    for fields in _lines("/etc/group", tree):
        if len(fields) >= 3 and fields[2].isdigit():
            yield fields[0], int(fields[2]), fields[3].split(",") if len(fields) > 3 else []


def _lines(path: str, tree: MergedTree) -> Iterator[list[str]]:
    data = tree.read(path, _MOST_BYTES) or b""
    for line in data.decode("utf-8", "surrogateescape").splitlines():
        if line and not line.startswith("#"):
            yield line.split(":")
