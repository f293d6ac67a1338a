"""COPY and ADD: where files go, what they are called, whose they are."""

from __future__ import annotations

import io
import os
import socket
import stat
import tarfile
from pathlib import Path
from typing import Any

import pytest

from workbench.build.merged import split_path
from workbench.errors import BuildFailed

FILES = {
    "a.txt": "a",
    "b.txt": "b",
    "c.md": "c",
    "dir/x": "x",
    "dir/sub/y": "y",
    "dir/sub/z.txt": "z",
    "other/x": "other x",
}


@pytest.fixture
def context(bench: Any) -> Path:
    folder: Path = bench.context(FILES)
    return folder


@pytest.fixture
def any_context(any_bench: Any) -> Path:
    folder: Path = any_bench.context(FILES)
    return folder


@pytest.mark.parametrize(
    "line,expected",
    [
        ("COPY a.txt /new", ["new"]),
        ("COPY a.txt /new/", ["new/", "new/a.txt"]),
        ("COPY a.txt /n/e/w", ["n/", "n/e/", "n/e/w"]),
        ("COPY a.txt .", ["a.txt"]),
        ("COPY a.txt b.txt /d/", ["d/", "d/a.txt", "d/b.txt"]),
        ("COPY *.txt /d/", ["d/", "d/a.txt", "d/b.txt"]),
        ("COPY [a-b].txt /d/", ["d/", "d/a.txt", "d/b.txt"]),
        ("COPY ?.md /d/", ["d/", "d/c.md"]),
        ("COPY *.none /d/", []),
        ("COPY dir /d", ["d/", "d/sub/", "d/sub/y", "d/sub/z.txt", "d/x"]),
        ("COPY dir/ /d/", ["d/", "d/sub/", "d/sub/y", "d/sub/z.txt", "d/x"]),
        ("COPY dir/* /d/", ["d/", "d/x", "d/y", "d/z.txt"]),
        ("COPY dir/*/y /d/", ["d/", "d/y"]),
        ("COPY ../../a.txt /", ["a.txt"]),
        ("COPY /a.txt /", ["a.txt"]),
        ('COPY ["a.txt", "/with space/"]', ["with space/", "with space/a.txt"]),
        ("COPY --parents dir/sub/y /d/", ["d/", "d/dir/", "d/dir/sub/", "d/dir/sub/y"]),
        ("COPY --parents dir/./sub/y /d/", ["d/", "d/sub/", "d/sub/y"]),
        ("COPY --parents **/x /d/", ["d/", "d/dir/", "d/dir/x", "d/other/", "d/other/x"]),
        ("COPY --parents ./**/*.txt /d/", [
            "d/", "d/a.txt", "d/b.txt", "d/dir/", "d/dir/sub/", "d/dir/sub/z.txt",
        ]),
        ("COPY --exclude=sub dir /d", ["d/", "d/x"]),
        ("COPY --exclude=**/*.txt dir /d", ["d/", "d/sub/", "d/sub/y", "d/x"]),
        ("COPY --exclude=a* *.txt /d/", ["d/", "d/b.txt"]),
        ("COPY --exclude=sub --exclude=!sub/y dir /d", ["d/", "d/sub/", "d/sub/y", "d/x"]),
        ("COPY --link a.txt /l/", ["l/", "l/a.txt"]),
        ("COPY <<EOF /here\nhello\nEOF", ["here"]),
        ("COPY <<one <<two /d/\n1\none\n2\ntwo", ["d/", "d/one", "d/two"]),
        ("ADD a.txt /d/", ["d/", "d/a.txt"]),
    ],
)  # fmt: skip
def test_where_files_go(any_bench: Any, any_context: Path, line: str, expected: list[str]) -> None:
    built = any_bench.build(f"FROM scratch\n{line}\n", context=any_context)
    assert built.listing() == expected


