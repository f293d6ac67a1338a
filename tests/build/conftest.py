"""A builder with everything but a kernel: real stores, a runner that works on directories."""

from __future__ import annotations

import shlex
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from workbench.build.context import BuildContext
from workbench.build.merged import MergedTree
from workbench.build.records import CachedStep, StepOutcome
from workbench.build.request import BuildRequest, Parts, Remote, RunSettings
from workbench.build.solve import build
from workbench.errors import ImageNotFound, Interrupted
from workbench.events import Event, Report, Stream
from workbench.linux.mount import Mount
from workbench.oci.descriptor import Platform
from workbench.oci.image import ContainerConfig, Image, with_config
from workbench.oci.runtime_spec import Process
from workbench.store.content import ContentStore
from workbench.store.copying import CopyingSnapshotter
from workbench.store.overlay import OverlaySnapshotter
from workbench.store.snapshots import Snapshotter


@dataclass
class Call:
    """What the runner was asked."""

    process: Process
    settings: RunSettings


@dataclass
class FakeRunner:
    """Understands a few words, as a shell would: write, append, echo, cat, fail, wait, meet."""

    calls: list[Call] = field(default_factory=list)
    gate: threading.Event = field(default_factory=threading.Event)
    running: int = 0
    most: int = 0

    def run(
        self,
        mounts: Sequence[Mount],
        process: Process,
        *,
        settings: RunSettings,
        output: Callable[[Stream, bytes], None],
        cancel: threading.Event,
    ) -> int:
        self.calls.append(Call(process=process, settings=settings))
        layers = _layers(mounts)
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            for line in process.args[-1].split("&&"):
                code = self._one(shlex.split(line), layers, process, settings, output, cancel)
                if code:
                    return code
            return 0
        finally:
            self.running -= 1

    def _one(self, words, layers, process, settings, output, cancel) -> int:  # type: ignore[no-untyped-def]
        match words:
            case ["write", path, *text]:
                _put(layers[0], path, " ".join(text) + "\n")
            case ["append", path, *text]:
                old = MergedTree(layers).read(path, 1 << 20) or b""
                _put(layers[0], path, old.decode() + " ".join(text) + "\n")
            case ["echo", *text, ">", path]:
                _put(layers[0], path, " ".join(text) + "\n")
            case ["mkdir", "-p", path]:
                layers[0].joinpath(path.lstrip("/")).mkdir(parents=True, exist_ok=True)
            case ["exit", code]:
                return int(code)
            case ["env", name]:
                env = dict(item.split("=", 1) for item in process.env)
                output("stdout", f"{name}={env.get(name)}\n".encode())
            case ["echo", *text]:
                output("stdout", (" ".join(text) + "\n").encode())
            case ["warn", *text]:
                output("stderr", (" ".join(text) + "\n").encode())
            case ["cat", path]:
                output("stdout", _read(path, layers, settings))
            case ["fail", code]:
                return int(code)
            case ["stub", path]:
                layers[0].joinpath(path.lstrip("/")).mkdir(parents=True, exist_ok=True)
            case ["wait"]:
                if cancel.wait(10):
                    raise Interrupted("killed")
            case ["meet", number]:
                while self.most < int(number):
                    if cancel.wait(0.005):
                        raise Interrupted("killed")
        return 0


def _layers(mounts: Sequence[Mount]) -> list[Path]:
    (root,) = mounts
    if root.type == "bind":
        return [Path(root.source)]
    options = dict(item.partition("=")[::2] for item in root.options)
    return [Path(options["upperdir"]), *(Path(item) for item in options["lowerdir"].split(":"))]


def _put(root: Path, path: str, text: str) -> None:
    target = root / path.lstrip("/")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text)


def _read(path: str, layers: list[Path], settings: RunSettings) -> bytes:
    for mount in settings.mounts:
        if path == mount.target:
            return Path(mount.source).read_bytes()
        if path.startswith(mount.target + "/") and mount.type == "bind":
            return (Path(mount.source) / path.removeprefix(mount.target + "/")).read_bytes()
    return MergedTree(layers).read(path, 1 << 20) or b""


class FakeCache:
    """A cache index in memory."""

    def __init__(self) -> None:
        self.entries: dict[str, str] = {}

    def get(self, key: str) -> CachedStep | None:
        text = self.entries.get(key)
        return CachedStep.parse(text) if text else None

    def put(self, key: str, step: CachedStep) -> None:
        self.entries[key] = step.to_json()


