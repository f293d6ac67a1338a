"""An engine in memory that keeps the contract of the real one: values, events and errors.

``install()`` puts it in the place of ``workbench.Engine`` of this process. A command of one word
decides what a container does: ``true``, ``fail``, ``sleep``, ``split`` (a character in two
pieces), ``both`` (the two streams in turn); a step of a build likewise (``RUN fail``).
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import workbench
from workbench.engine.options import RunOptions
from workbench.engine.values import (
    BuildResult,
    Capability,
    ContainerInfo,
    Diagnosis,
    ImageInfo,
    LayerInfo,
    LogLine,
    StepRecord,
)
from workbench.errors import (
    BuildFailed,
    CommandNotFound,
    Conflict,
    ContainerNotFound,
    DockerfileError,
    ImageNotFound,
)
from workbench.events import (
    Notice,
    Output,
    Report,
    StepFinished,
    StepOutput,
    StepStarted,
    silent,
)
from workbench.oci.descriptor import OCI_LAYER_GZIP, Descriptor
from workbench.oci.digest import Digest
from workbench.oci.image import History, Image, Layer, append_layer, with_config
from workbench.oci.reference import Reference

_MADE = datetime(2026, 5, 1, 12, 30, 5, tzinfo=UTC)


def _layer(text: str) -> Layer:
    data = text.encode()
    return Layer(descriptor=Descriptor.of(OCI_LAYER_GZIP, data), diff_id=Digest.of(b"diff " + data))


def _history(text: str, *, empty: bool = False) -> History:
    return History(created="2026-05-01T12:30:05Z", created_by=text, empty_layer=empty)


class FakeImages:
    def __init__(self) -> None:
        self.named: dict[str, Image] = {}
        self.sizes: dict[Digest, int] = {}

    def keep(self, name: str, image: Image) -> Reference:
        reference = Reference.parse(name)
        self.named[reference.familiar] = image
        return reference

    def find(self, name: str) -> Image:
        try:
            return self.named[Reference.parse(name).familiar]
        except KeyError:
            raise ImageNotFound(
                f"No such image: {name}", hint="%images lists those that there are"
            ) from None

    def info(self, name: str) -> ImageInfo:
        image = self.find(name)
        size = sum(self.sizes.get(layer.diff_id, 0) for layer in image.layers)
        return ImageInfo(
            id=image.id,
            references=(Reference.parse(name),),
            image=image,
            created=_MADE,
            size=size,
            compressed=size // 3,
        )

    def list(self, *, all: bool = False) -> tuple[ImageInfo, ...]:
        return tuple(self.info(name) for name in self.named)

    def get(self, name: str) -> ImageInfo:
        return self.info(name)

    def layers(self, name: str) -> tuple[LayerInfo, ...]:
        image = self.find(name)
        layers = iter(image.layers)
        found = []
        for index, line in enumerate(image.config.history):
            layer = None if line.empty_layer else next(layers)
            size = self.sizes.get(layer.diff_id, 0) if layer else 0
            sharing = sum(layer in other.layers for other in self.named.values()) - 1
            found.append(
                LayerInfo(
                    index=index,
                    created=_MADE,
                    created_by=line.created_by,
                    comment="",
                    size=size,
                    compressed=size // 3,
                    digest=layer.descriptor.digest if layer else None,
                    diff_id=layer.diff_id if layer else None,
                    shared_with=sharing if layer else 0,
                )
            )
        return tuple(found)

    def remove(self, name: str, *, force: bool = False) -> tuple[str, ...]:
        image = self.find(name)
        del self.named[Reference.parse(name).familiar]
        return (f"Untagged: {Reference.parse(name).familiar}", f"Deleted: {image.id}")

    def base(self, kind: str, *, tag: str | None = None, report: Report = silent) -> ImageInfo:
        report(Notice(message=f"collecting the files of {kind}"))
        layer = _layer(f"base {kind}")
        self.sizes[layer.diff_id] = 48_600_000
        image = append_layer(Image.scratch(), layer, _history(f"workbench base {kind}"))
        image = with_config(image, image.config.config, _history('CMD ["sh"]', empty=True))
        name = tag or f"{kind}:latest"
        self.keep(name, image)
        return self.info(name)


class FakeBuilds:
    def __init__(self, images: FakeImages) -> None:
        self._images = images
        self._cache: set[str] = set()

    def build(
        self,
        context: Any,
        *,
        dockerfile: str,
        tags: tuple[str, ...] = (),
        build_args: dict[str, str] | None = None,
        target: str | None = None,
        no_cache: bool = False,
        platform: str | None = None,
        labels: dict[str, str] | None = None,
        report: Report = silent,
    ) -> BuildResult:
        begun = time.monotonic()
        lines = [line for line in dockerfile.splitlines() if line.strip()]
        image, records, chain = Image.scratch(), [], "" if context is None else str(context)
        for index, line in enumerate(lines, start=1):
            report(StepStarted(index=index, total=len(lines), text=line, line=index))
            chain = hashlib.sha256(f"{chain}{line}{build_args}".encode()).hexdigest()
            cached = chain in self._cache and not no_cache
            started = time.monotonic()
            if not cached:
                self._perform(line, index, dockerfile, report)
            image, size = self._extended(image, line)
            self._cache.add(chain)
            seconds = 0.0 if cached else time.monotonic() - started
            reason = "" if cached else "never run before"
            layer = str(image.layers[-1].diff_id) if size else ""
            report(
                StepFinished(
                    index=index, cached=cached, reason=reason, seconds=seconds, size=size,
                    image_id=layer.partition(":")[2][:12],
                )
            )  # fmt: skip
            records.append(
                StepRecord(
                    index=index, line=index, text=line, cached=cached, reason=reason,
                    started=started - begun, seconds=seconds, size=size, layer=layer,
                )
            )  # fmt: skip
        references = tuple(self._images.keep(tag, image) for tag in tags)
        return BuildResult(
            image=image,
            references=references,
            steps=tuple(records),
            seconds=time.monotonic() - begun,
        )

    def _perform(self, line: str, index: int, dockerfile: str, report: Report) -> None:
        word, _, rest = line.partition(" ")
        if word == "FROM" and rest.startswith("missing"):
            raise ImageNotFound(f"pull access denied for {rest}: no such image")
        if word not in ("FROM", "RUN", "COPY", "CMD", "ENV", "WORKDIR", "LABEL"):
            raise DockerfileError(
                f"unknown instruction: {word}",
                hint="did you mean RUN?",
                line=index,
                excerpt=_excerpt(dockerfile, index),
            )
        if word != "RUN":
            return
        if rest.startswith("sleep"):
            report(StepOutput(index=index, stream="stdout", data=b"waiting \xe2\x80"))
            report(StepOutput(index=index, stream="stdout", data=b"\xa6\n"))
            time.sleep(float(rest.split()[1]))
        report(StepOutput(index=index, stream="stdout", data=f"doing {rest}\n".encode()))
        if rest == "fail":
            raise BuildFailed(
                f"step {index} failed: the command {rest!r} ended with exit code 3",
                line=index,
                step=line,
                code=3,
                tail=f"doing {rest}\nit <broke>\n",
                excerpt=_excerpt(dockerfile, index),
            )

    def _extended(self, image: Image, line: str) -> tuple[Image, int]:
        word, _, rest = line.partition(" ")
        if word == "FROM":
            return self._images.find(rest), 0
        if word in ("RUN", "COPY"):
            layer = _layer(f"{image.id} {line}")
            size = self._images.sizes.setdefault(layer.diff_id, 40_000 * len(line))
            return append_layer(image, layer, _history(line)), size
        return with_config(image, image.config.config, _history(line, empty=True)), 0


def _excerpt(text: str, line: int) -> str:
    lines = text.splitlines()
    return "\n".join(
        f"{'>' if number == line else ' '} {number} | {content}"
        for number, content in enumerate(lines, start=1)
        if abs(number - line) <= 2
    )


class FakeContainers:
    def __init__(self, images: FakeImages) -> None:
        self._images = images
        self._all: dict[str, ContainerInfo] = {}
        self.asked: list[RunOptions] = []

    def run(self, options: RunOptions, *, report: Report = silent) -> ContainerInfo:
        self.asked.append(options)
        image = self._images.find(options.image)
        name = options.name or f"quiet_fox{len(self._all)}"
        if name in self._all:
            raise Conflict(f"the name {name} is taken", hint=f"%rm {name} frees it")
        command = tuple(options.command or ("sh",))
        info = ContainerInfo(
            id=hashlib.sha256(name.encode()).hexdigest(),
            name=name,
            image=options.image,
            image_id=image.id,
            command=command,
            created=datetime.now(UTC),
            started=datetime.now(UTC),
            status="running",
            pid=4242,
            ports=options.networking.ports,
        )
        self._all[name] = info
        if options.detach:
            return info
        try:
            code = _behave(command, report)
        except BaseException:
            del self._all[name]
            raise
        self._all[name] = replace(
            info, status="exited", exit_code=code, pid=0, finished=datetime.now(UTC)
        )
        return self._all.pop(name) if options.remove else self._all[name]

    def list(self, *, all: bool = False) -> tuple[ContainerInfo, ...]:
        return tuple(info for info in self._all.values() if all or info.status == "running")

    def get(self, name: str) -> ContainerInfo:
        if name not in self._all:
            raise ContainerNotFound(f"No such container: {name}")
        return self._all[name]

    def logs(self, name: str, *, follow: bool = False, **_limits: Any) -> Iterator[LogLine]:
        self.get(name)
        yield LogLine(time=_MADE, stream="stdout", data=b"out \xe2\x9c")
        yield LogLine(time=_MADE, stream="stdout", data=b"\x93\n")
        yield LogLine(time=_MADE, stream="stderr", data=b"err\n")

    def stop(self, name: str, timeout: int | None = None) -> None:
        self._all[name] = replace(self.get(name), status="exited", exit_code=143, pid=0)

    def remove(self, name: str, *, force: bool = False, volumes: bool = False) -> None:
        if self.get(name).status == "running" and not force:
            raise Conflict(f"container {name} is running", hint=f"%stop {name}, or %rm -f {name}")
        del self._all[name]


def _behave(command: tuple[str, ...], report: Report) -> int:
    word = command[0]
    if word == "sleep":
        report(Output(stream="stdout", data=b"sleeping\n"))
        time.sleep(float(command[1]))
    elif word == "split":
        report(Output(stream="stdout", data=b"caf\xc3"))
        report(Output(stream="stdout", data=b"\xa9 \xe2\x82"))
    elif word == "both":
        for number in range(3):
            report(Output(stream="stdout", data=f"out {number}\n".encode()))
            report(Output(stream="stderr", data=f"err {number}\n".encode()))
    elif word == "nothing":
        raise CommandNotFound('exec: "nothing": executable file not found in $PATH')
    elif word == "fail":
        report(Output(stream="stderr", data=b"something is wrong\n"))
        return 3
    else:
        report(Output(stream="stdout", data=(" ".join(command) + "\n").encode()))
    return 0


class FakeEngine:
    opened = 0
    closed = 0

    def __init__(self) -> None:
        self.config = SimpleNamespace(environment={"FROM_HOST": "yes"})
        self.images = FakeImages()
        self.containers = FakeContainers(self.images)
        self.builds = FakeBuilds(self.images)
        self.networks = SimpleNamespace(list=lambda: (SimpleNamespace(name="backend"),))
        self.volumes = SimpleNamespace(list=lambda: (SimpleNamespace(name="data"),))
        self.system = SimpleNamespace(doctor=_doctor)

    @classmethod
    def open(cls, config: Any = None) -> FakeEngine:
        FakeEngine.opened += 1
        return cls()

    def close(self) -> None:
        FakeEngine.closed += 1


def _doctor() -> Diagnosis:
    return Diagnosis(
        rung="root",
        root="/var/lib/workbench",
        capabilities=(
            Capability(name="overlay file system", available=True, detail="mounted below the root"),
            Capability(
                name="nftables", available=False, detail="no permission", mend="run as root"
            ),
        ),
    )


def install() -> None:
    """From here on this process gets the engine in memory."""
    workbench.Engine = FakeEngine  # type: ignore[misc, assignment]
