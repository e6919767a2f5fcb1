"""What a command takes from a project: its file's options, and what nobody said.

On the command line counts most, then an environment variable, then the table of the command in the
project's file, then the table `camera`, then what the project's folders say (`PLACES`), then the
option's own default.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from pocketlens.choices import DYNAMIC, FLOAT16, FLOAT32, INT8, WEIGHTS8
from pocketlens.errors import ProjectError, UsageError
from pocketlens.names import shown
from pocketlens.project import CAMERA, Project, nearest

if TYPE_CHECKING:
    from pocketlens.cli.options import Command

# What `[camera]` may say, to the commands that open one.
_CAMERA_KEYS = ("source", "size", "fps", "fourcc")
# These ask for something now, and are not how things are.
_NOT_IN_FILES = frozenset({"help", "project", "overwrite", "resume"})

_TFLITE = ".tflite"
# Files of a run, of a SavedModel; and how files of models end.
_IN_MODELS = ("model.keras", "saved_model.pb")
_MODEL_ENDS = (_TFLITE, ".keras", ".h5", ".hdf5", ".onnx", ".pb", ".pt", ".pth")
# For a device of which nothing is known: the small files first, int8 also runs on accelerators.
_BEST_FIRST = (INT8, DYNAMIC, FLOAT16, WEIGHTS8, FLOAT32)


@dataclass
class Call:
    """A call of a command within a project: what was said, and what was found for it.

    Attributes:
        project: the project.
        given: what the command line and the file say, by the names of the parameters.
        found: what the project's folders said in place of the rest, by the same names.
    """

    project: Project
    given: dict[str, Any]
    found: dict[str, list[str]] = field(default_factory=dict)

    def show(self, path: Path) -> str:
        """Return a path as somebody in the current folder would write it."""
        with_dots = os.path.relpath(path)
        return with_dots if not with_dots.startswith("..") else str(path)


Place = Callable[[Call], Sequence[str] | None]
"""Returns what a project says for a parameter, None where it says nothing."""


def photos(call: Call) -> Sequence[str] | None:
    """The photos, a folder per class."""
    return None if call.given.get("dataset") else [call.show(call.project.photos)]


def newest_run(call: Call) -> Sequence[str]:
    """The run that was finished last."""
    runs = _by_age(call.project.runs, lambda folder: folder / "split.json")
    if not runs:
        raise UsageError(
            f"Expected a run in {call.show(call.project.runs)}. Received: none. "
            "Train one with: pocketlens train"
        )
    return [call.show(runs[-1])]


def its_test_photos(call: Call) -> Sequence[str] | None:
    """The run whose test photos belong to the models: where those are the project's own."""
    return newest_run(call) if call.found and _by_age(call.project.runs, _split) else None


def test_photos(call: Call) -> Sequence[str]:
    """The run that was finished last, for its test photos."""
    return newest_run(call)


def new_run(call: Call) -> Sequence[str]:
    """A name for a run: that of the project with the next number, or that of a run to resume."""
    name = _name(call.project)
    unfinished = {
        entry.removeprefix(".").removesuffix(".partial")
        for entry in _names(call.project.runs)
        if entry.startswith(".") and entry.endswith(".partial")
    }
    if call.given.get("resume") and unfinished:
        newest = max(
            unfinished,
            key=lambda entry: _age(call.project.runs / f".{entry}.partial"),
        )
        return [call.show(call.project.runs / newest)]
    taken = unfinished | set(_names(call.project.runs))
    return [call.show(call.project.runs / _next(name, taken))]


def new_models(call: Call) -> Sequence[str]:
    """A folder for the files of a model, of its name."""
    return [call.show(call.project.models / _model_name(call, call.project.models))]


def new_export(call: Call) -> Sequence[str]:
    """A folder for what is handed over, named by the model and for whom it is."""
    folder = call.project.exports
    target = call.given.get("target") or "files"
    return [call.show(folder / _model_name(call, folder, f"-{target}"))]


