"""One client of a monitor: its requests, answered in order, and the streams that it gets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from workbench.errors import Conflict, Internal, InvalidInput, WorkbenchError
from workbench.monitor import protocol
from workbench.monitor.audience import Client, replay_of
from workbench.monitor.connection import Connection, PeerWatch
from workbench.monitor.joined import Joined
from workbench.monitor.settings import MonitorSettings
from workbench.monitor.streams import Streams, Writer
from workbench.oci.codec import decode
from workbench.oci.runtime_spec import Process

if TYPE_CHECKING:
    from workbench.monitor.run import Monitor

Request = Mapping[str, Any]

# A request that the kernel or a defect of ours spoils is answered so; the container goes on.
DEFECTS: Final = (OSError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError)


class Peer:
    """A connection in one of four roles: asking, attached, waiting, or watching an exec.

    ``tied``: the container is killed when this client goes. ``adopts``: this client cleans up
    after the container.
    """

    def __init__(self, monitor: Monitor, connection: Connection) -> None:
        self.connection = connection
        self.tied = False
        self.adopts = False
        self._monitor = monitor
        self._container = monitor.container
        self._waits = ""
        self._input_of: Streams | None = None
        self._joined: Joined | None = None
        self._kills_exec = False
        self._watch: PeerWatch | None = None
        connection.on_frame = self._frame
        connection.on_gone = self._gone

    def exited(self, frame: bytes, again: bool) -> None:
        """The container's program has ended; ``again`` when it will be started once more."""
        if self._waits == "next" or (self._waits and not again):
            self._waits = ""
            self.connection.send(frame)
        if again:
            # Who started it in the foreground has seen its end; the next run is on its own.
            self.tied = self.adopts = False

    def _frame(self, kind: int, payload: bytes) -> None:
        try:
            if kind == protocol.REQUEST:
                self._answer(protocol.parse(payload))
            elif kind == protocol.HELLO:
                protocol.check_hello(payload)
            else:
                self._push(kind, payload)
        except WorkbenchError as error:
            self.connection.send(protocol.failure(error))
        except DEFECTS as error:
            problem = Internal(f"the monitor of {self._container.settings.id} failed: {error!r}")
            self.connection.send(protocol.failure(problem))

    def _push(self, kind: int, payload: bytes) -> None:
        """What needs no answer, for the container or the exec that this client is attached to."""
        streams = self._joined.streams if self._joined else self._container.streams
        if kind == protocol.STDIN:
            self._write(payload)
        elif kind == protocol.STDIN_END:
            self._end_input()
        elif kind == protocol.RESIZE:
            streams.resize(*_unpack_size(payload))
        elif kind == protocol.SIGNAL and len(payload) == 1:
            if self._joined:
                self._joined.signal(payload[0])
            else:
                self._container.signal(payload[0])

    def _answer(self, request: Request) -> None:
        handler = _HANDLERS.get(str(request.get("op")))
        if handler is None:
            raise InvalidInput(f"the monitor knows no request {request.get('op')!r}")
        answer = handler(self, request)
        if answer is not None:
            self.connection.send(protocol.control(protocol.REPLY, answer))

    def _create(self, request: Request) -> Request:
        self._flags(request)
        return {"pid": self._container.create()}

    def _start(self, request: Request) -> Request:
        self._flags(request)
        self._container.start()
        return {}

    def _run(self, request: Request) -> Request | None:
        """Create and start, and where it is asked for attach before the first byte comes."""
        self._flags(request)
        pid = self._container.create()
        if not request.get("attach"):
            self._container.start()
            return {"pid": pid}
        # The answer goes before any output, so that a client knows whether there will be some.
        self._container.start()
        self.connection.send(protocol.control(protocol.REPLY, {"pid": pid}))
        self._join_audience(request)
        return None

    def _attach(self, request: Request) -> None:
        if self._container.status in ("new", "ended"):
            raise Conflict(f"container {self._container.settings.id} is not running")
        self._flags(request)
        self.connection.send(protocol.control(protocol.REPLY, {}))
        self._join_audience(request)

    def _join_audience(self, request: Request) -> None:
        path = self._container.settings.log_path(self._monitor.directory)
        if request.get("stdin"):
            self._input_of = self._container.streams
        self._container.audience.add(
            Client(
                connection=self.connection,
                stdin=bool(request.get("stdin")),
                stdout=bool(request.get("stdout", True)),
                stderr=bool(request.get("stderr", True)),
                tied=self.tied,
                replay=replay_of(path) if request.get("logs") else None,
                unfinished=self._container.unfinished,
            )
        )

    def _execute(self, request: Request) -> None:
        process: Process = decode(Process, request.get("process"), "process")
        if not process.args or any("\0" in item for item in (*process.args, *process.env)):
            raise InvalidInput("process.args must name a program, without NUL bytes")
        self._kills_exec = bool(request.get("tie"))
        joined = Joined(
            self._monitor.loop,
            process,
            self._exec_output,
            self._exec_ended,
            stdin=bool(request.get("stdin")),
        )
        pid = joined.begin(self._monitor.runtime, self._monitor.directory)
        self._joined = joined
        self._input_of = joined.streams
        self.connection.on_drained = lambda: joined.streams.hold(False)
        joined.streams.resize(*_size_of(request))
        self.connection.send(protocol.control(protocol.REPLY, {"pid": pid}))

    def _exec_output(self, stream: str, data: bytes) -> None:
        self.connection.output(protocol.STREAM_KINDS[stream], data)
        if self.connection.crowded and self._joined is not None:
            self._joined.streams.hold(True)

    def _exec_ended(self, code: int) -> None:
        self._joined = self._input_of = None
        self.connection.send(protocol.control(protocol.EXIT, {"code": code}))

    def _signal(self, request: Request) -> Request:
        number = _integer(request, "number")
        self._container.signal(number, everything=bool(request.get("all")))
        return {}

    def _stop(self, request: Request) -> None:
        timeout = request.get("timeout")
        if timeout is not None and type(timeout) not in (int, float):
            raise InvalidInput(f"timeout must be a number, not {timeout!r}")
        if self._container.status in ("new", "ended"):
            raise Conflict(f"container {self._container.settings.id} is not running")
        self._waits = "end"
        self._container.stop(
            None if timeout is None else float(timeout),
            _integer(request, "number") if request.get("number") else None,
        )

    def _pause(self, _request: Request) -> Request:
        self._container.pause()
        return {}

    def _resume(self, _request: Request) -> Request:
        self._container.resume()
        return {}

    def _resize(self, request: Request) -> Request:
        self._container.resize(*_size_of(request))
        return {}

    def _wait(self, request: Request) -> None:
        self._flags(request)
        self._waits = "next" if request.get("next_exit") else "end"
        if self._container.status == "ended":
            self.exited(protocol.control(protocol.EXIT, self._container.last.to_json()), False)

    def _status(self, _request: Request) -> Request:
        container = self._container
        return {
            "status": container.status,
            "pid": container.pid,
            "restarts": container.restarts,
        }

    def _reload(self, _request: Request) -> Request:
        """Read ``monitor.json`` once more: restart policy, stop signal and timeout, commands."""
        self._container.settings = MonitorSettings.read(self._monitor.directory)
        return {}

    def _flags(self, request: Request) -> None:
        if request.get("tie") and not self.tied:
            self.tied = True
            self._container.tie()
            self._watch = PeerWatch(self._monitor.loop, self.connection.peer, self.connection.close)
        self.adopts = self.adopts or bool(request.get("adopt_exit"))

    @property
    def _input(self) -> Writer | None:
        return self._input_of.input if self._input_of is not None else None

    def _write(self, data: bytes) -> None:
        if (writer := self._input) is None:
            return
        writer.on_drained = lambda: self.connection.hold(False)
        writer.write(data)
        if writer.full:
            self.connection.hold(True)

    def _end_input(self) -> None:
        """The client has no more input. The container's stays open for others unless it is once."""
        if self._input_of is None:
            return
        if self._joined is not None or self._container.settings.stdin_once:
            self._input_of.end_input()

    def _gone(self) -> None:
        if self._watch is not None:
            self._watch.close()
        self._container.audience.remove(self.connection)
        self._end_input()
        if self._joined is not None:
            self._joined.streams.hold(False)
            if self._kills_exec:
                self._joined.kill()
        self._monitor.gone(self)


_HANDLERS = {
    "create": Peer._create,
    "start": Peer._start,
    "run": Peer._run,
    "attach": Peer._attach,
    "execute": Peer._execute,
    "signal": Peer._signal,
    "stop": Peer._stop,
    "pause": Peer._pause,
    "resume": Peer._resume,
    "resize": Peer._resize,
    "wait": Peer._wait,
    "status": Peer._status,
    "reload": Peer._reload,
}


def _unpack_size(payload: bytes) -> tuple[int, int]:
    if len(payload) != protocol.SIZE.size:
        raise InvalidInput("a resize frame holds rows and columns")
    rows, columns = protocol.SIZE.unpack(payload)
    return rows, columns


def _size_of(request: Request) -> tuple[int, int]:
    if not request.get("rows"):
        return 0, 0
    return _integer(request, "rows"), _integer(request, "columns")


def _integer(request: Request, name: str) -> int:
    value = request.get(name)
    if type(value) is not int or not 0 <= value < 65536:
        raise InvalidInput(f"{name} must be a number, not {value!r}")
    return value
