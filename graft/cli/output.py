"""What commands print: nothing that they were given, or find stored, steers the terminal."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import click
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from graft.printable import printable

WIDTH_OF_A_PIPE = 240


def echo(text: str, *, err: bool = False) -> None:
    """Print plain text; its line breaks stay."""
    click.echo(printable(text, keep="\n"), err=err)


class SafeConsole(Console):
    """Escapes what it is given to show; its own colours and lines stay."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            text = segment.text if segment.control else printable(segment.text, keep="\n")
            yield segment if text is segment.text else Segment(text, segment.style)


def table_console(**options: Any) -> SafeConsole:
    """For tables: as wide as the terminal, or wide enough for programs that read them."""
    console = SafeConsole(**options)
    return console if console.is_terminal else SafeConsole(width=WIDTH_OF_A_PIPE, **options)