def model_files(call: Call) -> Sequence[str]:
    """The .tflite files that were made last: those of one folder."""
    folders = [call.project.models, *_folders(call.project.models)]
    by_folder = {
        folder: sorted(
            folder / name
            for name in _names(folder)
            if name.endswith(_TFLITE) and not name.startswith(".")
        )
        for folder in folders
    }
    found = [files for files in by_folder.values() if files]
    if not found:
        raise UsageError(
            f"Expected model files in {call.show(call.project.models)}. Received: none. "
            "Make some with: pocketlens convert"
        )
    newest = max(found, key=lambda files: max(map(_age, files)))
    return [call.show(path) for path in newest]


def model_file(call: Call) -> Sequence[str]:
    """One of `model_files`: for a camera speed counts, so int8 if there is one."""
    files = model_files(call)
    for kind in _BEST_FIRST:
        for file in files:
            if file.endswith(f"_{kind}{_TFLITE}"):
                return [file]
    return files[:1]


PLACES: Mapping[str, Place] = {
    "photos": photos,
    "newest run": newest_run,
    "test photos": test_photos,
    "test photos of its models": its_test_photos,
    "model files": model_files,
    "model file": model_file,
    "new run": new_run,
    "new models": new_models,
    "new export": new_export,
}
"""By the names that commands call them."""

# Where a first word that is no model leaves the model to the project.
_OF_MODELS = ("newest run", "model files", "model file")


def fill_in(
    command: Command,
    context: click.Context,
    project: Project,
    args: list[str],
    values: Mapping[str, Any],
    named: Sequence[click.Parameter],
) -> list[str]:
    """Put what a project says into a call; returns the words of the call, with missing ones.

    Args:
        command: what is called.
        context: of the call; its `default_map` gets what is no word.
        project: the project.
        args: the words of the call.
        values: what they say, by the names of the parameters.
        named: which parameters they name.

    Raises:
        ProjectError: the file names what there is not, or has a wrong value.
        UsageError: something is missing that the project does not have yet.
    """
    _refuse_unknown_tables(project)
    defaults = _from_tables(command, context, project)
    parameters = {entry.name or "": entry for entry in command.params}
    said = {
        name: values.get(name)
        for name, parameter in parameters.items()
        if parameter in named
        and not (isinstance(parameter, click.Argument) and not _words(values.get(name)))
    }
    words: list[str] = []
    call = Call(project, {**defaults, **said})
    for name, place in (command.project or {}).items():
        if name in said and _is_for_next(command, parameters[name], place, said):
            # What came behind it is for that one too.
            said[_arguments(command)[1].name or ""] = said.pop(name)
            call.given = {**defaults, **said}
            words.append(defaults.pop(name) if name in defaults else _find(call, name, place))
        elif name not in call.given:
            found = PLACES[place](call)
            if found is not None:
                call.found[name] = list(found)
                defaults[name] = list(found) if parameters[name].nargs == -1 else found[0]
    for name in [*defaults]:
        # As words, since older versions of click look for no default of these.
        if isinstance(parameters[name], click.Argument) and parameters[name].nargs == -1:
            found = defaults.pop(name)
            words += [] if name in said else found
    context.default_map = {**(context.default_map or {}), **defaults}
    _say(command, call)
    return words + args


def name_file(error: Exception, context: click.Context, project: Project) -> None:
    """Add to an error which of the options that it is about are from the project's file."""
    message = str(error)
    words = {word.strip(".,:;()'\"") for word in message.split()}
    keys = [
        option
        for parameter in context.command.params
        for option in parameter.opts
        if option in words
        and context.get_parameter_source(parameter.name or "") == ParameterSource.DEFAULT_MAP
    ]
    if keys:
        error.args = (f"{message} ({', '.join(keys)}: from {shown(project.file)}.)",)


