"""Registries for the tests: the fake one, and the distribution project's own in four set-ups."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.certificates import Authority
from tests.fakes.registry import FakeRegistry
from tests.fakes.token_server import ISSUER, SERVICE, TokenServer
from workbench.oci.reference import Reference
from workbench.registry.client import Repository
from workbench.registry.session import Session
from workbench.registry.settings import Settings

REAL = "/usr/bin/docker-registry"
USER, PASSWORD = "ada", "correct horse"


class Naps(list[float]):
    """A ``sleep`` that does not: it notes the seconds."""

    def __call__(self, seconds: float) -> None:
        self.append(seconds)


@pytest.fixture
def naps() -> Naps:
    return Naps()


@pytest.fixture
def fake() -> Iterator[FakeRegistry]:
    with FakeRegistry() as registry:
        yield registry


@pytest.fixture
def session(naps: Naps) -> Iterator[Session]:
    with contextlib.closing(Session(Settings(read_timeout=5.0), sleep=naps)) as made:
        yield made


@pytest.fixture
def repository(fake: FakeRegistry, session: Session) -> Repository:
    return repository_at(fake.host, session)


def repository_at(host: str, session: Session, name: str = "team/app:1") -> Repository:
    return Repository(Reference.parse(f"{host}/{name}"), session)


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="session")
def token_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TokenServer]:
    with TokenServer(tmp_path_factory.mktemp("tokens"), {USER: PASSWORD}) as server:
        yield server


@dataclass(frozen=True)
class RealRegistry:
    """A running docker-registry."""

    host: str
    certs: Path | None = None


@pytest.fixture(scope="session")
def real(
    tmp_path_factory: pytest.TempPathFactory, require: Callable[[object, str], None]
) -> Iterator[RealRegistry]:
    require(Path(REAL).exists(), "needs the program docker-registry")
    with _serve(tmp_path_factory.mktemp("plain"), {}) as registry:
        yield registry


@pytest.fixture(scope="session")
def real_htpasswd(
    tmp_path_factory: pytest.TempPathFactory, require: Callable[[object, str], None]
) -> Iterator[RealRegistry]:
    require(Path(REAL).exists(), "needs the program docker-registry")
    require(shutil.which("htpasswd"), "needs the program htpasswd")
    folder = tmp_path_factory.mktemp("htpasswd")
    line = subprocess.run(
        ["htpasswd", "-nbB", USER, PASSWORD], capture_output=True, text=True, check=True
    ).stdout
    (folder / "users").write_text(line)
    auth = {"htpasswd": {"realm": "test", "path": str(folder / "users")}}
    with _serve(folder, {"auth": auth}) as registry:
        yield registry


@pytest.fixture(scope="session")
def real_tls(
    tmp_path_factory: pytest.TempPathFactory,
    authority: Authority,
    require: Callable[[object, str], None],
) -> Iterator[RealRegistry]:
    require(Path(REAL).exists(), "needs the program docker-registry")
    folder = tmp_path_factory.mktemp("tls")
    pair = authority.issue("server")
    tls = {"certificate": str(pair.certificate), "key": str(pair.key)}
    with _serve(folder, {"http": {"tls": tls}}) as registry:
        certs = folder / "certs.d" / registry.host
        certs.mkdir(parents=True)
        shutil.copy(authority.ca.certificate, certs / "ca.crt")
        yield RealRegistry(host=registry.host, certs=certs.parent)


@pytest.fixture(scope="session")
def real_token(
    tmp_path_factory: pytest.TempPathFactory,
    token_server: TokenServer,
    require: Callable[[object, str], None],
) -> Iterator[RealRegistry]:
    require(Path(REAL).exists(), "needs the program docker-registry")
    auth = {
        "token": {
            "realm": token_server.realm,
            "service": SERVICE,
            "issuer": ISSUER,
            "rootcertbundle": str(token_server.certificate),
        }
    }
    with _serve(tmp_path_factory.mktemp("token"), {"auth": auth}) as registry:
        yield registry


@contextlib.contextmanager
def _serve(folder: Path, extra: Mapping[str, Any]) -> Iterator[RealRegistry]:
    port = _free_port()
    config = {
        "version": 0.1,
        "log": {"level": "error", "accesslog": {"disabled": True}},
        "storage": {
            "filesystem": {"rootdirectory": str(folder / "data")},
            "delete": {"enabled": True},
        },
        **extra,
        "http": {"addr": f"127.0.0.1:{port}", "secret": "shared", **extra.get("http", {})},
    }
    # JSON is YAML.
    (folder / "config.yml").write_text(json.dumps(config))
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([REAL, "serve", folder / "config.yml"], stdout=log, stderr=log)
    try:
        _wait_for(port, process, folder / "log")
        yield RealRegistry(host=f"127.0.0.1:{port}")
    finally:
        process.terminate()
        process.wait()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def _wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.02)
    pytest.fail(f"docker-registry did not start: {log.read_text()}")