class FakeImages:
    """Images by name."""

    def __init__(self) -> None:
        self.images: dict[str, Image] = {"scratchy": Image.scratch()}
        self.asked: list[str] = []

    def resolve(
        self, name: str, platform: Platform, *, pull: bool = False, report: Report
    ) -> Image:
        self.asked.append(name)
        if name not in self.images:
            raise ImageNotFound(f"{name}: not found")
        return self.images[name]


class FakeFetcher:
    """Files by URL."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files: dict[str, bytes] = {}
        self.trees: dict[str, Path] = {}

    def http(self, url: str, *, checksum: str, report: Report) -> Remote:
        path = self.folder / "fetched"
        path.write_bytes(self.files[url])
        return Remote(path=path, key=f"sha-of-{self.files[url]!r}", mtime_ns=5_000_000_000)

    def git(self, address: str, *, checksum: str, keep_git_dir: bool, report: Report) -> Remote:
        return Remote(path=self.trees[address], key=f"{address} {keep_git_dir}")


@dataclass
class Built:
    """A finished build, and its file tree."""

    image: Image
    steps: tuple[StepOutcome, ...]
    events: list[Event]
    tree: MergedTree

    @property
    def config(self) -> ContainerConfig:
        return self.image.config.config

    @property
    def history(self) -> list[str]:
        return [line.created_by for line in self.image.config.history]

    def text(self, path: str) -> str | None:
        data = self.tree.read(path, 1 << 20)
        return None if data is None else data.decode()

    def listing(self) -> list[str]:
        """Every path, directories with a slash, links with their text."""
        rows = []
        for item in self.tree.walk(()):
            path = "/".join(item.path)
            if item.is_dir:
                rows.append(f"{path}/")
            elif item.is_link:
                rows.append(f"{path} -> {item.readlink()}")
            else:
                rows.append(path)
        return rows

    def ran(self) -> list[str]:
        """The text of the steps that were performed."""
        return [step.text for step in self.steps if not step.cached]


@dataclass
class Bench:
    """Builds with fakes below one temporary directory."""

    root: Path
    parts: Parts
    runner: FakeRunner
    cache: FakeCache
    images: FakeImages
    fetcher: FakeFetcher

    def context(self, files: Mapping[str, str | bytes] | None = None) -> Path:
        folder = self.root / "context"
        folder.mkdir(exist_ok=True)
        for name, content in (files or {}).items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode() if isinstance(content, str) else content)
        return folder

    def build(self, dockerfile: str, *, context: Path | None = None, **options: object) -> Built:
        events: list[Event] = []
        report = options.pop("report", events.append)
        request = BuildRequest(
            dockerfile=dockerfile,
            context=BuildContext.open(context) if context else None,
            **options,  # type: ignore[arg-type]
        )
        image, steps = build(request, self.parts, report)  # type: ignore[arg-type]
        chain = image.chain_id
        layers: list[Path] = []
        if chain is not None:
            snapshotter = self.parts.snapshotter
            if snapshotter.exists(chain):
                layers = [snapshotter.changes(chain), *snapshotter.lowers(chain)]
        return Built(image=image, steps=steps, events=events, tree=MergedTree(layers))

    def base(self, name: str, dockerfile: str = "FROM scratch", **config: object) -> Image:
        """An image under a name, made by a build of its own."""
        image = self.build(dockerfile, context=self.context()).image
        if config:
            import dataclasses

            changed = dataclasses.replace(image.config.config, **config)  # type: ignore[arg-type]
            image = with_config(image, changed)
        self.images.images[name] = image
        return image

    def active(self) -> list[str]:
        """Snapshots that nobody finished."""
        return [
            info.key for info in self.parts.snapshotter.walk() if info.kind.value != "committed"
        ]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return _bench(tmp_path, OverlaySnapshotter(tmp_path / "snapshots"))


@pytest.fixture(params=["overlay", "copying"])
def any_bench(request: pytest.FixtureRequest, tmp_path: Path) -> Bench:
    """One with each snapshotter."""
    kind = {"overlay": OverlaySnapshotter, "copying": CopyingSnapshotter}[request.param]
    return _bench(tmp_path, kind(tmp_path / "snapshots"))


def _bench(tmp_path: Path, snapshotter: Snapshotter) -> Bench:
    runner, cache, images = FakeRunner(), FakeCache(), FakeImages()
    fetcher = FakeFetcher(tmp_path)
    parts = Parts(
        content=ContentStore(tmp_path / "store", durable=False),
        snapshotter=snapshotter,
        runner=runner,
        cache=cache,
        images=images,
        scratch=tmp_path / "scratch",
        caches=tmp_path / "caches",
        fetcher=fetcher,
    )
    return Bench(
        root=tmp_path, parts=parts, runner=runner, cache=cache, images=images, fetcher=fetcher
    )
