"""The command line: ``graft``, also ``python -m graft``.

Each command lives in a module of its own that exports ``command``; it is imported when it is called for, so that
``graft --help`` and shell completion stay quick.
"""

from __future__ import annotations

import difflib
import sys
from importlib import import_module
from typing import Any

import click

from graft import __version__
from graft.cli.option import gateway_option
from graft.cli.output import echo
from graft.errors import GraftError, OperationRefused

__all__ = ["COMMANDS", "main"]

COMMANDS: dict[str, tuple[str, str]] = {
    "init": ("graft.cli.init", "Put Graft around an existing Flask project; overwrites nothing."),
    "routes": ("graft.cli.routes", "Who has each route, and how it fares on both sides."),
    "shift": ("graft.cli.shift", "Set the percent of a route that the native side answers."),
    "mirror": ("graft.cli.mirror", "Set the percent of a route that is compared with the other side."),
    "promote": ("graft.cli.promote", "Take a route one step up, if its figures allow it."),
    "rollback": ("graft.cli.rollback", "Give a route, or all of them, back to the legacy side."),
    "release": ("graft.cli.release", "Let a route move again that somebody holds."),
    "history": ("graft.cli.history", "Who changed what, when and why."),
    "switches": ("graft.cli.switches", "Move the switches of a fleet into a file, and back."),
    "differences": ("graft.cli.differences", "What native and legacy do not agree on."),
    "record": ("graft.cli.record", "Keep what the Flask app answers, without secrets, as HAR files."),
    "verify": ("graft.cli.verify", "Ask both sides what was recorded, and say what differs: for CI."),
    "scaffold": ("graft.cli.scaffold", "Write a native module that answers as a Flask view does."),
    "openapi": ("graft.cli.openapi", "Describe the whole site as OpenAPI."),
    "open": ("graft.cli.open", "Show the dashboard's link, and open it."),
    "token": ("graft.cli.token", "Make a named token for the dashboard and the API."),
    "doctor": ("graft.cli.doctor", "Check the set-up; each line says what to mend."),
    "leave": ("graft.cli.leave", "Write the app without Graft, once every route is native."),
    "index": ("graft.cli.index", "Build the search indexes that native modules declare."),
}
"""Name -> (module that exports ``command``, the line that ``graft --help`` shows), in the order of the help."""


class LazyGroup(click.Group):
    """A group that imports a command's module only when the command is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(COMMANDS[cmd_name][0]).command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            close = difflib.get_close_matches(args[0], COMMANDS, 1)
            if close and "Did you mean" not in error.message:  # newer versions of click say so themselves
                ctx.fail(f"{error.message} Did you mean {close[0]}?")
            raise

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> Any:
        """Errors that a person can mend are one line and exit code 2 (1 where a hold is in the way), no traceback."""
        try:
            return super().invoke(ctx)
        except OperationRefused as error:
            echo(f"not done: {error}", err=True)
            sys.exit(1)
        except PermissionError as error:
            owner = "Run it as the gateway's user (sudo -u USER graft ...), or as root."
            echo(f"error: {error.filename} may not be read or written by this user. {owner}", err=True)
            sys.exit(2)
        except GraftError as error:
            echo(f"error: {error}", err=True)
            sys.exit(2)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="graft")
@click.option(
    "--gateway",
    metavar="WHICH",
    expose_value=False,
    is_eager=True,
    callback=gateway_option,
    help="The gateway that is meant: its address (http://HOST:PORT, unix:/PATH), its folder or its data folder.",
)
def main() -> None:
    """Move a Flask app to async one route at a time, in one process, with proof at each step.

    ROUTE is a method and a path in quotes, as graft routes shows it: "GET /api/articles/{id:int}". Each command's
    --help has examples.

    Commands find the gateway from any folder, and say which one and which file it is: the one that --gateway names, or
    GRAFT_DATA; that of this folder; the one that runs on this machine; the service that is set up here.

    They end with 0 when it is done, 1 when it is not (a gate is closed, a route is held), 2 when the command or a
    setting is wrong, or no gateway is meant clearly: nothing is changed then.
    """
