"""What `convert` says at its end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from rich.console import Console
from rich.table import Table

from pocketlens.convert.conversion import ConvertedFile
from pocketlens.files import write_json


def summarise(files: Sequence[ConvertedFile], json_target: str | None = None) -> None:
    """Print a table of the files, or write it as JSON where that was asked for."""
    if json_target is not None:
        write_json(json_target, [{**asdict(file), "path": str(file.path)} for file in files])
        return
    console = Console(markup=False)
    console.print(f"Written to {files[0].path.parent}")
    table = Table(title=f"Compared with the Keras model on {files[0].photos} validation photos")
    table.add_column("file", overflow="fold")
    for name in ("MB", "same answer", "accuracy", "operators", "partitions"):
        table.add_column(name, justify="right")
    for file in files:
        table.add_row(
            file.path.name,
            f"{file.size_bytes / 1e6:.2f}",
            f"{file.agreement:.1%}",
            f"{file.accuracy:.1%}",
            str(sum(file.operators.counts.values())),
            str(file.operators.partitions),
        )
    console.print(table)
