"""``images``, ``history``, ``tag``, ``rmi``, ``base``."""

from __future__ import annotations

import click

from workbench.cli import progress, units
from workbench.cli.opening import engine
from workbench.cli.table import shorten, show
from workbench.engine.values import ImageInfo, LayerInfo


@click.command()
@click.argument("repository", required=False)
@click.option("-a", "--all", "all_", is_flag=True, help="Show all images")
@click.option("-q", "--quiet", is_flag=True, help="Only show ids")
@click.option("--no-trunc", is_flag=True, help="Don't shorten")
def images(repository: str | None, all_: bool, quiet: bool, no_trunc: bool) -> None:
    """List images."""
    with engine() as opened:
        found = opened.images.list(all=all_)
    rows = [row for info in found for row in _image_rows(info, no_trunc)]
    if repository:
        name, _, tag = repository.partition(":")
        rows = [row for row in rows if row[0] == name and tag in ("", row[1])]
    if quiet:
        for identity in dict.fromkeys(row[2] for row in rows):
            click.echo(identity)
        return
    show(("REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE"), rows)


def _image_rows(info: ImageInfo, no_trunc: bool) -> list[tuple[str, ...]]:
    identity = str(info.id) if no_trunc else info.id.short
    rest = (identity, units.ago(info.created), units.size(info.size))
    if not info.references:
        return [("<none>", "<none>", *rest)]
    return [(name.familiar_name, name.tag or "<none>", *rest) for name in info.references]


@click.command()
@click.argument("image")
@click.option("-q", "--quiet", is_flag=True, help="Only show ids")
@click.option("--no-trunc", is_flag=True, help="Don't shorten")
def history(image: str, quiet: bool, no_trunc: bool) -> None:
    """Show the history of an image, newest first."""
    with engine() as opened:
        info = opened.images.get(image)
        lines = opened.images.layers(image)
    newest = str(info.id) if no_trunc else info.id.short
    identities = [newest] + ["<missing>"] * (len(lines) - 1)
    if quiet:
        click.echo("\n".join(identities))
        return
    rows = [
        _history_row(identity, line, no_trunc)
        for identity, line in zip(identities, reversed(lines), strict=False)
    ]
    show(("IMAGE", "CREATED", "CREATED BY", "SIZE", "COMMENT"), rows)


def _history_row(identity: str, line: LayerInfo, no_trunc: bool) -> tuple[str, ...]:
    text = line.created_by if no_trunc else shorten(line.created_by, 45)
    return (identity, units.ago(line.created), text, units.size(line.size), line.comment)


@click.command()
@click.argument("source")
@click.argument("target")
def tag(source: str, target: str) -> None:
    """Let TARGET name the image SOURCE."""
    with engine() as opened:
        opened.images.tag(source, target)


@click.command()
@click.argument("names", metavar="IMAGE...", nargs=-1, required=True)
@click.option("-f", "--force", is_flag=True, help="Remove although it is in use")
def rmi(names: tuple[str, ...], force: bool) -> None:
    """Remove images."""
    with engine() as opened:
        for name in names:
            for line in opened.images.remove(name, force=force):
                click.echo(line)


@click.command()
@click.argument("kind", metavar="toolbox|python|debian:bookworm-slim")
@click.option("--tag", default=None, help="Name of the image")
def base(kind: str, tag: str | None) -> None:
    """Make a base image from this machine: no registry is needed."""
    with engine() as opened:
        info = opened.images.base(kind, tag=tag, report=progress.layers)
    names = ", ".join(name.familiar for name in info.references)
    click.echo(f"{names}  {info.id.short}  {units.size(info.size)}")
