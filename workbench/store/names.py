"""Names of blobs: the annotations of an OCI layout's ``index.json``, replaced whole under a lock.

Source: image-spec ``image-layout.md`` and ``annotations.md``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Final

from workbench.errors import Corrupt, ImageNotFound, InvalidInput
from workbench.oci.descriptor import Descriptor
from workbench.oci.digest import Digest
from workbench.oci.manifest import Index
from workbench.oci.reference import Reference
from workbench.store.durable import replace_file
from workbench.store.locks import file_lock

REF_NAME: Final = "org.opencontainers.image.ref.name"
FULL_NAME: Final = "io.containerd.image.name"
LAYOUT: Final = b'{"imageLayoutVersion":"1.0.0"}'


def full_reference(reference: Reference | str) -> Reference:
    """A name as a value. Raises InvalidInput."""
    return Reference.parse(reference) if isinstance(reference, str) else reference


def named(descriptor: Descriptor, reference: Reference) -> Descriptor:
    """The descriptor with the annotations that carry a name."""
    annotations = {
        **descriptor.annotations,
        REF_NAME: reference.familiar,
        FULL_NAME: str(reference),
    }
    return dataclasses.replace(descriptor, annotations=annotations)


def unnamed(descriptor: Descriptor) -> Descriptor:
    """The descriptor without the annotations that carry a name."""
    kept = {
        key: value
        for key, value in descriptor.annotations.items()
        if key not in (REF_NAME, FULL_NAME)
    }
    return dataclasses.replace(descriptor, annotations=kept)


def reference_of(descriptor: Descriptor) -> Reference | None:
    """The name that an index entry carries; None where it has none that can be understood."""
    text = descriptor.annotations.get(FULL_NAME) or descriptor.annotations.get(REF_NAME, "")
    # Other tools write a bare tag here; alone it names no repository.
    if FULL_NAME not in descriptor.annotations and not set(text) & set(":/"):
        return None
    try:
        return Reference.parse(text)
    except InvalidInput:
        return None


def _carries_name(descriptor: Descriptor) -> bool:
    """Whether an entry has a name, be it one that only another tool understands."""
    return bool(descriptor.annotations.keys() & {REF_NAME, FULL_NAME})


class Names:
    """The table of contents of one layout."""

    def __init__(self, root: Path, *, durable: bool) -> None:
        self._path = root / "index.json"
        self._lock = root / "index.lock"
        self._durable = durable
        if not self._path.exists():
            self._change(lambda entries: entries)

    def index(self) -> Index:
        """The index as it is now. Raises Corrupt where it cannot be read."""
        try:
            return Index.parse(self._path.read_bytes())
        except FileNotFoundError:
            return Index()
        except InvalidInput as error:
            raise Corrupt(f"{self._path}: {error}") from error

    def set(self, reference: Reference | str, descriptor: Descriptor) -> None:
        """Name it. What had the name before stays listed without one, as Docker keeps it."""
        name = full_reference(reference)
        entry = named(unnamed(descriptor), name)

        def change(entries: tuple[Descriptor, ...]) -> tuple[Descriptor, ...]:
            others = tuple(
                item
                for item in entries
                if reference_of(item) != name
                and not (item.digest == entry.digest and not _carries_name(item))
            )
            moved = [unnamed(item) for item in entries if reference_of(item) == name]
            left = {item.digest for item in (*others, entry)}
            return (*others, *(item for item in moved if item.digest not in left), entry)

        self._change(change)

    def keep(self, descriptor: Descriptor) -> None:
        """Let it be listed without a name, unless it is listed already."""

        def change(entries: tuple[Descriptor, ...]) -> tuple[Descriptor, ...]:
            if any(item.digest == descriptor.digest for item in entries):
                return entries
            return (*entries, unnamed(descriptor))

        self._change(change)

    def forget(self, descriptor: Descriptor) -> None:
        """Take every entry of it away, named or not."""

        def change(entries: tuple[Descriptor, ...]) -> tuple[Descriptor, ...]:
            return tuple(item for item in entries if item.digest != descriptor.digest)

        self._change(change)

    def entries(self) -> tuple[tuple[Descriptor, tuple[Reference, ...]], ...]:
        """What is listed, each once, with its names; none for what lost its last one."""
        found: dict[Digest, tuple[Descriptor, list[Reference]]] = {}
        for entry in self.index().manifests:
            _, names = found.setdefault(entry.digest, (unnamed(entry), []))
            reference = reference_of(entry)
            if reference is not None:
                names.append(reference)
        return tuple((descriptor, tuple(names)) for descriptor, names in found.values())

    def remove(self, reference: Reference | str) -> Descriptor | None:
        name = full_reference(reference)
        removed: list[Descriptor] = []

        def change(entries: tuple[Descriptor, ...]) -> tuple[Descriptor, ...]:
            removed.extend(item for item in entries if reference_of(item) == name)
            return tuple(item for item in entries if reference_of(item) != name)

        self._change(change)
        return unnamed(removed[-1]) if removed else None

    def get(self, reference: Reference | str) -> Descriptor:
        name = full_reference(reference)
        try:
            return self.all()[name]
        except KeyError:
            raise ImageNotFound(f"No such image: {name.familiar}") from None

    def all(self) -> dict[Reference, Descriptor]:
        return {
            reference: unnamed(entry)
            for entry in self.index().manifests
            if (reference := reference_of(entry)) is not None
        }

    def _change(self, change: Callable[[tuple[Descriptor, ...]], tuple[Descriptor, ...]]) -> None:
        with file_lock(self._lock):
            before = self.index()
            after = dataclasses.replace(before, manifests=change(before.manifests))
            if after == before and self._path.exists():
                return
            replace_file(self._path, after.to_bytes(), durable=self._durable)
