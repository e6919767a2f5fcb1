"""`pocketlens completion`: what completes commands in a shell."""

from __future__ import annotations

import click

from pocketlens.cli.options import command
from pocketlens.errors import UsageError

_SHELLS = ("bash", "zsh", "fish")


@command("completion", example="pocketlens completion bash >> ~/.bashrc")
@click.argument(
    "shell",
    metavar="|".join(_SHELLS),
    shell_complete=lambda _context, _argument, typed: [
        name for name in _SHELLS if name.startswith(typed)
    ],
)
def completion_command(shell: str) -> None:
    """Print the code that lets a shell complete commands, options and files.

    For fish: pocketlens completion fish > ~/.config/fish/completions/pocketlens.fish
    """
    if shell not in _SHELLS:
        raise UsageError(f"Expected one of {', '.join(_SHELLS)}. Received: {shell}.")
    from click.shell_completion import get_completion_class

    from pocketlens.cli.main import group

    kind = get_completion_class(shell)
    assert kind is not None  # noqa: S101
    click.echo(kind(group, {}, "pocketlens", "_POCKETLENS_COMPLETE").source())
