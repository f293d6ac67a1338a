from __future__ import annotations

from tests.monitor.conftest import World


def test_smoke(world: World) -> None:
    session = world.spawn(world.shell("echo out; echo err >&2; exit 3"))
    attachment = session.run_attached()
    chunks = list(attachment)
    assert b"".join(c.data for c in chunks if c.stream == "stdout") == b"out\n"
    assert b"".join(c.data for c in chunks if c.stream == "stderr") == b"err\n"
    assert attachment.wait().code == 3