@pytest.mark.parametrize(
    "lines,message",
    [
        (["COPY nope /"], 'failed to calculate checksum: "/nope": not found'),
        (["COPY a.txt b.txt /d"], "When using COPY with more than one source file, the destination "
         "must be a directory and end with a /"),
        (["COPY a.txt /f", "COPY dir /f"], "cannot copy to non-directory: /f"),
        (["COPY dir /d", "COPY a.txt /d/sub"], None),
        (["COPY dir/sub/y /d/sub", "COPY dir /d"], "cannot copy to non-directory: /d/sub"),
        (["COPY dir /d", "COPY --parents dir/x /d/", "COPY a.txt /e/x/", "COPY dir/x /e/"],
         "cannot replace to directory /e/x with file"),
        (["COPY --chmod=99 a.txt /"], "invalid chmod parameter: '99'. it should be octal string "
         "and between 0 and 07777"),
        (["COPY --chmod=u+q a.txt /"], "invalid chmod parameter: 'u+q'"),
        (["COPY --chown=nobody a.txt /"],
         "unable to find user nobody: no matching entries in passwd file"),
        (["COPY --chown=1:none a.txt /"],
         "unable to find group none: no matching entries in group file"),
        (["COPY [a /x/"], "syntax error in pattern: '[a'"),
        (["COPY --exclude=[ dir /x/"], "syntax error in pattern: '['"),
    ],
)  # fmt: skip
def test_what_is_refused(bench: Any, context: Path, lines: list[str], message: str | None) -> None:
    text = "\n".join(["FROM scratch", *lines])
    if message is None:
        bench.build(text, context=context)
        return
    with pytest.raises(BuildFailed) as caught:
        bench.build(text, context=context)
    assert caught.value.message == message
    assert caught.value.line == len(lines) + 1
    assert bench.active() == []


def _status(built: Any, path: str) -> os.stat_result:
    status: os.stat_result | None = built.tree.status(split_path(path))
    assert status is not None
    return status


def _mode(built: Any, path: str) -> str:
    return oct(stat.S_IMODE(_status(built, path).st_mode))


@pytest.mark.parametrize(
    "chmod,file,directory",
    [
        ("755", "0o755", "0o755"),
        ("0600", "0o600", "0o600"),
        ("4755", "0o4755", "0o4755"),
        ("u+x", "0o740", "0o700"),
        ("go=", "0o600", "0o700"),
        ("a+X", "0o640", "0o711"),
        ("u=rwX,go=rX", "0o644", "0o755"),
        ("g=u", "0o660", "0o770"),
        ("+t", "0o1640", "0o1700"),
        ("u+s,o-r", "0o4640", "0o4700"),
    ],
)
def test_chmod(bench: Any, chmod: str, file: str, directory: str) -> None:
    context = bench.context({"d/f": "x"})
    (context / "d/f").chmod(0o640)
    (context / "d").chmod(0o700)
    built = bench.build(f"FROM scratch\nCOPY --chmod={chmod} . /\n", context=context)
    assert (_mode(built, "d/f"), _mode(built, "d")) == (file, directory)


def _require_root(require: Any) -> None:
    require(os.geteuid() == 0, "changing owners needs root")


def test_owner_by_name_and_number(bench: Any, context: Path, require: Any) -> None:
    _require_root(require)
    (context / "passwd").write_text("root:x:0:0::/root:/bin/sh\nweb:x:33:44::/var/www:/bin/sh\n")
    (context / "group").write_text("root:x:0:\nstaff:x:50:web\n")
    built = bench.build(
        "FROM scratch\nCOPY passwd group /etc/\n"
        "COPY --chown=web a.txt /1/\nCOPY --chown=web:staff a.txt /2/\n"
        "COPY --chown=7 a.txt /3/\nCOPY --chown=7:8 a.txt /4/\nCOPY --chown=:staff a.txt /5/\n"
        "USER web\nWORKDIR /work/deep\n",
        context=context,
    )

    def owner(path: str) -> tuple[int, int]:
        found = _status(built, path)
        return found.st_uid, found.st_gid

    assert [owner(f"{number}/a.txt") for number in range(1, 6)] == [
        (33, 44), (33, 50), (7, 7), (7, 8), (0, 50),
    ]  # fmt: skip
    assert owner("1") == (33, 44)
    assert owner("work") == owner("work/deep") == (33, 44)


def test_owner_and_mode_of_another_stage_are_kept(bench: Any, context: Path, require: Any) -> None:
    _require_root(require)
    (context / "a.txt").chmod(0o4711)
    built = bench.build(
        "FROM scratch AS a\nCOPY --chown=5:6 a.txt /d/\nFROM scratch\nCOPY --from=a /d /e\n",
        context=context,
    )
    status = _status(built, "e/a.txt")
    assert (status.st_uid, status.st_gid, oct(status.st_mode & 0o7777)) == (5, 6, "0o4711")


