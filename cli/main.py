"""The `pocketlens` command: a group that loads a command's module only when it is called."""

from __future__ import annotations

import importlib
import io
import logging
import os
import sys
from typing import Any, cast

import click

from pocketlens.cli.options import Group
from pocketlens.errors import OutputError, PocketlensError
from pocketlens.names import shown

# One line of help for each; the command itself is `NAME_command` in the module `cli.NAME`, which
# `--help` does not import: that would bring NumPy and OpenCV.
COMMANDS = {
    "demo": "Run the full pipeline on synthetic images: no photos, no network.",
    "init": "Make a project folder that the other commands understand.",
    "check": "Check photos before training.",
    "train": "Train a classifier on labelled photos.",
    "evaluate": "Measure a run, a .keras or a .tflite file on labelled photos.",
    "compare": "Find out whether a new model is better, or list runs.",
    "convert": "Convert a trained model to .tflite files.",
    "inspect": "Show what a model file contains and which operators are slow.",
    "classify": "Classify photos.",
    "live": "Classify a camera, a stream or a video frame by frame.",
    "service": "Run live as a systemd service.",
    "benchmark": "Compare model files: accuracy, latency, size, memory.",
    "recommend": "Recommend a model file for this machine.",
    "report": "Write the HTML page of a benchmark, evaluation or comparison.",
    "export": "Export models for Android, iOS, browsers or microcontrollers.",
    "doctor": "Show what this machine supports and what is missing.",
    "completion": "Let bash, zsh or fish complete commands.",
}

EXIT_INTERRUPTED = 130
_STANDARD_ERROR = 2


class LazyGroup(Group):
    """A group whose commands are imported when they are asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands in the order in which they are used."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"pocketlens.cli.{cmd_name}")
        return cast(click.Command, getattr(module, f"{cmd_name}_command"))

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing any of them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Example: pocketlens train photos/ --out runs/flowers",
)
@click.option("-v", "--verbose", is_flag=True, help="Print more to standard error.")
@click.version_option(package_name="pocketlens")
def group(verbose: bool) -> None:
    """From a folder of photos to a classifier that runs live on a small device."""
    logging.basicConfig(stream=sys.stderr, format="%(message)s", level=logging.WARNING)
    logging.getLogger("pocketlens").setLevel(logging.DEBUG if verbose else logging.INFO)
    if not verbose:
        # Its advice is for whoever wrote the training, not for who runs it.
        logging.getLogger("tensorflow").setLevel(logging.ERROR)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit: 0 done, 1 failed, 2 called wrongly, 130 interrupted."""
    _prepare_streams()
    sys.exit(run(arguments))


def run(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    try:
        result: Any = group.main(arguments, prog_name="pocketlens", standalone_mode=False)
        sys.stdout.flush()
    except PocketlensError as error:
        return _fail(str(error), error.exit_code)
    except click.ClickException as error:
        # To click's own types it is final.
        vars(error)["message"] = shown(error.message)
        error.show()
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        return _fail("Interrupted.", EXIT_INTERRUPTED)
    except BrokenPipeError:
        # The reader of our output went away, as `head` does; there is nobody to tell.
        _drop_output()
        return 1
    except OSError as error:
        where = f" at {error.filename}" if error.filename else ""
        _drop_output()
        return _fail(str(OutputError(f"{error.strerror or error}{where}.")), 1)
    return result if isinstance(result, int) else 0


def _prepare_streams() -> None:
    """Give closed streams somewhere to go, and let every label be shown in some way.

    Else the next file that is opened gets the number of a closed stream, and with it what
    libraries print.
    """
    while (number := os.open(os.devnull, os.O_RDWR)) <= _STANDARD_ERROR:
        os.set_inheritable(number, True)
    os.close(number)
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def _drop_output() -> None:
    """Let Python's own last words go nowhere where standard output cannot be written."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _fail(message: str, code: int) -> int:
    # Names of files may hold what would steer a terminal.
    click.echo(f"Error: {shown(message)}", err=True)
    return code