def _from_tables(command: Command, context: click.Context, project: Project) -> dict[str, Any]:
    """Return what the tables of a project's file say to a command, by names of parameters."""
    defaults: dict[str, Any] = {}
    known = dict(_keys(command))
    table = command.name or ""
    tables = [(table, list(known))]
    if "source" in known:
        tables.insert(0, (CAMERA, [key for key in _CAMERA_KEYS if key in known]))
    for name, keys in tables:
        for key, value in project.settings.get(name, {}).items():
            where = f"[{name}] {shown(key)} in {shown(project.file)}"
            if key not in keys:
                raise ProjectError(
                    f"Expected an option of pocketlens {table} as {where}. "
                    f"Received: one that it does not have. {nearest(key, keys)}"
                )
            parameter, opposite = known[key]
            given = _as_given(parameter, value, where, opposite=opposite)
            given = _below(parameter, given, project.root)
            _check(parameter, given, context, where)
            defaults[parameter.name or ""] = given
    return defaults


def _keys(command: Command) -> Iterator[tuple[str, tuple[click.Parameter, bool]]]:
    """Yield how the file calls each parameter, and whether that is the opposite of a flag."""
    for parameter in command.params:
        if isinstance(parameter, click.Argument):
            yield parameter.name or "", (parameter, False)
            continue
        for option in (*parameter.opts, *parameter.secondary_opts):
            key = option.removeprefix("--")
            if option.startswith("--") and key not in _NOT_IN_FILES:
                yield key, (parameter, option in parameter.secondary_opts)


def _as_given(parameter: click.Parameter, value: Any, where: str, *, opposite: bool) -> Any:
    """Return a value of TOML as click takes it from a command line."""
    option = parameter if isinstance(parameter, click.Option) else None
    if option is not None and option.is_flag and isinstance(option.type, click.types.BoolParamType):
        if not isinstance(value, bool):
            raise ProjectError(f"Expected true or false as {where}. Received: {_text(value)}.")
        return value != opposite
    many = parameter.multiple or parameter.nargs != 1
    entries = value if isinstance(value, list) and many else [value]
    if value is True and option is not None and isinstance(option.flag_value, str):
        return option.flag_value
    for entry in entries:
        if isinstance(entry, bool) or not isinstance(entry, str | int | float):
            expected = "text or a number"
            if many:
                expected += ", or a list of them,"
            raise ProjectError(f"Expected {expected} as {where}. Received: {_text(value)}.")
    texts = [entry if isinstance(entry, str) else repr(entry) for entry in entries]
    return texts if many else texts[0]


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return shown(value)[:100]


def _below(parameter: click.Parameter, value: Any, root: Path) -> Any:
    """Return paths of the file as seen from the current folder: they count from the project."""
    from pocketlens.cli.options import STANDARD_OUTPUT, LocalPath

    if not isinstance(parameter.type, LocalPath):
        return value
    if isinstance(value, list):
        return [_below(parameter, entry, root) for entry in value]
    path = root / os.path.expanduser(value)
    # A camera's number, a URL or a word such as "none" is no path, unless a file has that name.
    kinds = (parameter.metavar or "").split("|")
    others = len(kinds) > 1 and STANDARD_OUTPUT not in kinds
    if value == STANDARD_OUTPUT or (others and not os.path.exists(path)):
        return value
    return str(path)


def _check(parameter: click.Parameter, value: Any, context: click.Context, where: str) -> None:
    """Raise ProjectError if a parameter does not take a value of the file."""
    try:
        parameter.process_value(context, value)
    except (UsageError, click.BadParameter) as error:
        said = error.message if isinstance(error, click.BadParameter) else str(error)
        kind = parameter.type
        near = ""
        if isinstance(kind, click.Choice) and isinstance(value, str):
            near = f" {nearest(value, map(str, kind.choices))}"
        raise ProjectError(f"In {where}: {said.rstrip('.')}.{near}") from error