def test_times_of_files_are_kept(bench: Any, context: Path) -> None:
    os.utime(context / "a.txt", (1000, 1000))
    built = bench.build("FROM scratch\nCOPY a.txt /\n", context=context)
    assert _status(built, "a.txt").st_mtime == 1000


def test_merging_into_a_directory_replaces_files(bench: Any, context: Path) -> None:
    built = bench.build("FROM scratch\nCOPY dir /d\nCOPY other /d\n", context=context)
    assert built.text("/d/x") == "other x"
    assert built.text("/d/sub/y") == "y"


def test_links_in_the_context_are_copied_and_named_ones_followed(bench: Any, context: Path) -> None:
    (context / "link").symlink_to("a.txt")
    (context / "dirlink").symlink_to("dir")
    (context / "out").symlink_to("/etc")
    built = bench.build(
        "FROM scratch\nCOPY link /named\nCOPY dirlink /d\nCOPY . /all/\n", context=context
    )
    assert built.text("/named") == "a"
    assert built.text("/d/x") == "x"
    assert "all/link -> a.txt" in built.listing()


def test_a_link_does_not_lead_out_of_the_context(bench: Any, context: Path) -> None:
    (context / "out").symlink_to("/etc/passwd")
    (context / "up").symlink_to("../../../../etc/passwd")
    for name in ("out", "up"):
        with pytest.raises(BuildFailed, match=r'"/.*": not found'):
            bench.build(f"FROM scratch\nCOPY {name} /\n", context=context)


def test_a_link_in_the_image_does_not_lead_out(bench: Any, context: Path) -> None:
    secret = bench.root / "victim"
    secret.mkdir()
    (context / "evil").symlink_to(secret)
    (context / "up").symlink_to("../../../../../../../../" + str(secret).lstrip("/"))
    built = bench.build(
        "FROM scratch\nCOPY . /\nCOPY a.txt /evil/pwned\nCOPY a.txt /up/pwned\n", context=context
    )
    assert list(secret.iterdir()) == []
    inside = str(secret).lstrip("/") + "/pwned"
    assert built.text(inside) == "a"


def test_a_target_behind_links_of_lower_layers(bench: Any, context: Path) -> None:
    (context / "usr/lib").mkdir(parents=True)
    (context / "lib").symlink_to("usr/lib")
    built = bench.build(
        "FROM scratch\nCOPY lib usr /base/\nCOPY --parents lib usr /\nCOPY a.txt /lib/\n",
        context=context,
    )
    assert built.text("/usr/lib/a.txt") == "a"
    assert "lib -> usr/lib" in built.listing()


def test_sockets_and_pipes_are_skipped(bench: Any, context: Path) -> None:
    os.mkfifo(context / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(context / "sock")[-100:] if len(str(context)) > 100 else str(context / "s"))
        built = bench.build("FROM scratch\nCOPY . /\n", context=context)
    assert not {"pipe", "sock", "s"} & set(built.listing())


def test_hard_links_stay_linked(bench: Any, context: Path) -> None:
    os.link(context / "a.txt", context / "dir/hard")
    built = bench.build("FROM scratch\nCOPY . /\n", context=context)
    assert _status(built, "a.txt").st_ino == _status(built, "dir/hard").st_ino


def test_dockerignore(bench: Any, context: Path) -> None:
    (context / ".dockerignore").write_text("# no\n*\n!dir\n**/*.txt\n!dir/sub/z.txt\n")
    built = bench.build("FROM scratch\nCOPY . /\n", context=context)
    assert built.listing() == ["dir/", "dir/sub/", "dir/sub/y", "dir/sub/z.txt", "dir/x"]


def test_dockerfile_dockerignore_comes_first(bench: Any, context: Path) -> None:
    (context / ".dockerignore").write_text("*\n")
    (context / "Dockerfile.dockerignore").write_text("dir\nother\n.d*\nD*\n")
    built = bench.build("FROM scratch\nCOPY . /\n", context=context)
    assert built.listing() == ["a.txt", "b.txt", "c.md"]


