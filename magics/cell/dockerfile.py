"""``%%dockerfile``: build an image from the text of the cell."""

from __future__ import annotations

from pathlib import Path

from magics.cell.build import Build, outcome, title
from magics.grammar import Parser, pairs
from magics.live import watching
from magics.perform import Call, Command
from workbench.errors import InvalidInput

_TEXT = """Build an image from the Dockerfile in the cell.

The progress is shown while it happens. Without CONTEXT the build sees no files; with it, COPY
and ADD take theirs from that folder."""


def _parser() -> Parser:
    parser = Parser("dockerfile", _TEXT, cell=True)
    parser.add(
        "-t", "--tag", action="append", default=[], metavar="NAME[:TAG]", thing="image",
        help="a name for the image; may be given again",
    )  # fmt: skip
    parser.add("--build-arg", action="append", default=[], metavar="K=V", help="a value for an ARG")
    parser.add("--target", default=None, metavar="STAGE", help="stop after this stage")
    parser.add("--no-cache", action="store_true", help="run every step anew")
    parser.add("--platform", default=None, metavar="OS/ARCH", help="build for this platform")
    parser.add("--label", action="append", default=[], metavar="K=V", help="a label for the image")
    parser.add("--context", default=None, metavar="DIR", thing="path", help="as CONTEXT")
    parser.add(
        "folder", nargs="?", default=None, metavar="CONTEXT", thing="path",
        help="folder of the files that COPY and ADD take",
    )  # fmt: skip
    return parser


def _run(call: Call) -> Build:
    given = call.arguments
    context = _context(given.context or given.folder)
    with watching(call.session, title(tuple(given.tag)), quiet=call.quiet) as view:
        result = call.engine.builds.build(
            context,
            dockerfile=call.cell or "",
            tags=tuple(given.tag),
            build_args=pairs(given.build_arg, "--build-arg"),
            target=given.target,
            no_cache=given.no_cache,
            platform=given.platform,
            labels=pairs(given.label, "--label"),
            report=view,
        )
        view.progress.end("done", outcome(result))
        view.finish()
    build = Build(result=result)
    call.session.hush(build)
    return build


def _context(name: str | None) -> Path | None:
    if name is None:
        return None
    folder = Path(name).expanduser().absolute()
    if not folder.is_dir():
        raise InvalidInput(
            f"the build context {name!r} is no folder",
            hint=f"it was looked for at {folder}; paths are relative to the notebook's folder",
        )
    return folder


COMMAND = Command(parser=_parser, run=_run)
