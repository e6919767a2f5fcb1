"""Command-line options that several commands share."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection
from typing import Any

import click

from pocketlens.card import RESIZE_MODES, TASKS

json_option = click.option(
    "--json",
    "json_target",
    metavar="FILE|-",
    help="Write the result as JSON to FILE, or to standard output for '-'.",
)
overwrite_option = click.option(
    "--overwrite", is_flag=True, help="Replace results that are already there."
)
threads_option = click.option(
    "--threads",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Threads of an inference.",
)

# By the field of `ModelHints` that each gives.
_HINTS = {
    "labels": click.option(
        "--labels", metavar="FILE", help="Labels of a third-party model, one a line."
    ),
    "mean": click.option(
        "--mean", type=float, help="A third-party model takes (pixel - MEAN) / STD."
    ),
    "std": click.option("--std", type=float, help="See --mean."),
    "task": click.option(
        "--task",
        type=click.Choice(TASKS),
        help="What a third-party model's scores mean. [default: binary for one score, else "
        "multiclass]",
    ),
    "threshold": click.option(
        "--threshold",
        type=float,
        help="Score from which a label of a third-party binary or multilabel model is an answer. "
        "[default: 0.5]",
    ),
    "resize_mode": click.option(
        "--resize",
        "resize_mode",
        type=click.Choice(RESIZE_MODES),
        help="How a photo is brought to a third-party model's size. [default: stretch]",
    ),
    "image_size": click.option(
        "--image-size", type=int, help="Pixels a side, for a third-party model that takes any size."
    ),
    # The names of `runtime.interpreters.BACKENDS`, which is not imported for --help.
    "backend": click.option(
        "--backend",
        type=click.Choice(["ai-edge-litert", "tflite-runtime", "tf.lite"]),
        help="The interpreter to take. [default: the first of them that is installed]",
    ),
}


def model_hints_options(
    *, without: Collection[str] = ("image_size",)
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Add the options that describe a third-party model; the command gets them as `hints`.

    Args:
        without: fields of `ModelHints` that say nothing to this command.
    """
    names = [name for name in _HINTS if name not in without]

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(command)
        def gather(**values: Any) -> Any:
            from pocketlens.runtime.hints import ModelHints

            hints = ModelHints(**{name: values.pop(name) for name in names})
            return command(hints=hints, **values)

        decorated: Callable[..., Any] = gather
        for name in reversed(names):
            decorated = _HINTS[name](decorated)
        return decorated

    return decorate
