"""Every error of the workbench, with what each skin makes of it.

    WorkbenchError                     500   exit 1
    ├── InvalidInput                   400   exit 125   the caller can mend the request
    │   └── DockerfileError            400   exit 1     ... in the Dockerfile, at a span
    ├── Unauthorized                   401   exit 1     log in, or log in as somebody else
    ├── Denied                         403   exit 125   not allowed, whoever asks
    ├── NotFound                       404   exit 1     ImageNotFound, ContainerNotFound, ...
    ├── Conflict                       409   exit 1     the present state forbids it
    ├── NotModified                    304   exit 0     it is so already
    ├── LimitExceeded                  413   exit 1     a configured bound was met
    ├── BuildFailed                    500   exit 1     a step failed; carries span, code and tail
    ├── CommandNotRunnable             400   exit 126   found, but cannot be executed
    ├── CommandNotFound                400   exit 127   no such program in the container
    ├── Corrupt                        500   exit 1     bytes do not match their digest or format
    ├── Unsupported                    501   exit 125   this host cannot; the hint says what would
    ├── Unavailable                    503   exit 1     try again later
    ├── Interrupted                    500   exit 130   the user stopped it
    └── Internal                       500   exit 125   a defect of ours

A class says what its *caller* can do. ``http_status``, ``exit_code`` and ``hint`` are attributes of
the class, so that a new class cannot forget its mapping; ``hint`` may be set for each error.
"""

from __future__ import annotations

from typing import ClassVar


class WorkbenchError(Exception):
    """Something that was asked could not be done; ``str()`` is one paragraph for a person.

    ``hint`` says how to mend it and is empty where nothing can be said.
    """

    http_status: ClassVar[int] = 500
    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message


class InvalidInput(WorkbenchError):
    """What was asked makes no sense as it stands: a bad name, flag, file or value."""

    http_status = 400
    exit_code = 125


class DockerfileError(InvalidInput):
    """A Dockerfile cannot be understood; ``excerpt`` shows the lines around the place."""

    exit_code = 1

    def __init__(
        self, message: str, *, hint: str = "", excerpt: str = "", line: int | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.excerpt = excerpt
        self.line = line

    def __str__(self) -> str:
        return f"{self.message}\n{self.excerpt}" if self.excerpt else self.message


class Unauthorized(WorkbenchError):
    """A registry wants other credentials than it was given."""

    http_status = 401


class Denied(WorkbenchError):
    """Not allowed, whatever the credentials."""

    http_status = 403
    exit_code = 125


class NotFound(WorkbenchError):
    """The thing that was named does not exist."""

    http_status = 404


class ImageNotFound(NotFound):
    """No such image."""


class ContainerNotFound(NotFound):
    """No such container."""


class NetworkNotFound(NotFound):
    """No such network."""


class VolumeNotFound(NotFound):
    """No such volume."""


class BlobNotFound(NotFound):
    """No such blob in a store or registry."""


class Conflict(WorkbenchError):
    """The present state forbids it: a name is taken, a thing is in use, a container is running."""

    http_status = 409


class NotModified(WorkbenchError):
    """Nothing to do: the thing is already as asked (Docker answers 304)."""

    http_status = 304
    exit_code = 0


class LimitExceeded(WorkbenchError):
    """A configured bound on size, count or time was met."""

    http_status = 413


class BuildFailed(WorkbenchError):
    """A step of a build failed.

    ``line`` is the first line of the instruction (from 1), ``step`` its text, ``code`` the exit
    code of its command (None where no command ran) and ``tail`` its last output lines.
    """

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        line: int | None = None,
        step: str = "",
        code: int | None = None,
        tail: str = "",
        excerpt: str = "",
    ) -> None:
        super().__init__(message, hint=hint)
        self.line = line
        self.step = step
        self.code = code
        self.tail = tail
        self.excerpt = excerpt

    def __str__(self) -> str:
        parts = [self.message, self.excerpt, self.tail]
        return "\n".join(part.rstrip("\n") for part in parts if part)


class CommandNotRunnable(WorkbenchError):
    """The program of a container exists but cannot be executed."""

    http_status = 400
    exit_code = 126


class CommandNotFound(WorkbenchError):
    """The program of a container does not exist in its file system."""

    http_status = 400
    exit_code = 127


class Corrupt(WorkbenchError):
    """Bytes do not match their digest, their size or their format."""


class Unsupported(WorkbenchError):
    """This host cannot do it; ``hint`` says what is missing and how to get it."""

    http_status = 501
    exit_code = 125


class Unavailable(WorkbenchError):
    """Not now: a registry or peer does not answer, or the disk is full."""

    http_status = 503


class Interrupted(WorkbenchError):
    """The user stopped it."""

    exit_code = 130


class Internal(WorkbenchError):
    """A defect of the workbench itself."""

    exit_code = 125
