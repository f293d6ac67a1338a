"""A private certificate authority, made with the openssl program."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

_CURVE = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]


@dataclass(frozen=True)
class Pair:
    certificate: Path
    key: Path


class Authority:
    """``ca.certificate`` signs what ``issue`` makes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.ca = Pair(folder / "ca.crt", folder / "ca.key")
        _openssl(
            "req", "-x509", *_CURVE, "-days", "2", "-subj", "/CN=private authority",
            "-keyout", self.ca.key, "-out", self.ca.certificate,
        )  # fmt: skip

    def issue(self, name: str, alternatives: str = "IP:127.0.0.1,DNS:localhost") -> Pair:
        """A certificate for a server or a client."""
        made = Pair(self._folder / f"{name}.crt", self._folder / f"{name}.key")
        request, extra = self._folder / f"{name}.csr", self._folder / f"{name}.ext"
        extra.write_text(f"subjectAltName={alternatives}\n")
        _openssl(
            "req", "-new", *_CURVE, "-subj", f"/CN={name}", "-keyout", made.key, "-out", request
        )
        _openssl(
            "x509", "-req", "-in", request, "-CA", self.ca.certificate, "-CAkey", self.ca.key,
            "-CAcreateserial", "-days", "2", "-extfile", extra, "-out", made.certificate,
        )  # fmt: skip
        return made


def _openssl(*arguments: str | Path) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)
