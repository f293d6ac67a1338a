"""Docker's config.json, helpers, and that no secret shows."""

from __future__ import annotations

import base64
import json
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from workbench.errors import InvalidInput, Unavailable
from workbench.registry.config_file import ConfigFile
from workbench.registry.credentials import (
    HUB_KEY,
    Credential,
    DockerKeychain,
    Given,
    key_of,
    normal,
)

HELPER = """#!/bin/sh
# Keeps one credential in a file beside itself.
dir=$(dirname "$0")
case "$1" in
  get) read -r url; test "$url" = "$(cat "$dir/url" 2>/dev/null)" || {
         echo "credentials not found in native keychain"; exit 1; }
       cat "$dir/secret";;
  store) cat > "$dir/secret"
         sed 's/.*"ServerURL": "\\([^"]*\\)".*/\\1/' "$dir/secret" > "$dir/url";;
  erase) rm "$dir/secret" "$dir/url";;
esac
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "docker" / "config.json"


@pytest.fixture
def keychain(file: Path, tmp_path: Path) -> DockerKeychain:
    path = f"{tmp_path / 'bin'}:/usr/bin:/bin"
    return DockerKeychain.of({"DOCKER_CONFIG": str(file.parent), "PATH": path})


@pytest.fixture
def helper(tmp_path: Path) -> Callable[[str], None]:
    def install(script: str) -> None:
        program = tmp_path / "bin" / "docker-credential-test"
        program.parent.mkdir(exist_ok=True)
        program.write_text(script)
        program.chmod(0o755)

    return install


def write(file: Path, tree: Any) -> None:
    file.parent.mkdir(exist_ok=True)
    file.write_text(tree if isinstance(tree, str) else json.dumps(tree))


def auth(text: str) -> dict[str, str]:
    return {"auth": base64.b64encode(text.encode()).decode()}


def test_no_file_is_nobody(keychain: DockerKeychain) -> None:
    assert keychain.get("docker.io") is None


def test_home_is_where_docker_looks(tmp_path: Path) -> None:
    write(tmp_path / ".docker" / "config.json", {"auths": {"ghcr.io": auth("me:pw")}})
    found = DockerKeychain.of({"HOME": str(tmp_path)}).get("ghcr.io")
    assert found == Credential(username="me", password="pw")


@pytest.mark.parametrize(
    ("key", "registry"),
    [
        (HUB_KEY, "docker.io"),
        ("docker.io", "docker.io"),
        ("https://registry-1.docker.io/v2/", "docker.io"),
        ("https://ghcr.io", "ghcr.io"),
        ("http://host:5000/v1/", "host:5000"),
        ("host:5000", "host:5000"),
    ],
)
def test_every_spelling_of_a_key(
    file: Path, keychain: DockerKeychain, key: str, registry: str
) -> None:
    write(file, {"auths": {key: auth("me:a:b")}})
    assert keychain.get(registry) == Credential(username="me", password="a:b")
    assert keychain.get("else.example.com") is None
    assert normal(key_of(registry)) == registry


def test_a_port_is_part_of_the_name(file: Path, keychain: DockerKeychain) -> None:
    write(file, {"auths": {"host:5000": auth("me:pw")}})
    assert keychain.get("host") is None
    assert keychain.get("host:5001") is None


def test_tokens_in_the_file(file: Path, keychain: DockerKeychain) -> None:
    entry = {**auth("me:"), "identitytoken": "long"}
    write(file, {"auths": {"a": entry, "b": {"registrytoken": "short"}, "c": {}, "d": 7}})
    found = keychain.get("a")
    assert found is not None
    assert (found.username, found.identity) == ("me", "long")
    assert keychain.get("b") == Credential(bearer="short")
    assert keychain.get("c") is None
    assert keychain.get("d") is None


@pytest.mark.parametrize(
    "tree",
    [
        "{broken c2VjcmV0",
        "[]",
        {"auths": {"host": {"auth": "###c2VjcmV0"}}},
        {"auths": {"host": auth("secret-without-colon")}},
        {"credsStore": "../../bin/sh"},
        {"credsStore": 5},
    ],
)
def test_broken_files_are_named_and_not_quoted(
    file: Path, keychain: DockerKeychain, tree: Any
) -> None:
    write(file, tree)
    with pytest.raises(InvalidInput, match=r"config\.json") as caught:
        keychain.get("host")
    assert "c2VjcmV0" not in str(caught.value)
    assert "secret" not in str(caught.value)


def test_put_keeps_what_it_does_not_know(file: Path, keychain: DockerKeychain) -> None:
    write(file, {"auths": {"other": auth("a:b")}, "HttpHeaders": {"X": "é"}, "plugins": [1]})
    keychain.put("docker.io", Credential(username="me", password="pw"))
    tree = json.loads(file.read_text())
    assert tree["HttpHeaders"] == {"X": "é"}
    assert tree["plugins"] == [1]
    assert set(tree["auths"]) == {"other", HUB_KEY}
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) & 0o700 == 0o700
    assert keychain.get("docker.io") == Credential(username="me", password="pw")
    assert [item.name for item in file.parent.iterdir()] == ["config.json"]


def test_an_identity_token_replaces_the_password(file: Path, keychain: DockerKeychain) -> None:
    keychain.put("host", Credential(username="me", password="pw", identity="long"))
    entry = json.loads(file.read_text())["auths"]["host"]
    assert base64.b64decode(entry["auth"]) == b"me:"
    assert entry["identitytoken"] == "long"


def test_remove(file: Path, keychain: DockerKeychain) -> None:
    write(file, {"auths": {"https://host/v1/": auth("a:b"), "other": auth("c:d")}})
    assert keychain.remove("host")
    assert set(json.loads(file.read_text())["auths"]) == {"other"}
    assert not keychain.remove("host")


def test_a_link_stays_a_link(file: Path, keychain: DockerKeychain, tmp_path: Path) -> None:
    target = tmp_path / "dotfiles" / "docker.json"
    target.parent.mkdir()
    target.write_text("{}")
    file.parent.mkdir()
    file.symlink_to(target)
    keychain.put("host", Credential(username="me", password="pw"))
    assert file.is_symlink()
    assert "host" in target.read_text()


def test_a_failed_change_leaves_the_old_file(file: Path) -> None:
    write(file, {"auths": {}})
    with pytest.raises(ZeroDivisionError), ConfigFile(file).change() as tree:
        tree["half"] = True
        raise ZeroDivisionError
    assert json.loads(file.read_text()) == {"auths": {}}


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(InvalidInput, match="cannot write"),
        ConfigFile(tmp_path / "file" / "config.json").change(),
    ):
        pass


def test_changes_at_once_all_count(file: Path, keychain: DockerKeychain) -> None:
    threads = [
        threading.Thread(
            target=keychain.put, args=(f"host{n}", Credential(username="u", password="p"))
        )
        for n in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(json.loads(file.read_text())["auths"]) == 8


@pytest.mark.parametrize("settings", [{"credsStore": "test"}, {"credHelpers": {"host": "test"}}])
def test_helpers_keep_find_and_forget(
    file: Path, keychain: DockerKeychain, helper: Callable[[str], None], settings: Any
) -> None:
    helper(HELPER)
    write(file, settings)
    assert keychain.get("host") is None
    keychain.put("host", Credential(username="me", password="pw"))
    assert keychain.get("host") == Credential(username="me", password="pw")
    assert json.loads(file.read_text())["auths"] == {"host": {}}
    keychain.put("host", Credential(username="me", identity="long"))
    assert keychain.get("host") == Credential(identity="long")
    assert keychain.remove("host")
    assert keychain.get("host") is None


def test_a_helper_of_one_host_is_not_asked_for_others(
    file: Path, keychain: DockerKeychain, helper: Callable[[str], None]
) -> None:
    helper("#!/bin/sh\nexit 9\n")
    write(file, {"credHelpers": {"host": "test"}, "auths": {"other": auth("a:b")}})
    assert keychain.get("other") == Credential(username="a", password="b")
    with pytest.raises(Unavailable):
        keychain.get("host")


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("#!/bin/sh\necho pw-secret; exit 3\n", "exit code 3"),
        ("#!/bin/sh\necho not json pw-secret\n", "no known form"),
        ("#!/bin/sh\necho '[]'\n", "no known form"),
        ("#!/nowhere/interpreter\n", "cannot be used"),
    ],
)
def test_helpers_that_fail(
    file: Path, keychain: DockerKeychain, helper: Callable[[str], None], script: str, words: str
) -> None:
    helper(script)
    write(file, {"credsStore": "test"})
    with pytest.raises(Unavailable, match=words) as caught:
        keychain.get("host")
    assert "pw-secret" not in str(caught.value)


def test_a_missing_helper(file: Path, keychain: DockerKeychain) -> None:
    write(file, {"credsStore": "nowhere"})
    with pytest.raises(Unavailable, match="docker-credential-nowhere is not on the PATH"):
        keychain.get("host")


def test_no_secret_shows() -> None:
    credential = Credential(username="me", password="s1", identity="s2", bearer="s3")
    assert "s1" not in repr(credential)
    assert "s2" not in repr(credential)
    assert "s3" not in repr(credential)
    assert "s1" not in repr(Given({"host": credential}))


def test_given_credentials() -> None:
    given = Given({HUB_KEY: Credential(username="me", password="pw")})
    assert given.get("docker.io") == Credential(username="me", password="pw")
    assert given.get("host") is None


def test_a_file_like_dockers(file: Path, keychain: DockerKeychain) -> None:
    keychain.put("host", Credential(username="me", password="pw"))
    assert file.read_text().startswith('{\n\t"auths": {\n\t\t"host": {\n')
    assert file.stat().st_nlink == 1
