"""What commands share: how they are declared and grouped in `--help`, paths, and `--json`."""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pocketlens.choices import ACTIVATIONS, BACKENDS, RESIZE_MODES, TASKS
from pocketlens.errors import UsageError

if TYPE_CHECKING:
    from pocketlens.project import Project

STANDARD_OUTPUT = "-"
_OUTPUT = "Output"
# Of the context of a call within a project.
_PROJECT = "pocketlens.project"


class Option(click.Option):
    """An option that `--help` lists under the name of its group; `once` refuses a second one."""

    def __init__(
        self, *args: Any, group: str = _OUTPUT, once: bool = False, **attributes: Any
    ) -> None:
        super().__init__(*args, **attributes)
        self.group = group
        self.once = once

    def type_cast_value(self, ctx: click.Context, value: Any) -> Any:
        """Return the value as the option's type; a wrong one is told like all wrong values."""
        expected = _expected(self.type)
        given = value if isinstance(value, (tuple, list)) else [value]
        wrong = UsageError(
            f"Expected {self.opts[0]} as {expected}. Received: {' '.join(map(str, given))}."
        )
        try:
            cast = super().type_cast_value(ctx, value)
        except click.BadParameter as error:
            if expected is None:
                raise
            raise wrong from error
        # To click NaN is within any range.
        values = cast if isinstance(cast, tuple) else (cast,)
        if isinstance(self.type, click.FloatRange) and any(
            entry is not None and math.isnan(entry) for entry in values
        ):
            raise wrong
        return cast


def _expected(kind: click.ParamType[Any]) -> str | None:
    """Return in words what values a type takes, None for one that says it itself."""
    if isinstance(kind, click.Choice):
        return f"one of {', '.join(map(str, kind.choices))}"
    if not isinstance(kind, (click.types.IntParamType, click.types.FloatParamType)):
        return None
    number = "a whole number" if isinstance(kind, click.types.IntParamType) else "a number"
    low, high = (getattr(kind, side, None) for side in ("min", "max"))
    if low is not None and high is not None:
        return f"{number} from {low:g} to {high:g}"
    return number if low is None else f"{number} of {low:g} or more"


