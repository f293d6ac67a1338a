"""``%base``: a base image out of what this machine has, without a registry."""

from __future__ import annotations

from typing import TYPE_CHECKING

from magics.grammar import Parser
from magics.line.images import table
from magics.live import watching
from magics.perform import Call, Command
from magics.tables import Table

if TYPE_CHECKING:
    from workbench import ImageInfo

_TEXT = """Make a base image out of what this machine has. No registry is needed.

kinds:
  toolbox                a shell and the core utilities of this machine
  python                 the Python that runs this notebook, with pip
  debian:bookworm-slim   a small Debian by debootstrap, where that is installed"""


def _parser() -> Parser:
    parser = Parser("base", _TEXT)
    parser.add("--tag", default=None, metavar="NAME[:TAG]", help="another name for the image")
    parser.add("kind", metavar="KIND", thing="base", help="toolbox, python or debian:bookworm-slim")
    return parser


def _run(call: Call) -> Table[ImageInfo]:
    kind, tag = call.arguments.kind, call.arguments.tag
    title = f"Base image {tag or kind}"
    with watching(call.session, title, quiet=call.quiet) as view:
        info = call.engine.images.base(kind, tag=tag, report=view)
        result = table((info,))
        if view.settle(result):
            call.session.hush(result)
    return result


COMMAND = Command(parser=_parser, run=_run)
