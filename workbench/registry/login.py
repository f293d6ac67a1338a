"""Log in to a registry, and out: the credential is tried before it is kept."""

from __future__ import annotations

from workbench.errors import InvalidInput, Unauthorized
from workbench.registry.challenge import parse
from workbench.registry.credentials import Credential, DockerKeychain
from workbench.registry.failures import Intent
from workbench.registry.hosts import Endpoint
from workbench.registry.http import Response
from workbench.registry.session import Session, refused


def login(registry: str, credential: Credential, session: Session, keychain: DockerKeychain) -> str:
    """Try the credential, keep it if it is good, and say "Login Succeeded".

    Where the token server gives an identity token, that is kept in place of the password. Raises
    Unauthorized for a wrong one, Unavailable where the registry does not answer.
    """
    keychain.put(registry, check(registry, credential, session))
    return "Login Succeeded"


def check(registry: str, credential: Credential, session: Session) -> Credential:
    """The credential to keep, after the registry has accepted it. Raises as ``login``."""
    if not (credential.username and credential.password) and not credential.identity:
        raise InvalidInput("a login needs a user name and a password")
    endpoint = session.endpoint(registry)
    intent = Intent(action="login", name=registry, subject="its API", registry=registry)
    response = _ask(session, endpoint, None)
    if response.status == 200:
        return credential
    if response.status != 401:
        raise refused(response, intent)
    for challenge in parse(response.headers.get("WWW-Authenticate", "")):
        if challenge.scheme == "basic":
            _must_accept(_ask(session, endpoint, credential.basic), registry)
            return credential
        if challenge.scheme == "bearer":
            grant = session.authenticator.token(
                endpoint, frozenset(), challenge, intent, credential, offline=True
            )
            _must_accept(_ask(session, endpoint, grant.header), registry)
            if grant.refresh:
                return Credential(username=credential.username, identity=grant.refresh)
            return credential
    raise Unauthorized(f"{registry} offers no way to log in that we know")


def logout(registry: str, keychain: DockerKeychain) -> bool:
    """Forget the credential; whether there was one."""
    return keychain.remove(registry)


def _ask(session: Session, endpoint: Endpoint, header: str | None) -> Response:
    headers = {"Authorization": header} if header else {}
    response = session.retrier.run(
        lambda: session.transport.send("GET", endpoint.url("/v2/"), headers=headers), method="GET"
    )
    response.close()
    return response


def _must_accept(response: Response, registry: str) -> None:
    if response.status != 200:
        raise Unauthorized(
            f"login to {registry} failed: incorrect username or password",
            hint="check the name and the password, or use an access token",
        )
