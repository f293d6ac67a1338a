"""One repository of one registry: the verbs of the distribution specification.

``Repository`` is a source and a sink of blobs as ``transfer.copy`` wants them: manifests are told
from blobs by their media type.
"""

from __future__ import annotations

import io
import itertools
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, BinaryIO, Final, cast
from urllib.parse import urlencode

from workbench.errors import (
    BlobNotFound,
    Corrupt,
    InvalidInput,
    LimitExceeded,
    NotFound,
    Unavailable,
    Unsupported,
    WorkbenchError,
)
from workbench.oci.codec import decode
from workbench.oci.descriptor import OCI_INDEX, Descriptor
from workbench.oci.digest import Digest
from workbench.oci.manifest import Index
from workbench.oci.reference import DEFAULT_TAG, Reference
from workbench.registry.blobs import BlobReader, from_offset
from workbench.registry.calls import Calls
from workbench.registry.documents import ACCEPT, DOCUMENTS, digest_like, kind
from workbench.registry.http import Broken, Response
from workbench.registry.session import Call, Session
from workbench.registry.uploads import Sent, Upload

_FOUND_OR_NOT: Final = frozenset({200, 404})
_BEGUN: Final = frozenset({201, 202})


def _ignore(_sent: int) -> None:
    pass


class Repository:
    """Shared by threads. Beside what each verb says, all raise Unauthorized, Denied, and
    Unavailable (with its kin from ``http``) where the registry cannot be reached."""

    def __init__(self, reference: Reference, session: Session) -> None:
        self.reference = reference
        self._calls = Calls(reference, session)
        self._settings = session.settings
        self._pause = session.retrier.pause

    def __repr__(self) -> str:
        return f"<Repository {self.reference.name}>"

    # Manifests

    def resolve(self, reference: Reference | None = None) -> Descriptor:
        """What a tag or digest stands for now; ImageNotFound where it stands for nothing.

        Raises Unsupported for what is neither manifest nor index, or is of schema version 1.
        """
        reference = reference or self.reference
        call = self._manifest_call("HEAD", reference)
        try:
            response = self._calls.pull(call)
        except Unavailable:
            raise
        except WorkbenchError:
            # HEAD has no body to say why, and some registries do not offer it.
            return self.manifest(reference)[0]
        response.close()
        digest, size = response.headers.get("Docker-Content-Digest", ""), response.length
        media_type = _media_type(response)
        if not digest or size is None or media_type not in DOCUMENTS:
            return self.manifest(reference)[0]
        found = Descriptor(media_type=media_type, digest=Digest(digest), size=size)
        if reference.digest is not None and found.digest != reference.digest:
            raise Corrupt(f"asked for {reference.digest}, the registry offers {found.digest}")
        return found

    def manifest(self, reference: Reference | None = None) -> tuple[Descriptor, bytes]:
        """A manifest or index with its descriptor, verified as far as the reference pins it.

        Raises ImageNotFound, Corrupt, LimitExceeded, Unsupported.
        """
        reference = reference or self.reference
        call = self._manifest_call("GET", reference)
        response = self._calls.pull(call)
        raw = response.body(self._settings.manifest_bytes)
        expected = reference.digest or response.headers.get("Docker-Content-Digest") or ""
        digest = digest_like(expected, raw)
        if expected and digest != expected:
            raise Corrupt(f"expected manifest {expected}, but its bytes have {digest}")
        media_type = kind(raw, _media_type(response), call.intent.subject)
        return Descriptor(media_type=media_type, digest=digest, size=len(raw)), raw

    def fetch_manifest(self, target: Descriptor | str, limit: int | None = None) -> bytes:
        """The raw bytes of a manifest by descriptor, verified, or by tag.

        Raises ImageNotFound, Corrupt, and LimitExceeded beyond ``limit`` bytes.
        """
        limit = self._settings.manifest_bytes if limit is None else limit
        if isinstance(target, str):
            data = self.manifest(self.reference.with_tag(target))[1]
            if len(data) > limit:
                raise LimitExceeded(f"the manifest has more than the {limit} bytes allowed")
            return data
        if target.size > limit:
            raise LimitExceeded(f"{target.digest} has more than the {limit} bytes allowed")
        pinned = replace(self.reference, tag=None, digest=target.digest)
        call = self._manifest_call("GET", pinned, media_type=target.media_type)
        return _verified(self._calls.pull(call).body(limit), target)

    def push_manifest(self, raw: bytes, media_type: str, tag: str | None = None) -> Descriptor:
        """Store a manifest under its digest, or under a tag. All that it names must be there."""
        made = Descriptor.of(media_type, raw)
        name = self.reference.with_tag(tag) if tag else self.reference.with_digest(made.digest)
        call = self._calls.make(
            "PUT",
            f"manifests/{tag or made.digest}",
            "push",
            f"manifest for {name.familiar}",
            headers={"Content-Type": media_type},
            body=raw,
            expect=frozenset({201}),
        )
        stored = self._calls.ask(call).headers.get("Docker-Content-Digest")
        if stored is not None and stored != made.digest:
            raise Corrupt(f"pushed the manifest {made.digest}, the registry kept {stored}")
        return made

    def _manifest_call(
        self, method: str, reference: Reference, action: str = "pull", media_type: str = ""
    ) -> Call:
        return self._calls.make(
            method,
            f"manifests/{reference.digest or reference.tag or DEFAULT_TAG}",
            action,
            f"manifest for {reference.familiar}",
            headers={"Accept": f"{media_type}, {ACCEPT}" if media_type else ACCEPT},
        )

    # Blobs

    def open_blob(self, descriptor: Descriptor, offset: int = 0) -> BinaryIO:
        """The blob's bytes from ``offset`` on: resumed when broken, verified at the end.

        The digest is verified when ``offset`` is 0; otherwise only the size is, and the caller
        who has the first part verifies the whole. Raises BlobNotFound, Corrupt.
        """
        if offset and offset >= descriptor.size:
            return io.BytesIO(b"")
        reader = BlobReader(
            descriptor,
            lambda position: self._fetch(descriptor, position),
            self._pause,
            offset=offset,
            tries=self._settings.tries,
        )
        return cast(BinaryIO, reader)

    def _fetch(self, descriptor: Descriptor, offset: int) -> Response:
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        expect = frozenset({200, 206} if offset else {200})
        call = self._blob_call("GET", descriptor, "pull", headers=headers, expect=expect)
        return from_offset(self._calls.pull(call), descriptor, offset)

    def has_blob(self, descriptor: Descriptor) -> bool:
        """Whether the repository itself has the blob; mirrors are not asked."""
        call = self._blob_call("HEAD", descriptor, "push", expect=_FOUND_OR_NOT)
        return self._calls.ask(call).status == 200

    def mount_blob(self, descriptor: Descriptor, source: str) -> bool:
        """Take the blob over from another repository of the same registry, if it can be.

        ``source`` is that repository, such as ``library/debian``.
        """
        opened = self._begin(descriptor, source)
        if opened.status == 201:
            return True
        location = opened.headers.get("Location", "")
        if location.startswith(("/", self._calls.home.base)):
            expect = frozenset({204, 404, 405})
            call = self._blob_call("DELETE", descriptor, "push", expect=expect)
            self._calls.ask(replace(call, path=location))
        return False

    def push_blob(
        self,
        descriptor: Descriptor,
        stream: BinaryIO,
        *,
        source: str | None = None,
        sent: Sent = _ignore,
    ) -> bool:
        """Store a blob; False when it was mounted from ``source`` and nothing was sent.

        A stream that can seek survives a broken connection; with another, Broken is raised.
        Raises Corrupt when the stream is not what the descriptor says.
        """
        start = stream.tell() if stream.seekable() else None
        for number in itertools.count(1):
            opened = self._begin(descriptor, source)
            if opened.status == 201:
                return False
            try:
                self._upload(descriptor, source, sent).run(opened, stream)
                break
            except Broken:
                if start is None or number >= self._settings.tries:
                    raise
            self._pause(number - 1)
            stream.seek(start)
        return True

    def _begin(self, descriptor: Descriptor, source: str | None) -> Response:
        query = urlencode({"mount": descriptor.digest, "from": source}) if source else ""
        call = self._blob_call("POST", descriptor, "push", source=source, expect=_BEGUN)
        path, _, _ = call.path.rpartition(descriptor.digest)
        return self._calls.ask(
            replace(
                call,
                path=f"{path}uploads/" + (f"?{query}" if query else ""),
                headers={"Content-Length": "0"},
            )
        )

    def _upload(self, descriptor: Descriptor, source: str | None, sent: Sent) -> Upload:
        pattern = self._blob_call("PUT", descriptor, "push", source=source)
        return Upload(self._calls, pattern, descriptor, sent)

    def _blob_call(
        self,
        method: str,
        descriptor: Descriptor,
        action: str,
        *,
        headers: Mapping[str, str] | None = None,
        source: str | None = None,
        expect: frozenset[int] = frozenset({200}),
    ) -> Call:
        digest = descriptor.digest
        return self._calls.make(
            method,
            f"blobs/{digest}",
            action,
            f"blob {digest}",
            missing=BlobNotFound,
            headers=headers,
            source=source,
            expect=expect,
        )

    # The repository as a whole

    def tags(self) -> tuple[str, ...]:
        """Every tag, in the registry's order. Raises ImageNotFound for no such repository."""
        subject = f"repository {self.reference.familiar_name}"
        call = self._calls.make("GET", "tags/list?n=1000", "pull", subject)
        found: list[str] = []
        for tree in self._calls.pages(call):
            page = tree.get("tags") or []
            if not isinstance(page, list):
                raise Corrupt("the registry's list of tags is none")
            found += [item for item in page if isinstance(item, str)]
        return tuple(dict.fromkeys(found))

    def referrers(self, digest: Digest, artifact_type: str = "") -> tuple[Descriptor, ...]:
        """The manifests whose subject is ``digest``; of one type where it is given.

        Registries before 1.1 keep them in an index tagged ``sha256-…``, which is read too.
        """
        query = "?" + urlencode({"artifactType": artifact_type}) if artifact_type else ""
        call = self._calls.make(
            "GET", f"referrers/{digest}{query}", "pull", f"referrers of {digest}"
        )
        try:
            pages = list(self._calls.pages(call))
        except (NotFound, Unsupported, InvalidInput):
            pages = self._tagged_referrers(digest)
        return tuple(
            item
            for page in pages
            for item in cast(Index, decode(Index, page, "referrers")).manifests
            if not artifact_type or item.artifact_type == artifact_type
        )

    def _tagged_referrers(self, digest: Digest) -> list[dict[str, Any]]:
        reference = self.reference.with_tag(f"{digest.algorithm}-{digest.hex}")
        try:
            descriptor, raw = self.manifest(reference)
        except NotFound:
            return []
        return [json.loads(raw)] if descriptor.media_type == OCI_INDEX else []

    def delete(self, target: Digest | str) -> None:
        """Remove a manifest by digest, or a tag where the registry can do that alone.

        Raises ImageNotFound, Unsupported where the registry does not delete.
        """
        path, subject = f"manifests/{target}", f"manifest {target}"
        expect = frozenset({202})
        self._calls.ask(self._calls.make("DELETE", path, "delete", subject, expect=expect))

    def delete_blob(self, descriptor: Descriptor) -> None:
        """Remove a blob. Raises BlobNotFound, Unsupported where the registry does not delete."""
        expect = frozenset({202})
        self._calls.ask(self._blob_call("DELETE", descriptor, "delete", expect=expect))

    # Source and sink

    def open(self, descriptor: Descriptor) -> BinaryIO:
        """The bytes of a blob or manifest, verified at the end."""
        if descriptor.media_type in DOCUMENTS:
            return io.BytesIO(self.fetch_manifest(descriptor))
        return self.open_blob(descriptor)

    def has(self, descriptor: Descriptor) -> bool:
        """Whether a blob or manifest is there."""
        if descriptor.media_type not in DOCUMENTS:
            return self.has_blob(descriptor)
        pinned = replace(self.reference, tag=None, digest=descriptor.digest)
        call = self._manifest_call("HEAD", pinned, "push", descriptor.media_type)
        return self._calls.ask(replace(call, expect=_FOUND_OR_NOT)).status == 200

    def put(self, descriptor: Descriptor, stream: BinaryIO) -> None:
        """Store a blob or manifest; a manifest after all that it names."""
        if descriptor.media_type not in DOCUMENTS:
            self.push_blob(descriptor, stream)
            return
        raw = _verified(stream.read(self._settings.manifest_bytes + 1), descriptor)
        self.push_manifest(raw, descriptor.media_type)

    def tag(self, reference: Reference, descriptor: Descriptor) -> None:
        """Let the reference's tag stand for a manifest that is there. Raises InvalidInput."""
        if reference.name != self.reference.name:
            raise InvalidInput(f"{reference} is no name in {self.reference.name}")
        pinned = replace(reference, tag=None, digest=descriptor.digest)
        # From the registry itself: a mirror need not know yet what was just pushed.
        call = self._manifest_call("GET", pinned, "push", descriptor.media_type)
        raw = _verified(self._calls.perform(call).body(self._settings.manifest_bytes), descriptor)
        self.push_manifest(raw, descriptor.media_type, reference.tag or DEFAULT_TAG)


def _media_type(response: Response) -> str:
    return response.headers.get("Content-Type", "").partition(";")[0].strip()


def _verified(raw: bytes, expected: Descriptor) -> bytes:
    found = digest_like(expected.digest, raw)
    if found != expected.digest or len(raw) != expected.size:
        raise Corrupt(
            f"expected {expected.digest} of {expected.size} bytes,"
            f" but there are {found} of {len(raw)}"
        )
    return raw
