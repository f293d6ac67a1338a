"""The entry point: which command lives where, and what an error becomes.

Commands load when they are used, so that ``--version`` and ``--help`` cost nothing.
"""

from __future__ import annotations

import importlib
import sys
from typing import Final

import click

import workbench
from workbench.errors import WorkbenchError

# Command -> (module, attribute, one line of help).
COMMANDS: Final[dict[str, tuple[str, str, str]]] = {
    "base": ("images", "base", "Make a base image from this machine"),
    "build": ("builds", "build", "Build an image from a Dockerfile"),
    "doctor": ("system", "doctor", "Tell what this machine gives to containers"),
    "history": ("images", "history", "Show the history of an image"),
    "images": ("images", "images", "List images"),
    "kill": ("containers", "kill", "Kill running containers"),
    "logs": ("containers", "logs", "Show what a container wrote"),
    "ps": ("containers", "ps", "List containers"),
    "rm": ("containers", "rm", "Remove containers"),
    "rmi": ("images", "rmi", "Remove images"),
    "run": ("containers", "run", "Create and run a container from an image"),
    "start": ("containers", "start", "Start stopped containers"),
    "stop": ("containers", "stop", "Stop running containers"),
    "tag": ("images", "tag", "Give an image another name"),
    "wait": ("containers", "wait", "Wait for containers to end and print their exit codes"),
}


class LazyGroup(click.Group):
    """A group whose commands are imported when they are asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, attribute, _ = COMMANDS[cmd_name]
        loaded = importlib.import_module(f"workbench.cli.commands.{module}")
        command: click.Command = getattr(loaded, attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name][2]) for name in self.list_commands(ctx)])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["--help"]})
@click.version_option(workbench.__version__, prog_name="workbench")
def cli() -> None:
    """A container engine in Python: images, containers, networks, volumes, builds."""


def main() -> None:
    """Run the command line and leave with Docker's exit codes."""
    try:
        code = cli.main(standalone_mode=False)
    except click.exceptions.Exit as ending:
        sys.exit(ending.exit_code)
    except click.Abort:
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(125 if sys.argv[1:2] in (["run"], ["create"]) else error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(141)
    except WorkbenchError as error:
        _show(error)
        sys.exit(error.exit_code)
    sys.exit(code if isinstance(code, int) else 0)


def _show(error: WorkbenchError) -> None:
    click.echo(f"workbench: {error}", err=True)
    if error.hint:
        click.echo(f"hint: {error.hint}", err=True)


if __name__ == "__main__":
    main()
