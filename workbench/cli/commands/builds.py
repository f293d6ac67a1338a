"""``build``."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from workbench.cli import progress
from workbench.cli.opening import engine
from workbench.engine import forms
from workbench.errors import InvalidInput
from workbench.events import silent


@click.command()
@click.argument("path", required=False)
@click.option("-t", "--tag", "tags", multiple=True, metavar="NAME[:TAG]", help="Name the image")
@click.option("-f", "--file", "file", metavar="FILE", help="Dockerfile (default: PATH/Dockerfile)")
@click.option("--build-arg", "build_args", multiple=True, metavar="KEY=VALUE", help="Set an ARG")
@click.option("--label", "labels", multiple=True, metavar="KEY=VALUE", help="Set a label")
@click.option("--target", metavar="STAGE", help="Stop at this stage")
@click.option("--no-cache", is_flag=True, help="Run every step")
@click.option("--platform", metavar="PLATFORM", help="Build for this platform")
@click.option("--network", default="default", metavar="MODE", help="Network of RUN steps")
@click.option("--iidfile", metavar="FILE", help="Write the image id to a file")
@click.option("-q", "--quiet", is_flag=True, help="Only print the image id")
def build(
    path: str | None,
    tags: tuple[str, ...],
    file: str | None,
    build_args: tuple[str, ...],
    labels: tuple[str, ...],
    target: str | None,
    no_cache: bool,
    platform: str | None,
    network: str,
    iidfile: str | None,
    quiet: bool,
) -> None:
    """Build an image from a Dockerfile and the context directory PATH ("-": stdin)."""
    context, dockerfile = _sources(path, file)
    with engine() as opened:
        result = opened.builds.build(
            context,
            dockerfile=dockerfile,
            tags=tags,
            build_args=forms.build_args(build_args, opened.config.environment),
            labels=forms.pairs(labels),
            target=target,
            no_cache=no_cache,
            platform=platform,
            network=network,
            report=silent if quiet else progress.steps,
        )
    if iidfile:
        Path(iidfile).write_text(str(result.image.id))
    if quiet:
        click.echo(str(result.image.id))
        return
    for name in result.references:
        click.echo(f"Successfully tagged {name.familiar}", err=True)
    click.echo(f"Successfully built {result.image.id.short}", err=True)


def _sources(path: str | None, file: str | None) -> tuple[Path | None, str | Path | None]:
    """The context directory, and the Dockerfile as text (from stdin) or path."""
    if path is None:
        raise InvalidInput(
            '"workbench build" requires exactly 1 argument',
            hint="name the context directory, such as `workbench build -t app .`",
        )
    if path == "-":
        return None, sys.stdin.read()
    if file == "-":
        return Path(path), sys.stdin.read()
    return Path(path), Path(file) if file else None