def _refuse_unknown_tables(project: Project) -> None:
    from pocketlens.cli.main import COMMANDS

    names = [CAMERA, *COMMANDS]
    for name in project.settings:
        if name not in names:
            near = nearest(name, names)
            raise ProjectError(
                f"Expected tables named after commands in {shown(project.file)}. "
                f"Received: [{shown(name)}]. {near}"
            )


def _arguments(command: Command) -> list[click.Argument]:
    return [entry for entry in command.params if isinstance(entry, click.Argument)]


def _words(value: Any) -> list[str]:
    """Return the words that an argument got, none where it got none."""
    if isinstance(value, str):
        return [value]
    return list(value) if isinstance(value, list | tuple) else []


def _find(call: Call, name: str, place: str) -> str:
    """Return the one word that a place says."""
    (word, *_) = call.found[name] = list(PLACES[place](call) or ())
    return word


def _is_for_next(
    command: Command, parameter: click.Parameter, place: str, said: Mapping[str, Any]
) -> bool:
    """Tell whether the word for a model is for the argument behind it: `classify rose.jpg`."""
    arguments = _arguments(command)
    if place not in _OF_MODELS or parameter.nargs != 1 or len(arguments) < 2:
        return False
    # Where there are words for both they are what they are, unless there may be any number.
    if arguments[1].nargs == 1 and arguments[1].name in said:
        return False
    path = os.path.expanduser(said[parameter.name or ""])
    return (
        not path.lower().endswith(_MODEL_ENDS)
        and os.path.exists(path)
        and not any(os.path.isfile(os.path.join(path, name)) for name in _IN_MODELS)
    )


def _say(command: Command, call: Call) -> None:
    """Say on standard error what the project's folders filled in."""
    if not call.found:
        return
    parts = []
    for parameter in command.params:
        found = call.found.get(parameter.name or "")
        if found:
            name = (
                parameter.opts[0]
                if isinstance(parameter, click.Option)
                else (parameter.metavar or parameter.name or "").strip("[].")
            )
            more = f" and {len(found) - 1} more" if len(found) > 1 else ""
            parts.append(f"{name} {found[0]}{more}")
    click.echo(shown(f"Project {_name(call.project)}: {', '.join(parts)}"), err=True)


def _name(project: Project) -> str:
    """Return what runs of a project are called."""
    return project.root.name or "run"


def _model_name(call: Call, folder: Path, end: str = "") -> str:
    """Return the name of the model of a call, as a new name in a folder."""
    found = call.found.get("model") or call.found.get("models")
    said = call.given.get("model") or call.given.get("models")
    model = (found or ([said] if isinstance(said, str) else said) or [""])[0]
    name = os.path.basename(os.path.abspath(os.path.expanduser(model)))
    for suffix in _MODEL_ENDS:
        name = name.removesuffix(suffix)
    taken = set(_names(folder))
    return f"{name}{end}" if f"{name}{end}" not in taken else _next(f"{name}{end}", taken, first=2)


def _next(name: str, taken: set[str], first: int = 1) -> str:
    """Return a name with a number above those of all that are taken."""
    numbers = [
        int(number)
        for before, dash, number in (entry.rpartition("-") for entry in taken)
        if before == name and dash and number.isdecimal() and number.isascii()
    ]
    return f"{name}-{max([first - 1, *numbers]) + 1}"


def _split(folder: Path) -> Path:
    return folder / "split.json"


def _by_age(folder: Path, file: Callable[[Path], Path]) -> list[Path]:
    """Return the visible folders that have a file, the one whose file is newest last."""
    folders = [entry for entry in _folders(folder) if file(entry).is_file()]
    return sorted(folders, key=lambda entry: (_age(file(entry)), _in_order(entry.name)))


def _in_order(name: str) -> tuple[str, int]:
    before, _, number = name.rpartition("-")
    return (before, int(number)) if number.isdecimal() and number.isascii() else (name, 0)


def _folders(folder: Path) -> list[Path]:
    paths = (folder / name for name in _names(folder) if not name.startswith("."))
    return [path for path in paths if path.is_dir()]


def _names(folder: Path) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []


def _age(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
