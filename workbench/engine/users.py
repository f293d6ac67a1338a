"""``--user`` and ``USER`` against the passwd and group files of an image: pure.

Source: Docker's documentation of ``--user``; passwd(5), group(5). Hostile files cost little: lines
that do not parse are passed over.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from workbench.engine.spec.inputs import ResolvedUser
from workbench.errors import InvalidInput

_MAX_ID: Final = 2**31 - 1


def resolve_user(text: str, passwd: str, group: str, extra: tuple[str, ...] = ()) -> ResolvedUser:
    """``user[:group]`` by name or number, plus ``--group-add``. Raises InvalidInput.

    Numbers need not stand in the files. Without a group it is the user's own, or 0; the
    supplementary groups are those that list the user, unless a group was named.
    """
    user, _, wanted = (text or "0").partition(":")
    entry = _passwd_entry(user, passwd)
    uid = entry.uid if entry else _number(user, "user", "passwd")
    gid = entry.gid if entry else 0
    groups: list[int] = []
    if wanted:
        gid = _group_id(wanted, group)
    elif entry:
        groups = [number for number, members in _groups(group) if entry.name in members]
    groups += [_group_id(name, group) for name in extra]
    unique = tuple(dict.fromkeys(number for number in groups if number != gid))
    return ResolvedUser(uid=uid, gid=gid, groups=unique, home=entry.home if entry else "/")


class _Entry:
    """One line of passwd(5)."""

    __slots__ = ("gid", "home", "name", "uid")

    def __init__(self, fields: list[str]) -> None:
        self.name = fields[0]
        self.uid = int(fields[2])
        self.gid = int(fields[3])
        self.home = fields[5] or "/"


def _passwd_entry(user: str, passwd: str) -> _Entry | None:
    entries = list(_entries(passwd))
    by_name = next((entry for entry in entries if entry.name == user), None)
    if by_name or not user.isdecimal():
        return by_name
    return next((entry for entry in entries if entry.uid == int(user)), None)


def _entries(passwd: str) -> Iterator[_Entry]:
    for line in passwd.splitlines():
        fields = line.split(":")
        if len(fields) >= 6 and fields[2].isdecimal() and fields[3].isdecimal():
            yield _Entry(fields)


def _groups(group: str) -> Iterator[tuple[int, list[str]]]:
    for line in group.splitlines():
        fields = line.split(":")
        if len(fields) >= 4 and fields[2].isdecimal():
            yield int(fields[2]), fields[3].split(",")


def _group_id(name: str, group: str) -> int:
    for line in group.splitlines():
        fields = line.split(":")
        if len(fields) >= 3 and fields[0] == name and fields[2].isdecimal():
            return int(fields[2])
    return _number(name, "group", "group")


def _number(text: str, what: str, file: str) -> int:
    if not text.isdecimal():
        raise InvalidInput(
            f"unable to find {what} {text}: no matching entries in {file} file",
            hint=f"use a number, or add the {what} with a RUN step",
        )
    if int(text) > _MAX_ID:
        raise InvalidInput(f"uids and gids must be in range 0-{_MAX_ID}")
    return int(text)
