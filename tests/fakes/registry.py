"""A whole registry in this process, which misbehaves on request and remembers what it was asked.

``with FakeRegistry() as registry`` serves on a free loopback port. ``registry.fault(method, path,
fault, times=1)`` makes the next requests that match go wrong (see ``faults.py``).
Source: distribution-spec 1.1, "Endpoints".
"""

from __future__ import annotations

import hashlib
import json
import re
import ssl
import sys
import threading
import uuid
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol
from urllib.parse import parse_qs, urlsplit

from tests.fakes.contents import INDEX, Contents, referrers
from tests.fakes.faults import Drop, Fault

NAME = r"/v2/(?P<name>[a-z0-9._/-]+?)"
PAGE = 1000


@dataclass(frozen=True)
class Request:
    """One request as it came."""

    method: str
    path: str
    headers: Mapping[str, str]
    length: int


class Guard(Protocol):
    """Who may do what."""

    def challenge(self, authorization: str | None, name: str, action: str) -> str | None:
        """None to let it pass, else the value of WWW-Authenticate."""


class FakeRegistry(AbstractContextManager["FakeRegistry"]):
    """Serves until the context is left. ``mount``, ``referrers`` and ``ranges`` can be missing."""

    def __init__(
        self,
        *,
        guard: Guard | None = None,
        tls: ssl.SSLContext | None = None,
        mount: bool = True,
        referrers: bool = True,
        ranges: bool = True,
        least_chunk: int = 0,
    ) -> None:
        self.contents = Contents()
        self.requests: list[Request] = []
        self.connections = 0
        self.guard = guard
        self.mount = mount
        self.referrers = referrers
        self.ranges = ranges
        self.least_chunk = least_chunk
        self._faults: list[tuple[str, re.Pattern[str], Fault]] = []
        self._lock = threading.Lock()
        self._server = QuietServer(("127.0.0.1", 0), _handler(self))
        self.scheme = "https" if tls else "http"
        if tls:
            self._server.socket = tls.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    def __enter__(self) -> FakeRegistry:
        self._thread.start()
        return self

    def __exit__(self, *_reason: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self._server.server_address[1]}"

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.host}"

    def fault(self, method: str, path: str, fault: Fault, *, times: int = 1) -> None:
        """Let the next ``times`` requests whose path matches the pattern go wrong."""
        with self._lock:
            self._faults += [(method, re.compile(path), fault)] * times

    def take_fault(self, method: str, path: str) -> Fault | None:
        with self._lock:
            for index, (wanted, pattern, fault) in enumerate(self._faults):
                if wanted == method and pattern.search(path):
                    del self._faults[index]
                    return fault
        return None

    def asked(self, method: str, pattern: str = "") -> list[Request]:
        """The requests so far of one method whose path matches."""
        return [
            item
            for item in self.requests
            if item.method == method and re.search(pattern, item.path)
        ]


class QuietServer(ThreadingHTTPServer):
    """Says nothing of clients that go away; of every other error it does."""

    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), (ConnectionError, ssl.SSLError)):
            super().handle_error(request, client_address)


