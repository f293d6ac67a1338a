"""A JupyterLab server of its own: settings, runtime files and port are nobody else's."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any

_SETTINGS = {
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
    "apputils-extension/themes": {"theme": "JupyterLab Light"},
}


class Lab:
    """Serves ``folder`` at ``url`` while it is entered."""

    def __init__(self, folder: Path, scratch: Path) -> None:
        self.folder = folder
        self.scratch = scratch
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Lab:
        for name, values in _SETTINGS.items():
            self.setting(name, values)
        environment = os.environ | {
            "JUPYTERLAB_SETTINGS_DIR": str(self.scratch / "settings"),
            "JUPYTER_CONFIG_DIR": str(self.scratch / "config"),
            "JUPYTER_DATA_DIR": str(self.scratch / "data"),
            "JUPYTER_RUNTIME_DIR": str(self.scratch / "runtime"),
        }
        flags = [
            "--no-browser",
            "--allow-root",
            f"--port={self.port}",
            "--ServerApp.port_retries=0",
        ]
        flags += [f"--ServerApp.root_dir={self.folder}", "--IdentityProvider.token="]
        self._log = (self.scratch / "lab.log").open("wb")
        self._server = subprocess.Popen(
            [sys.executable, "-m", "jupyterlab", *flags],
            env=environment,
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )
        self._wait()
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self._server.terminate()
        try:
            self._server.wait(timeout=15)
        except subprocess.TimeoutExpired:
            self._server.kill()
            self._server.wait()
        self._log.close()

    def setting(self, name: str, values: dict[str, Any]) -> None:
        """Change a setting of the user's; a page that loads afterwards sees it."""
        path = self.scratch / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(values), "utf-8")

    def _wait(self) -> None:
        deadline = time.monotonic() + 180
        while time.monotonic() < deadline and self._server.poll() is None:
            try:
                with urllib.request.urlopen(f"{self.url}/api/status", timeout=2):
                    return
            except OSError:
                time.sleep(0.2)
        raise RuntimeError((self.scratch / "lab.log").read_text("utf-8", "replace")[-4000:])
