"""Who may use the fake registry; the token server is a guard too."""

from __future__ import annotations

import base64


class Basic:
    """One user with one password, for everything."""

    def __init__(self, user: str, password: str) -> None:
        pair = base64.b64encode(f"{user}:{password}".encode()).decode()
        self._expected = f"Basic {pair}"

    def challenge(self, authorization: str | None, _name: str, _action: str) -> str | None:
        return None if authorization == self._expected else 'Basic realm="fake"'
