"""Which files a COPY reads: paths, wildcards, ``--parents`` and ``--exclude`` over a tree.

Source: Dockerfile reference, "COPY": "Source", "--parents", "--exclude".
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from workbench.build.globs import BadGlob, compile_glob, has_wildcards, unescaped
from workbench.build.ignore import NO_PATTERNS, Parents, Patterns
from workbench.build.merged import Found, MergedTree, Parts, split_path
from workbench.build.suggest import did_you_mean
from workbench.errors import InvalidInput, NotFound


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceRoot:
    """One file or directory that a source names.

    ``written`` is the source as it stands, ``name`` what a file is called at the target, ``root``
    where it really lies. ``include`` is a pattern of ``--parents`` that its content must match.
    """

    written: str
    root: Parts
    name: str
    is_dir: bool
    include: Patterns = NO_PATTERNS


def source_roots(
    tree: MergedTree, sources: tuple[str, ...], *, parents: bool
) -> Iterator[SourceRoot]:
    """What the sources name, in order; wildcards sorted. Raises NotFound, InvalidInput."""
    for source in sources:
        if parents:
            yield _with_parents(tree, source)
        elif has_wildcards(source):
            yield from _wildcard(tree, source)
        else:
            yield _plain(tree, source, split_path(unescaped(source)))


def _plain(tree: MergedTree, written: str, parts: Parts) -> SourceRoot:
    root = tree.resolve(parts)
    status = tree.status(root)
    if status is None:
        raise _missing(tree, parts)
    with tree.find(root) as found:
        is_dir = found is not None and found.is_dir
    return SourceRoot(written=written, root=root, name=parts[-1] if parts else "", is_dir=is_dir)


def _missing(tree: MergedTree, parts: Parts) -> NotFound:
    path = "/" + "/".join(parts)
    near = ""
    parent = tree.resolve(parts[:-1])
    with tree.find(parent) as found:
        is_dir = found is not None and found.is_dir
    if parts and is_dir:
        names = [item.name for item in tree.children(parent)]
        near = did_you_mean(parts[-1], names)
    hint = ""
    if tree.ignored(parts):
        hint = f"{path[1:]} is there, but .dockerignore excludes it"
    return NotFound(f'failed to calculate checksum: "{path}": not found{near}', hint=hint)


def _wildcard(tree: MergedTree, source: str) -> Iterator[SourceRoot]:
    parts = split_path(source)
    fixed = next(index for index, part in enumerate(parts) if has_wildcards(part))
    top = tree.resolve(tuple(unescaped(part) for part in parts[:fixed]))
    try:
        patterns = [compile_glob(part) for part in parts[fixed:]]
    except BadGlob as error:
        raise InvalidInput(f"{error}: {source!r}") from None
    for path in _matches(tree, top, patterns):
        yield _plain(tree, source, path)


def _matches(tree: MergedTree, top: Parts, patterns: list[re.Pattern[str]]) -> Iterator[Parts]:
    with tree.find(top) as found:
        if found is None or not found.is_dir:
            return
    for item in list(tree.children(top)):
        if not patterns[0].fullmatch(item.name):
            continue
        if len(patterns) == 1:
            yield item.path
        elif item.is_dir:
            yield from _matches(tree, item.path, patterns[1:])


def _with_parents(tree: MergedTree, source: str) -> SourceRoot:
    parent, pivot, pattern = source.partition("/./")
    if not pivot:
        parent, pattern = "", source
    pattern = "/".join(split_path(pattern))
    top = tree.resolve(split_path(unescaped(parent)))
    if not has_wildcards(source):
        wanted = (*top, *split_path(unescaped(pattern)))
        if tree.status(wanted) is None:
            raise _missing(tree, wanted)
    include = Patterns.of([pattern]) if pattern else NO_PATTERNS
    return SourceRoot(written=source, root=top, name="", is_dir=True, include=include)


def entries(
    tree: MergedTree, source: SourceRoot, exclude: Patterns
) -> Iterator[tuple[Parts, Found]]:
    """Everything that comes along, a directory before its content, with the path that it gets
    below the target: ``()`` is the source itself."""
    with tree.find(source.root) as found:
        if found is None:
            return
        if not found.is_dir:
            if not (exclude and exclude.hides(source.name)):
                yield (), found
            return
        if not source.include:
            yield (), found
    yield from _Filter(tree, source, exclude).below(source.root)


class _Filter:
    """Walks a directory; a directory that does not match itself comes when something in it does."""

    def __init__(self, tree: MergedTree, source: SourceRoot, exclude: Patterns) -> None:
        self._tree = tree
        self._depth = len(source.root)
        self._include = source.include
        self._exclude = exclude

    def below(self, top: Parts) -> Iterator[tuple[Parts, Found]]:
        if not self._include and not self._exclude:
            for found in self._tree.walk(top):
                yield found.path[self._depth :], found
            return
        waiting: list[Found] = []
        for found, wanted in self._judged(top):
            waiting = [item for item in waiting if found.path[: len(item.path)] == item.path]
            if not wanted:
                waiting.append(found)
                continue
            for item in waiting:
                yield item.path[self._depth :], item
            waiting = []
            yield found.path[self._depth :], found

    def _judged(self, top: Parts) -> Iterator[tuple[Found, bool]]:
        """Entries that come along or may lead to some; the latter are directories."""
        verdicts: dict[Parts, tuple[Parents, Parents]] = {}
        skipped: Parts | None = None
        for found in self._tree.walk(top):
            if skipped is not None and found.path[: len(skipped)] == skipped:
                continue
            path = "/".join(found.path[self._depth :])
            above = verdicts.get(found.path[:-1])
            wanted, mine = self._include.match(path, above[0] if above else None)
            out, theirs = self._exclude.match(path, above[1] if above else None)
            wanted = (wanted or not self._include) and not out
            if found.is_dir:
                verdicts[found.path] = (mine, theirs)
                if out and not self._exclude.may_take_back(path):
                    skipped = found.path
                    continue
            if wanted or found.is_dir:
                yield found, wanted