def _handler(registry: FakeRegistry) -> type[Handler]:
    return type("BoundHandler", (Handler,), {"registry": registry})


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    registry: FakeRegistry
    protocol_version = "HTTP/1.1"
    # Without this each answer's head and body wait for one another's acknowledgement.
    disable_nagle_algorithm = True

    def setup(self) -> None:
        self.registry.connections += 1
        super().setup()

    def log_message(self, *_arguments: object) -> None:
        pass

    def _serve(self) -> None:
        path = urlsplit(self.path).path
        length = int(self.headers.get("Content-Length") or 0)
        self.registry.requests.append(
            Request(self.command, self.path, dict(self.headers.items()), length)
        )
        fault = self.registry.take_fault(self.command, self.path)
        try:
            if fault is None:
                self._route(path)
            else:
                fault.apply(self)
        except (BrokenPipeError, ConnectionResetError, Drop):
            self.close_connection = True

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _serve

    def _route(self, path: str) -> None:
        for methods, pattern, action, verb in ROUTES:
            match = pattern.fullmatch(path)
            if match and self.command in methods:
                groups = match.groupdict()
                if self._allowed(groups.get("name", ""), action):
                    verb(self, **groups)
                return
        self.body()
        self.fail(404, "NAME_UNKNOWN" if path.startswith("/v2/") else "NOT_FOUND")

    def _allowed(self, name: str, action: str) -> bool:
        guard = self.registry.guard
        if guard is None:
            return True
        challenge = guard.challenge(self.headers.get("Authorization"), name, action)
        if challenge is None:
            return True
        self.body()
        self.fail(401, "UNAUTHORIZED", "authentication required", {"WWW-Authenticate": challenge})
        return False

    # What handlers and faults use

    def body(self) -> bytes:
        """The whole body of the request."""
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def answer(
        self, status: int, headers: Mapping[str, str] | None = None, body: bytes = b""
    ) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def fail(
        self, status: int, code: str, message: str = "", headers: Mapping[str, str] | None = None
    ) -> None:
        words = message or code.lower().replace("_", " ")
        raw = json.dumps({"errors": [{"code": code, "message": words}]}).encode()
        self.answer(status, {"Content-Type": "application/json", **(headers or {})}, raw)

    @property
    def query(self) -> dict[str, str]:
        parsed = parse_qs(urlsplit(self.path).query)
        return {name: values[0] for name, values in parsed.items()}

    # The specification's verbs

    def ping(self) -> None:
        self.answer(200, {"Docker-Distribution-Api-Version": "registry/2.0"}, b"{}")

    def get_blob(self, name: str, digest: str) -> None:
        contents = self.registry.contents
        if (name, digest) not in contents.names:
            self.fail(404, "BLOB_UNKNOWN", "blob unknown to registry")
            return
        data = contents.blobs[digest]
        headers = {"Docker-Content-Digest": digest, "Content-Type": "application/octet-stream"}
        match = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if not match or not self.registry.ranges:
            self.answer(200, {**headers, "Content-Length": str(len(data))}, data)
            return
        start = int(match[1])
        part = data[start : int(match[2] or len(data)) + 1]
        headers["Content-Range"] = f"bytes {start}-{start + len(part) - 1}/{len(data)}"
        self.answer(206, headers, part)

    def delete_blob(self, name: str, digest: str) -> None:
        known = (name, digest) in self.registry.contents.names
        self.registry.contents.names.discard((name, digest))
        self.answer(202) if known else self.fail(404, "BLOB_UNKNOWN")

    def begin_upload(self, name: str) -> None:
        self.body()
        contents, query = self.registry.contents, self.query
        source = (query.get("from", ""), query.get("mount", ""))
        if self.registry.mount and source in contents.names:
            contents.names.add((name, source[1]))
            self.answer(201, {"Location": f"/v2/{name}/blobs/{source[1]}"})
            return
        upload = uuid.uuid4().hex
        contents.uploads[upload] = bytearray()
        self._progress(202, name, upload)

    def patch_upload(self, name: str, upload: str) -> None:
        data = self.registry.contents.uploads.get(upload)
        if data is None:
            self.body()
            self.fail(404, "BLOB_UPLOAD_UNKNOWN")
            return
        match = re.fullmatch(r"(\d+)-(\d+)", self.headers.get("Content-Range", ""))
        if match and int(match[1]) != len(data):
            self.body()
            self._progress(416, name, upload)
            return
        data += self.body()
        self._progress(202, name, upload)

    def get_upload(self, name: str, upload: str) -> None:
        known = upload in self.registry.contents.uploads
        self._progress(204, name, upload) if known else self.fail(404, "BLOB_UPLOAD_UNKNOWN")

    def delete_upload(self, name: str, upload: str) -> None:
        known = self.registry.contents.uploads.pop(upload, None)
        self.fail(404, "BLOB_UPLOAD_UNKNOWN") if known is None else self.answer(204)

    def close_upload(self, name: str, upload: str) -> None:
        contents = self.registry.contents
        data = contents.uploads.pop(upload, None)
        rest = self.body()
        if data is None:
            self.fail(404, "BLOB_UPLOAD_UNKNOWN")
            return
        data += rest
        digest = self.query.get("digest", "")
        if digest != "sha256:" + hashlib.sha256(data).hexdigest():
            self.fail(400, "DIGEST_INVALID", "provided digest did not match uploaded content")
            return
        contents.add_blob(name, bytes(data))
        self.answer(201, {"Location": f"/v2/{name}/blobs/{digest}"})

    def _progress(self, status: int, name: str, upload: str) -> None:
        size = len(self.registry.contents.uploads[upload])
        headers = {
            "Location": f"/v2/{name}/blobs/uploads/{upload}?state={size}",
            "Range": f"0-{max(0, size - 1)}",
        }
        if self.registry.least_chunk:
            headers["OCI-Chunk-Min-Length"] = str(self.registry.least_chunk)
        self.answer(status, headers)

    def get_manifest(self, name: str, reference: str) -> None:
        contents = self.registry.contents
        found = contents.manifests.get((name, reference))
        if found is None:
            code = "MANIFEST_UNKNOWN" if contents.known(name) else "NAME_UNKNOWN"
            self.fail(404, code, "manifest unknown" if code == "MANIFEST_UNKNOWN" else "")
            return
        digest = "sha256:" + hashlib.sha256(found[1]).hexdigest()
        self.answer(200, {"Content-Type": found[0], "Docker-Content-Digest": digest}, found[1])

    def put_manifest(self, name: str, reference: str) -> None:
        raw, contents = self.body(), self.registry.contents
        tree = json.loads(raw)
        for item in [tree["config"], *tree["layers"]] if "config" in tree else []:
            if (name, item["digest"]) not in contents.names:
                self.fail(404, "MANIFEST_BLOB_UNKNOWN", "blob unknown to registry")
                return
        tag = None if ":" in reference else reference
        digest = contents.add_manifest(name, self.headers["Content-Type"], raw, tag)
        self.answer(201, {"Location": f"/v2/{name}/{digest}", "Docker-Content-Digest": digest})

    def delete_manifest(self, name: str, reference: str) -> None:
        known = self.registry.contents.manifests.pop((name, reference), None)
        self.fail(404, "MANIFEST_UNKNOWN") if known is None else self.answer(202)

    def list_tags(self, name: str) -> None:
        contents = self.registry.contents
        if not contents.known(name):
            self.fail(404, "NAME_UNKNOWN", "repository name not known to registry")
            return
        tags = sorted(tag for owner, tag in contents.manifests if owner == name and ":" not in tag)
        tags = [tag for tag in tags if tag > self.query.get("last", "")]
        page = tags[: min(PAGE, int(self.query.get("n", PAGE)))]
        headers = {"Content-Type": "application/json"}
        if len(page) < len(tags):
            link = f"/v2/{name}/tags/list?n={len(page)}&last={page[-1]}"
            headers["Link"] = f'<{link}>; rel="next"'
        self.answer(200, headers, json.dumps({"name": name, "tags": page}).encode())

    def list_referrers(self, name: str, digest: str) -> None:
        if not self.registry.referrers:
            self.fail(404, "NOT_FOUND")
            return
        items = list(referrers(self.registry.contents, name, digest))
        index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": items}
        self.answer(200, {"Content-Type": INDEX}, json.dumps(index).encode())


