"""What commands print for people: at most 100 columns, tables of figures, lists of facts."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
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
    # Piped, rich would fall back to 80 columns, whatever reads it, unless COLUMNS says how many.
    is_known = console.is_terminal or "COLUMNS" in os.environ
    console.width = min(WIDTH, console.width) if is_known else WIDTH
    return console


def new_table(*headers: str, title: str | None = None) -> Table:
    """Return an empty table: the first column for names, which may wrap, then figures."""
    from rich import box
    from rich.table import Table

    table = Table(
        title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1)
    )
    for index, header in enumerate(headers):
        if index:
            table.add_column(header, justify="right", no_wrap=True)
        else:
            table.add_column(header, overflow="fold")
    return table


def facts_table(facts: Iterable[tuple[str, str]]) -> Table:
    """Return names with what there is to say of each beside them."""
    from rich.table import Table

    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, text in facts:
        table.add_row(name, text)
    return table
