"""Images of the store: finding, listing, naming, removing, and the files inside."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from workbench.config import Limits
from workbench.engine.basing import make_base
from workbench.engine.happenings import Happenings
from workbench.engine.listing import image_info, layer_infos
from workbench.engine.unpacking import Unpacking
from workbench.engine.values import ImageInfo, LayerInfo
from workbench.errors import Conflict, ImageNotFound, InvalidInput, WorkbenchError
from workbench.events import Report, silent
from workbench.oci.descriptor import CONFIGS, INDEXES, Descriptor, Platform
from workbench.oci.image import Image
from workbench.oci.manifest import Index, Manifest
from workbench.oci.reference import Reference
from workbench.state.containers import Containers
from workbench.store.content import ContentStore


class Images:
    """``docker``'s image commands on this store. Threads may share it.

    A name is a reference, an image id or a unique prefix of one. Methods raise ImageNotFound, or
    InvalidInput for what cannot be a name.
    """

    def __init__(
        self,
        content: ContentStore,
        unpacking: Unpacking,
        containers: Containers,
        limits: Limits,
        happenings: Happenings,
    ) -> None:
        self._content = content
        self._unpacking = unpacking
        self._containers = containers
        self._limits = limits
        self._happenings = happenings

    # -- looking

    def list(self, *, all: bool = False) -> tuple[ImageInfo, ...]:
        """Newest first. Dangling images are listed; ``all`` changes nothing more here."""
        infos = [self._info(image, names) for image, names in self._all()]
        return tuple(sorted(infos, key=lambda info: info.created, reverse=True))

    def get(self, name: str) -> ImageInfo:
        image = self.find(name)
        return self._info(image, self.names(image))

    def layers(self, name: str) -> tuple[LayerInfo, ...]:
        """Every line of the image's history with its layer, oldest first."""
        image = self.find(name)
        others = [other for other, _ in self._all() if other.id != image.id]
        return layer_infos(image, others, self._unpacking.size)

    def _info(self, image: Image, names: tuple[Reference, ...]) -> ImageInfo:
        users = len(self._containers.using_image(image.id))
        return image_info(image, names, users, self._unpacking.size)

    def names(self, image: Image) -> tuple[Reference, ...]:
        """All names of an image."""
        return next((names for other, names in self._all() if other.id == image.id), ())

    def find(self, name: str, platform: Platform | None = None) -> Image:
        """By reference, else by id. Raises ImageNotFound in Docker's words."""
        wanted = platform or Platform.host()
        descriptor = self._named(name)
        if descriptor is not None:
            return self.load(descriptor, wanted)
        prefix = name.removeprefix("sha256:").lower()
        found = {
            image.id: image
            for image, _ in (self._all() if len(prefix) >= 1 else ())
            if image.id.hex.startswith(prefix)
        }
        if len(found) > 1:
            raise InvalidInput(f"multiple IDs found with provided prefix: {name}")
        if not found:
            raise ImageNotFound(
                f"No such image: {name}",
                hint="`workbench images` lists what is here; `workbench base` makes a first one",
            )
        return next(iter(found.values()))

    def _named(self, name: str) -> Descriptor | None:
        try:
            reference = Reference.parse(name)
        except InvalidInput:
            if not name.removeprefix("sha256:").isalnum():
                raise
            return None
        references = self._content.references()
        if reference.digest is None:
            return references.get(reference)
        for known, descriptor in references.items():
            if known.name == reference.name and descriptor.digest == reference.digest:
                return descriptor
        return None

    def load(self, descriptor: Descriptor, platform: Platform | None = None) -> Image:
        """The image that a manifest or index describes. Raises BlobNotFound, Corrupt."""
        raw = self._content.read(descriptor, self._limits.manifest_bytes)
        if descriptor.media_type in INDEXES:
            chosen = Index.parse(raw).select(platform or Platform.host())
            if chosen is None:
                raise ImageNotFound(f"{descriptor.digest} has no image for {platform}")
            return self.load(chosen, platform)
        config = Manifest.parse(raw).config
        if config.media_type not in CONFIGS:
            raise InvalidInput(f"{descriptor.digest} is no image, but {config.media_type}")
        return Image.parse(descriptor, raw, self._content.read(config, self._limits.manifest_bytes))

    def _all(self) -> Iterator[tuple[Image, tuple[Reference, ...]]]:
        """Every image with its names; what cannot be read is left to ``system check``."""
        for descriptor, names in self._content.images():
            try:
                yield self.load(descriptor), names
            except WorkbenchError:
                continue

    # -- naming and removing

    def tag(self, source: str, target: str) -> Reference:
        """Give an image one more name; a name that exists moves."""
        reference = Reference.parse(target)
        if reference.digest is not None:
            raise InvalidInput("refusing to create a tag with a digest reference")
        image = self.find(source)
        self.name(image, reference)
        return reference

    def name(self, image: Image, reference: Reference) -> None:
        """Let ``reference`` mean ``image``."""
        self._content.tag(reference, image.descriptor)
        self._happenings.add("image", "tag", image.id, {"name": reference.familiar})

    def keep(self, image: Image) -> None:
        """Let an image without a name be listed, as the result of a build without ``-t`` is."""
        self._content.keep(image.descriptor)

    def add(self, image: Image) -> None:
        """Store the documents of an image whose layers are here."""
        manifest = Manifest.parse(image.raw_manifest)
        self._content.put(manifest.config.media_type, image.raw_config)
        self._content.put(image.descriptor.media_type, image.raw_manifest)

    def remove(self, name: str, *, force: bool = False) -> tuple[str, ...]:
        """``docker rmi``: what was untagged and deleted, in its words.

        A name is taken away; the image goes with its last one. Raises Conflict where a container
        uses the image, or an id has several names, unless ``force``.
        """
        image = self.find(name)
        names = self.names(image)
        named = self._named(name) is not None
        users = self._containers.using_image(image.id)
        last = not named or len(names) <= 1
        if not named and len(names) > 1 and not force:
            raise Conflict(
                f"conflict: unable to delete {image.id.short} (must be forced) - image is"
                " referenced in multiple repositories"
            )
        if last and users and not force:
            raise Conflict(
                f'conflict: unable to remove repository reference "{name}" (must force) -'
                f" container {users[0].id[:12]} is using its referenced image {image.id.short}"
            )
        gone = [Reference.parse(name)] if named else list(names)
        for reference in gone:
            self._content.untag(reference)
            self._happenings.add("image", "untag", image.id, {"name": reference.familiar})
        words = [f"Untagged: {reference.familiar}" for reference in gone]
        if last and not users:
            self._content.forget(image.descriptor)
            self._unpacking.sweep()
            self._happenings.add("image", "delete", image.id)
            words.append(f"Deleted: {image.id}")
        return tuple(words)

    def prune(self, *, all: bool = False) -> tuple[str, ...]:
        """Remove dangling images, or with ``all`` every one that no container uses."""
        words: list[str] = []
        for image, names in list(self._all()):
            if (names and not all) or self._containers.using_image(image.id):
                continue
            words += self.remove(str(image.id), force=True)
        return tuple(words)

    def base(self, kind: str, *, tag: str | None = None, report: Report = silent) -> ImageInfo:
        """Make a base image out of this machine: "toolbox", "python", "debian:bookworm-slim".

        Raises InvalidInput, Unsupported with the command that installs what is missing.
        """
        image = make_base(kind, tag, content=self._content, images=self, report=report)
        return self.get(str(image.id))

    # -- for containers and builds

    def for_container(
        self, name: str, *, platform: str = "", pull: str = "missing", report: Report = silent
    ) -> Image:
        """The image, unpacked. Raises ImageNotFound where it is neither here nor to be had."""
        image = self.find(name, Platform.parse(platform) if platform else None)
        self.unpack(image, report=report)
        return image

    def unpack(self, image: Image, *, report: Report = silent) -> None:
        """Make sure that the image's layers are snapshots. Raises Corrupt, LimitExceeded."""
        self._unpacking.unpack(image, report=report)

    def text_file(self, image: Image, path: str) -> str:
        """A small text file of the unpacked image; "" where there is none."""
        return self._unpacking.text_file(image, path)

    def copy_tree(self, image: Image, path: str, target: Path) -> None:
        """Copy what the unpacked image has below ``path`` into the directory ``target``."""
        self._unpacking.copy_tree(image, path, target)
