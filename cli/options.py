"""Command-line options that several commands share."""

from __future__ import annotations

import click

json_option = click.option(
    "--json",
    "json_target",
    metavar="FILE|-",
    help="Write the result as JSON to FILE, or to standard output for '-'.",
)
overwrite_option = click.option(
    "--overwrite", is_flag=True, help="Replace results that are already there."
)
labels_option = click.option(
    "--labels",
    "labels_file",
    metavar="FILE",
    help="Labels for a model from elsewhere, one a line.",
)
mean_option = click.option(
    "--mean", type=float, help="For a float model from elsewhere: (pixel - MEAN) / STD."
)
std_option = click.option("--std", type=float, help="See --mean.")
threads_option = click.option(
    "--threads",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Threads of an inference.",
)