def _route(methods: str, path: str, action: str, verb: Callable[..., None]) -> Any:
    return set(methods.split()), re.compile(path), action, verb


ROUTES = [
    _route("GET", "/v2/", "", Handler.ping),
    _route("GET HEAD", NAME + r"/blobs/(?P<digest>sha256:.+)", "pull", Handler.get_blob),
    _route("DELETE", NAME + r"/blobs/(?P<digest>sha256:.+)", "delete", Handler.delete_blob),
    _route("POST", NAME + r"/blobs/uploads/", "push", Handler.begin_upload),
    _route("PATCH", NAME + r"/blobs/uploads/(?P<upload>\w+)", "push", Handler.patch_upload),
    _route("GET", NAME + r"/blobs/uploads/(?P<upload>\w+)", "push", Handler.get_upload),
    _route("PUT", NAME + r"/blobs/uploads/(?P<upload>\w+)", "push", Handler.close_upload),
    _route("DELETE", NAME + r"/blobs/uploads/(?P<upload>\w+)", "push", Handler.delete_upload),
    _route("GET HEAD", NAME + r"/manifests/(?P<reference>[^/]+)", "pull", Handler.get_manifest),
    _route("PUT", NAME + r"/manifests/(?P<reference>[^/]+)", "push", Handler.put_manifest),
    _route("DELETE", NAME + r"/manifests/(?P<reference>.+)", "delete", Handler.delete_manifest),
    _route("GET", NAME + r"/tags/list", "pull", Handler.list_tags),
    _route("GET", NAME + r"/referrers/(?P<digest>.+)", "pull", Handler.list_referrers),
]