def _tar(compression: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=f"w:{compression}" if compression else "w") as tar:
        member = tarfile.TarInfo("in/side")
        member.size = 3
        tar.addfile(member, io.BytesIO(b"tar"))
    return buffer.getvalue()


@pytest.mark.parametrize("compression", ["", "gz", "bz2", "xz"])
def test_add_unpacks_archives(bench: Any, compression: str) -> None:
    context = bench.context({"x.tar": _tar(compression), "plain.tar": "no archive"})
    built = bench.build(
        "FROM scratch\nADD x.tar plain.tar /d/\nCOPY x.tar /e/\nADD --unpack=false x.tar /f/\n",
        context=context,
    )
    assert built.listing() == [
        "d/", "d/in/", "d/in/side", "d/plain.tar", "e/", "e/x.tar", "f/", "f/x.tar",
    ]  # fmt: skip
    assert built.text("/d/in/side") == "tar"


def test_an_archive_does_not_lead_out(bench: Any) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("../../escape"))
    context = bench.context({"x.tar": buffer.getvalue()})
    with pytest.raises(BuildFailed, match="leads out"):
        bench.build("FROM scratch\nADD x.tar /d/\n", context=context)


def test_add_fetches(bench: Any) -> None:
    bench.fetcher.files["https://x/dir/file.txt?q=1"] = b"remote"
    bench.fetcher.files["http://x/t.tar"] = _tar("")
    repository = bench.root / "repository"
    repository.mkdir()
    (repository / "README").write_text("readme")
    bench.fetcher.trees["https://x/r.git#main"] = repository
    built = bench.build(
        "FROM scratch\nADD https://x/dir/file.txt?q=1 /d/\nADD http://x/t.tar /e/\n"
        "ADD --unpack http://x/t.tar /u/\nADD https://x/r.git#main /g\n"
    )
    assert built.listing() == [
        "d/", "d/file.txt", "e/", "e/t.tar", "g/", "g/README", "u/", "u/in/", "u/in/side",
    ]  # fmt: skip
    status = _status(built, "d/file.txt")
    assert (oct(status.st_mode & 0o777), status.st_mtime) == ("0o600", 5)


def test_link_layers_survive_a_change_below(bench: Any, context: Path) -> None:
    text = "FROM scratch\nRUN write /base {}\nCOPY --link a.txt /l/\nRUN write /z 1\n"
    bench.build(text.format(1), context=context)
    built = bench.build(text.format(2), context=context)
    assert [step.cached for step in built.steps] == [True, False, True, False]
    assert built.listing() == ["base", "l/", "l/a.txt", "z"]


def test_heredocs_expand_unless_quoted(bench: Any) -> None:
    built = bench.build(
        "FROM scratch\nARG N=me\nCOPY <<A <<'B' <<-C /d/\n$N 'q'\nA\n$N\nB\n\tno $N\n\tC\n"
    )
    assert [built.text(f"/d/{name}") for name in "ABC"] == ["me 'q'\n", "$N\n", "no me\n"]


def test_named_contexts(bench: Any, context: Path) -> None:
    from workbench.build.context import BuildContext

    extra = bench.root / "extra"
    extra.mkdir()
    (extra / "e").write_text("extra")
    bench.base("real", "FROM scratch\nRUN write /r 1\n")
    built = bench.build(
        "FROM wanted\nCOPY --from=more /e /e\n",
        contexts={"more": BuildContext.whole(extra), "wanted": "docker-image://real"},
    )
    assert built.listing() == ["e", "r"]


def test_removed_names_of_lower_layers_come_back(bench: Any, context: Path) -> None:
    from workbench.oci.digest import chain_id  # the snapshot between two steps

    first = bench.build("FROM scratch\nCOPY dir /d\nRUN write /x 1\n", context=context)
    below = chain_id(layer.diff_id for layer in first.image.layers)
    changes = bench.parts.snapshotter.changes(below)
    try:
        os.mknod(changes / "d", stat.S_IFCHR | 0o600, os.makedev(0, 0))
    except PermissionError:
        pytest.skip("a whiteout cannot be made here")
    built = bench.build(
        "FROM scratch\nCOPY dir /d\nRUN write /x 1\nCOPY a.txt /d/\n", context=context
    )
    assert built.listing() == ["d/", "d/a.txt", "x"]