class Command(click.Command):
    """A command whose `--help` groups its options, and that still takes their earlier names.

    `renamed` has for each earlier option what to write instead, as words of the command line.
    `project` has for parameters what a project says where nobody else does: names of
    `cli.projects.PLACES`. With it, also an empty one, the project's file gives the command its
    options.
    """

    def __init__(
        self,
        *args: Any,
        renamed: Mapping[str, tuple[str, ...]] | None = None,
        project: Mapping[str, str] | None = None,
        **attributes: Any,
    ) -> None:
        super().__init__(*args, **attributes)
        self.renamed = renamed or {}
        self.project = project
        if project is not None:
            self.params.append(
                Option(
                    ["--project", "project_folder"],
                    metavar="DIR",
                    type=LocalPath(exists=True),
                    expose_value=False,
                    help="Project that says what is not given.  [default: the one that the current "
                    "folder is in]",
                )
            )

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the command line, earlier names replaced."""
        args = self._with_new_names(args)
        values, _, order = self.make_parser(ctx).parse_args(list(args))
        for option in self.params:
            if getattr(option, "once", False) and order.count(option) > 1:
                raise UsageError(
                    f"Expected one {option.opts[0]}. Received: {order.count(option)}. "
                    "Start a run for each."
                )
        asks_help = any({*option.opts} & {*ctx.help_option_names} for option in order)
        if self.project is not None and not ctx.resilient_parsing and not asks_help:
            args = self._with_project(ctx, args, values, order)
        rest = super().parse_args(ctx, args)
        self._refuse_one_place_for_two(ctx.params)
        return rest

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command: all it writes is of one call."""
        from pocketlens.files import one_call

        try:
            with one_call():
                return super().invoke(ctx)
        except UsageError as error:
            if ctx.meta.get(_PROJECT):
                from pocketlens.cli.projects import name_file

                name_file(error, ctx, ctx.meta[_PROJECT])
            raise

    def _with_project(
        self,
        ctx: click.Context,
        args: list[str],
        values: Mapping[str, Any],
        named: list[click.Parameter],
    ) -> list[str]:
        """Return the words of a call, with those that the project that it is in adds."""
        from pocketlens.project import project_root, read_project

        folder = values.get("project_folder")
        root = Path(os.path.expanduser(folder)) if isinstance(folder, str) else project_root()
        if root is None:
            return args
        from pocketlens.cli.projects import fill_in

        ctx.meta[_PROJECT] = read_project(root)
        return fill_in(self, ctx, ctx.meta[_PROJECT], args, values, named)

    def _refuse_one_place_for_two(self, values: Mapping[str, Any]) -> None:
        """Raise UsageError if two options name one place to write to."""
        named: dict[str, str] = {}
        for option in self.params:
            value = values.get(option.name or "")
            if value is None or not isinstance(option.type, LocalPath) or option.type.exists:
                continue
            # Nothing is written to any number of places.
            if isinstance(value, tuple):
                continue
            place = value if value == STANDARD_OUTPUT else os.path.realpath(value)
            other = named.setdefault(place, option.opts[0])
            if other != option.opts[0]:
                raise UsageError(
                    f"Expected different places for {other} and {option.opts[0]}. "
                    f"Received: {value} for both. Change one of them."
                )

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the options by group, Output last, where `--help` itself stands too."""
        groups: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None and not isinstance(parameter, click.Argument):
                groups.setdefault(getattr(parameter, "group", _OUTPUT), []).append(record)
        groups[_OUTPUT] = groups.pop(_OUTPUT)
        for group, records in groups.items():
            with formatter.section(group):
                formatter.write_dl(records)

    def _with_new_names(self, args: list[str]) -> list[str]:
        words: list[str] = []
        for index, word in enumerate(args):
            if word == "--":
                return words + args[index:]
            name, equals, value = word.partition("=")
            new = self.renamed.get(name)
            if new is None:
                words.append(word)
                continue
            click.echo(
                f"Warning: {name} is now {' '.join(new)}. The next version no longer takes {name}.",
                err=True,
            )
            words += [f"{new[0]}={value}"] if equals else new
        return words


class Group(click.Group):
    """A group of commands that names the nearest where there is none of a name."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find a command by the first of the words."""
        names = self.list_commands(ctx)
        if args[0] not in names and not args[0].startswith("-"):
            from difflib import get_close_matches

            near = get_close_matches(args[0], names, n=1)
            question = f" Did you mean {near[0]!r}?" if near else ""
            raise click.UsageError(f"No such command {args[0]!r}.{question}", ctx)
        return super().resolve_command(ctx, args)


