"""``%logs``: what a container wrote."""

from __future__ import annotations

from magics.grammar import Parser
from magics.perform import Call, Command
from magics.streams import CellStreams
from workbench.events import Output, Stream


def _parser() -> Parser:
    parser = Parser("logs", "Show what a container wrote; with -f also what it writes from now on.")
    parser.add("-f", "--follow", action="store_true", help="go on until it ends or you interrupt")
    parser.add("-n", "--tail", type=int, default=None, metavar="N", help="only the last N lines")
    parser.add(
        "-t", "--timestamps", action="store_true", help="the time (UTC) in front of every line"
    )
    parser.add("container", metavar="CONTAINER", thing="container", help="name or id")
    return parser


def _run(call: Call) -> str | None:
    """The text is shown as it comes; it is the value only where it is kept (``-o``)."""
    given = call.arguments
    streams = CellStreams()
    kept: list[bytes] = []
    try:
        for line in call.engine.containers.logs(
            given.container, follow=given.follow, tail=given.tail
        ):
            stamp = f"{line.time:%Y-%m-%dT%H:%M:%S.%fZ} ".encode() if given.timestamps else b""
            if given.output:
                kept.append(stamp + line.data)
            if not call.quiet:
                stream: Stream = "stderr" if line.stream == "stderr" else "stdout"
                streams(Output(stream=stream, data=stamp + line.data))
    finally:
        streams.close()
    if not given.output:
        return None
    text = b"".join(kept).decode("utf-8", "replace")
    call.session.hush(text)
    return text


COMMAND = Command(parser=_parser, run=_run)
