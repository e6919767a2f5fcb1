"""Tables in the terminal."""

from __future__ import annotations

import sys
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

NOTHING = "–"
WIDTH = 100


def new_console(stream: IO[str] | None = None) -> Console:
    """Return what prints to a stream, standard output by default, at most 100 columns wide."""
    from rich.console import Console

    console = Console(file=stream or sys.stdout, highlight=False, emoji=False, markup=False)
    # Piped, rich would fall back to 80 columns, whatever reads it.
    console.width = min(WIDTH, console.width) if console.is_terminal else WIDTH
    return console


def new_table(*headers: str) -> Table:
    """Return an empty table: the first column for names, which may wrap, then figures."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    for index, header in enumerate(headers):
        if index:
            table.add_column(header, justify="right", no_wrap=True)
        else:
            table.add_column(header, overflow="fold")
    return table