class LocalPath(click.Path):
    """A path with `~` expanded.

    With `exists` a path where nothing is, or what nobody can say the end of, such as a pipe, ends
    the call with code 2.
    """

    def __init__(self, *, exists: bool = False, path_type: type[Any] = Path) -> None:
        super().__init__(exists=exists, path_type=path_type)
        self._make = path_type

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the path as `path_type`."""
        path = os.path.expanduser(value)
        if not value and self._make is Path and not self.exists:
            name = param.opts[0] if isinstance(param, click.Option) else _argument_name(param)
            raise UsageError(f"Expected a path as {name}. Received: an empty one. Name a place.")
        if self.exists and not (os.path.isfile(path) or os.path.isdir(path)):
            name = param.opts[0] if isinstance(param, click.Option) else _argument_name(param)
            came = "a pipe, socket or device" if os.path.exists(path) else "nothing there"
            raise UsageError(
                f"Expected an existing file or folder as {name}. Received: {value} ({came}). "
                "Check the path."
            )
        return self._make(path)


def _argument_name(param: click.Parameter | None) -> str:
    return (getattr(param, "metavar", None) or "PATH").strip("[].")


EXISTING = LocalPath(exists=True)
TARGET = LocalPath(path_type=str)
"""A file to write, or `-` for standard output."""


def command(name: str, *, example: str, **settings: Any) -> Callable[[Callable[..., Any]], Command]:
    """Make a `Command` of a function, with an example at the end of its help."""
    return click.command(name, cls=Command, epilog=f"Example: {example}", **settings)


def called_in() -> Project | None:
    """Return the project that the running command was called in, None outside of any."""
    context = click.get_current_context(silent=True)
    project: Project | None = context.meta.get(_PROJECT) if context is not None else None
    return project


def options_of(group: str) -> Callable[..., Callable[[Callable[..., Any]], Callable[..., Any]]]:
    """Return `click.option` for options of a group."""
    return functools.partial(click.option, cls=Option, group=group)


def deliver(target: str | None, payload: Callable[[], Any], show: Callable[[], None]) -> None:
    """Print a result for people, write it as JSON, or both: the one rule of `--json`.

    Args:
        target: what `--json` was given: a file, beside which the normal output stays; "-" for
            standard output, which then is JSON and nothing else; None without `--json`.
        payload: gives plain JSON values.
        show: prints the normal output.

    Raises:
        OutputError: the file cannot be written.
    """
    if target is not None:
        from pocketlens.files import write_json

        write_json(target, payload())
    if target != STANDARD_OUTPUT:
        show()


output = options_of(_OUTPUT)
third_party = options_of("Third-party model")

json_option = output(
    "--json",
    "json_target",
    metavar="FILE|-",
    type=TARGET,
    help="Also write the result as JSON to FILE; with '-', standard output is JSON only.",
)
overwrite_option = output("--overwrite", is_flag=True, help="Replace existing results.")
threads_option = options_of("Classification")(
    "--threads",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Threads per inference.",
)

# By the field of `ModelHints` that each gives.
_HINTS = {
    "labels": third_party(
        "--labels",
        metavar="FILE",
        type=EXISTING,
        help="The model's labels, one per line, or a list or dict in JSON or Python.",
    ),
    "locale": third_party(
        "--locale",
        metavar="LANGUAGE",
        help="Language of the labels, if the model has them in several.  [default: en]",
    ),
    "mean": third_party(
        "--mean",
        type=float,
        help="Normalization of a float model's input: (pixel - MEAN) / STD, pixels from 0 to 255.",
    ),
    "std": third_party("--std", type=float, help="See --mean."),
    "task": third_party(
        "--task",
        type=click.Choice(TASKS),
        help="What the model's scores mean.  [default: binary for one score, else multiclass]",
    ),
    "activation": third_party(
        "--activation",
        type=click.Choice(ACTIVATIONS),
        help="Function that turns the model's output into scores.  [default: softmax or sigmoid "
        "for logits]",
    ),
    "output": third_party(
        "--output", metavar="NAME", help="Output that has the scores, if the model has several."
    ),
    "threshold": third_party(
        "--threshold",
        type=float,
        help="Score from which a label of a binary or multilabel model is an answer.  "
        "[default: 0.5]",
    ),
    "resize_mode": third_party(
        "--resize",
        "resize_mode",
        type=click.Choice(RESIZE_MODES),
        help="How a photo is resized to the model's input.  [default: stretch]",
    ),
    "image_size": third_party(
        "--image-size",
        type=int,
        metavar="PIXELS",
        help="Width and height of the input, if the model leaves them open.",
    ),
    "backend": third_party(
        "--backend",
        type=click.Choice(BACKENDS),
        help="Interpreter that runs a .tflite file.  [default: the first one installed]",
    ),
}


def model_hints_options(
    *, without: Collection[str] = ()
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Add the options that describe a third-party model; the command gets them as `hints`.

    Args:
        without: fields of `ModelHints` that mean nothing to this command.
    """
    names = [name for name in _HINTS if name not in without]

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def gather(**values: Any) -> Any:
            from pocketlens.runtime.hints import ModelHints

            hints = ModelHints(**{name: values.pop(name) for name in names})
            return function(hints=hints, **values)

        decorated: Callable[..., Any] = gather
        for name in reversed(names):
            decorated = _HINTS[name](decorated)
        return decorated

    return decorate
