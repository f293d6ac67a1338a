"""Which certificates prove who a registry is, and who we are.

Source: Docker's documentation, "Verify repository client with certificates": a folder for each
host[:port] with ``*.crt`` (authorities) and pairs of ``*.cert`` and ``*.key`` (ours).
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from pathlib import Path

from workbench.errors import InvalidInput
from workbench.registry.hosts import is_insecure
from workbench.registry.settings import Settings


def context(host: str, port: int, settings: Settings) -> ssl.SSLContext:
    """The TLS context for one host. Raises InvalidInput that names a bad certificate file."""
    made = ssl.create_default_context()
    _load_environment(made, settings.environment)
    for folder in _folders(host, port, settings.certs):
        _load_folder(made, folder)
    if is_insecure(f"{host}:{port}", settings.insecure) or is_insecure(host, settings.insecure):
        made.check_hostname = False
        made.verify_mode = ssl.CERT_NONE
    return made


def _load_environment(made: ssl.SSLContext, environment: Mapping[str, str]) -> None:
    file = environment.get("SSL_CERT_FILE")
    if file:
        _load_authority(made, Path(file))


def _folders(host: str, port: int, certs: Path) -> list[Path]:
    name = f"[{host}]" if ":" in host else host
    names = [f"{name}:{port}"] + ([name] if port == 443 else [])
    return [certs / name for name in names if (certs / name).is_dir()]


def _load_folder(made: ssl.SSLContext, folder: Path) -> None:
    for file in sorted(folder.iterdir()):
        if file.suffix == ".crt":
            _load_authority(made, file)
        elif file.suffix == ".cert":
            _load_pair(made, file, file.with_suffix(".key"))
        elif file.suffix == ".key" and not file.with_suffix(".cert").exists():
            raise InvalidInput(f"missing client certificate {file.with_suffix('.cert')} for {file}")


def _load_authority(made: ssl.SSLContext, file: Path) -> None:
    try:
        made.load_verify_locations(cafile=file)
    except (ssl.SSLError, OSError) as error:
        raise InvalidInput(f"cannot read the certificate {file}: {error}") from error


def _load_pair(made: ssl.SSLContext, certificate: Path, key: Path) -> None:
    if not key.exists():
        raise InvalidInput(f"missing key {key} for client certificate {certificate}")
    try:
        # Without a password of its own OpenSSL would ask for one on the terminal.
        made.load_cert_chain(certificate, key, password="")
    except (ssl.SSLError, OSError, ValueError) as error:
        raise InvalidInput(f"cannot use the client certificate {certificate}: {error}") from error
