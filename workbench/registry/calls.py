"""The calls that one repository's verbs are made of: paths, scopes, mirrors, pages."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Final
from urllib.parse import quote, urlsplit

from workbench.errors import Corrupt, ImageNotFound, LimitExceeded, Unavailable, WorkbenchError
from workbench.oci.reference import Reference
from workbench.registry.auth import Scopes
from workbench.registry.failures import Intent
from workbench.registry.hosts import Endpoint
from workbench.registry.http import Body, Response
from workbench.registry.session import Call, Session

_OK: Final = frozenset({200})
_ACTIONS: Final = {"pull": "pull", "push": "pull,push", "delete": "delete"}
_NEXT: Final = re.compile(r'<([^>]*)>\s*;\s*rel="?next"?')
_PAGES: Final = 1000
_PAGE_BYTES: Final = 4 * 1024**2


class Calls:
    """Makes and performs calls for one repository; shared by threads."""

    def __init__(self, reference: Reference, session: Session) -> None:
        self.reference = reference
        self.session = session
        self._lost: frozenset[Endpoint] = frozenset()

    @property
    def home(self) -> Endpoint:
        """The registry itself, where everything but a pull goes."""
        return self.session.endpoint(self.reference.registry)

    def make(
        self,
        method: str,
        path: str,
        action: str,
        subject: str,
        *,
        missing: type[WorkbenchError] = ImageNotFound,
        headers: Mapping[str, str] | None = None,
        body: Body | None = None,
        source: str | None = None,
        expect: frozenset[int] = _OK,
    ) -> Call:
        """A call whose path is below the repository's own.

        ``action`` is pull, push or delete; ``subject`` and ``missing`` are for its errors;
        ``source`` is another repository that is read from.
        """
        intent = Intent(
            action=action,
            name=self.reference.familiar_name,
            subject=subject,
            registry=self.reference.registry,
            missing=missing,
        )
        return Call(
            method=method,
            path=f"/v2/{quote(self.reference.repository)}/{path}",
            intent=intent,
            scopes=self._scopes(action, source),
            headers=headers or {},
            body=body,
            expect=expect,
        )

    def perform(self, call: Call) -> Response:
        """The answer of the registry itself."""
        return self.session.perform(self.home, call)

    def ask(self, call: Call) -> Response:
        """The answer of the registry itself where only status and headers count."""
        response = self.perform(call)
        response.close()
        return response

    def pull(self, call: Call) -> Response:
        """Ask the mirrors once each, then the registry as often as it takes."""
        *mirrors, home = self.session.endpoints(self.reference.registry)
        for endpoint in mirrors:
            if endpoint in self._lost:
                continue
            try:
                return self.session.perform(endpoint, call, tries=1)
            except WorkbenchError as error:
                # A mirror that lacks one thing may have the next; a dead one is not asked again.
                if isinstance(error, Unavailable):
                    self._lost |= {endpoint}
        return self.session.perform(home, call)

    def pages(self, call: Call) -> Iterator[dict[str, Any]]:
        """The JSON objects of a list that goes on where a Link header says so.

        Raises Corrupt for what is no list, LimitExceeded for one without end.
        """
        subject = call.intent.subject
        seen = {call.path}
        for _ in range(_PAGES):
            response = self.perform(call)
            yield _object(response.body(_PAGE_BYTES), subject)
            following = _NEXT.search(response.headers.get("Link", ""))
            if following is None:
                return
            # Only path and query count: a list does not go on at another host.
            parts = urlsplit(following[1])
            path = f"{parts.path}?{parts.query}" if parts.query else parts.path
            if not path.startswith("/v2/") or path in seen:
                raise Corrupt(f"{subject} goes on nowhere")
            seen.add(path)
            call = replace(call, path=path)
        raise LimitExceeded(f"{subject} has more than {_PAGES} pages")

    def _scopes(self, action: str, source: str | None) -> Scopes:
        scopes = {f"repository:{self.reference.repository}:{_ACTIONS[action]}"}
        if source:
            scopes.add(f"repository:{source}:pull")
        return frozenset(scopes)


def _object(raw: bytes, subject: str) -> dict[str, Any]:
    try:
        tree = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise Corrupt(f"{subject} came in no valid JSON") from error
    if not isinstance(tree, dict):
        raise Corrupt(f"{subject} came as no JSON object")
    return tree
