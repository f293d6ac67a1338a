"""``doctor``."""

from __future__ import annotations

import click

from workbench.cli.opening import engine


@click.command()
def doctor() -> None:
    """Tell what this machine gives to containers, what is missing, and how to mend it."""
    with engine() as opened:
        diagnosis = opened.system.doctor()
    click.echo(f"Containers run as: {diagnosis.rung}")
    click.echo(f"State directory:   {diagnosis.root}\n")
    width = max(len(item.name) for item in diagnosis.capabilities)
    for item in diagnosis.capabilities:
        click.echo(
            f"{'yes' if item.available else 'no ':<4} {item.name.ljust(width)}  {item.detail}"
        )
        if not item.available and item.mend:
            click.echo(f"     {' ' * width}  → {item.mend}")
