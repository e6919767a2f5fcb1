"""A project: a folder with photos, an inbox, runs and models, and a file with its settings.

    flowers/
      pocketlens.toml      classes, task, camera, and options of commands by their names
      photos/LABEL/        training photos, one folder a class; unknown/ for counter-examples
      inbox/               frames without a label yet, each with a .json beside it
      runs/ models/        what `train` and `convert` made
      labels.csv           who labelled what when; the folder a photo is in is its label

All of it is plain files. Which options there are is known to the commands, so their names and
values are checked there (`cli/options.py`).
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pocketlens.choices import BINARY, MULTICLASS, UNKNOWN
from pocketlens.errors import LabelsError, OutputExistsError, ProjectError, UsageError
from pocketlens.names import shown, to_label

PROJECT_FILE = "pocketlens.toml"
PHOTOS, INBOX, RUNS, MODELS = FOLDERS = ("photos", "inbox", "runs", "models")
EXPORTS = "exports"
JOURNAL = "labels.csv"

CAMERA = "camera"
"""The table with what every command is told that opens the camera."""

# One folder a class is one label for each photo.
PROJECT_TASKS = (MULTICLASS, BINARY)

_KEYS = ("classes", "task")
# Of a file that people write by hand.
_MOST_BYTES = 1 << 20
# Of a folder's name on nearly all file systems; a photo's name below it counts by itself.
_MOST_NAME_BYTES = 255
# Names that Windows keeps for devices.
_DEVICES = {
    "con",
    "prn",
    "aux",
    "nul",
    *(f"{name}{n}" for name in ("com", "lpt") for n in "123456789"),
}


@dataclass(frozen=True)
class Project:
    """A project's folder and what its file says.

    Attributes:
        root: the folder, as it was given or found.
        classes: the labels, in the file's order, without `unknown`; each is also a folder's name.
        task: one of `PROJECT_TASKS`.
        settings: by command ("train", "convert", …) and for `CAMERA`: values by the names of the
            options, without `--`.
    """

    root: Path
    classes: tuple[str, ...]
    task: str
    settings: Mapping[str, Mapping[str, Any]]

    @property
    def file(self) -> Path:
        """The file with the settings."""
        return self.root / PROJECT_FILE

    @property
    def photos(self) -> Path:
        """The training photos, a folder per class."""
        return self.root / PHOTOS

    @property
    def inbox(self) -> Path:
        """The frames that have no label yet."""
        return self.root / INBOX

    @property
    def runs(self) -> Path:
        """What `train` made, a folder per run."""
        return self.root / RUNS

    @property
    def models(self) -> Path:
        """What `convert` made, a folder per run."""
        return self.root / MODELS

    @property
    def exports(self) -> Path:
        """What `export` made, a folder each."""
        return self.root / EXPORTS

    @property
    def journal(self) -> Path:
        """Who labelled what when."""
        return self.root / JOURNAL


def find_project(start: Path | None = None) -> Project | None:
    """Return the project that a folder is in, None if it is in none.

    Args:
        start: the folder; the current one where nothing is said. It or the nearest one above that
            has a file `PROJECT_FILE` is the project's.

    Raises:
        ProjectError: the file is there and does not say what it should.
    """
    root = project_root(start)
    return None if root is None else read_project(root)


def project_root(start: Path | None = None) -> Path | None:
    """Return the folder of the project that a folder is in, without reading its file."""
    try:
        folder = os.path.abspath(os.getcwd() if start is None else start)
    # Somebody has removed the current folder.
    except OSError:
        return None
    while True:
        if os.path.isfile(os.path.join(folder, PROJECT_FILE)):
            return Path(folder)
        above = os.path.dirname(folder)
        if above == folder:
            return None
        folder = above


def read_project(root: Path) -> Project:
    """Read a project.

    Raises:
        UsageError: there is no such folder, or it is not a project.
        ProjectError: its file does not say what it should.
    """
    path = root / PROJECT_FILE
    if not path.is_file():
        came = "a folder without it" if root.is_dir() else "no such folder"
        raise UsageError(
            f"Expected a project with {PROJECT_FILE} at {shown(root)}. Received: {came}. "
            "Make one with: pocketlens init FOLDER"
        )
    values = _read_toml(path)
    for key, value in values.items():
        if key not in _KEYS and not isinstance(value, dict):
            raise ProjectError(
                f"Expected {_either(_KEYS)} or a table such as [train] in {shown(path)}. "
                f"Received: {shown(key)}. {nearest(key, _KEYS)}"
            )
    settings = {key: value for key, value in values.items() if key not in _KEYS}
    return Project(root, _classes(values, path), _task(values, path), settings)


def check_project(
    root: Path,
    classes: Iterable[str],
    task: str = MULTICLASS,
    settings: Mapping[str, Mapping[str, Any]] | None = None,
) -> None:
    """Raise what `create_project` raises for these arguments, without writing anything."""
    _planned(root, classes, task, settings)


def create_project(
    root: Path,
    classes: Iterable[str],
    task: str = MULTICLASS,
    settings: Mapping[str, Mapping[str, Any]] | None = None,
) -> Project:
    """Make a project of a new folder, or of one that is there; nothing in it is changed.

    The file comes last: a folder that has it has the rest too.

    Args:
        root: the folder.
        classes: the labels; `unknown` among them is left out, it has a folder anyway.
        task: one of `PROJECT_TASKS`.
        settings: as in `Project`.

    Raises:
        LabelsError: a label cannot be the name of a folder, or two are the same.
        UsageError: another task, or a value that TOML cannot hold.
        OutputExistsError: it is a project already.
        OutputError: something cannot be written.
    """
    from pocketlens.files import output_errors, write_new

    project, text = _planned(root, classes, task, settings)
    labels = project.classes
    with output_errors(project.file):
        for folder in (project.inbox, project.runs, project.models):
            folder.mkdir(parents=True, exist_ok=True)
        for label in (*labels, *([UNKNOWN] if task == MULTICLASS else [])):
            class_folder(project.photos, label).mkdir(parents=True, exist_ok=True)
    try:
        write_new(project.file, text.encode())
    except OutputExistsError as error:
        raise _exists(root) from error
    return project


def refuse_project(root: Path) -> None:
    """Raise OutputExistsError if a folder is a project already."""
    if os.path.lexists(root / PROJECT_FILE):
        raise _exists(root)


def _planned(
    root: Path,
    classes: Iterable[str],
    task: str,
    settings: Mapping[str, Mapping[str, Any]] | None,
) -> tuple[Project, str]:
    """Return a project as it is to be, and the text of its file."""
    labels = to_classes(classes)
    if task not in PROJECT_TASKS:
        raise UsageError(
            f"Expected {_either(PROJECT_TASKS)} as the task of a project, in which each photo is "
            f"in the folder of its one label. Received: {task}. "
            "Give photos with several labels to train as a table, without a project."
        )
    if task == BINARY and len(labels) > 2:
        raise LabelsError(
            f"Expected two classes for the task {BINARY}. Received: {len(labels)}. "
            f"Choose --task {MULTICLASS}."
        )
    project = Project(root, labels, task, settings or {})
    text = _to_toml(project)
    refuse_project(root)
    return project, text


def to_classes(names: Iterable[str]) -> tuple[str, ...]:
    """Return names as the classes of a project, without `unknown`.

    Raises:
        LabelsError: a name cannot be a folder's, or two are the same.
    """
    labels: list[str] = []
    for name in names:
        label = to_label(name)
        refuse_odd_label(label)
        if label in labels:
            raise LabelsError(
                f"Expected classes that differ. Received: {label!r} twice. Leave one out."
            )
        same = next((other for other in labels if other.casefold() == label.casefold()), None)
        if same is not None:
            # They are one folder on Windows and macOS, and a project is copied.
            raise LabelsError(
                f"Expected classes that differ in more than capital letters. Received: {same!r} "
                f"and {label!r}. Rename one."
            )
        labels.append(label)
    return tuple(label for label in labels if label != UNKNOWN)


def refuse_odd_label(label: str) -> None:
    """Raise LabelsError if a label, in the form of `to_label`, cannot be the name of a folder."""
    problem = ""
    if not label:
        problem = "an empty one"
    elif label.startswith("."):
        problem = f"{label!r}, whose dot hides its folder"
    elif "/" in label:
        problem = f"{label!r}, which has a slash"
    elif sys.platform == "win32" and (
        label.endswith(".") or set(label) & set('<>:"|?*\\') or label.lower() in _DEVICES
    ):
        problem = f"{label!r}, which Windows does not take"
    elif len(label.encode()) > _MOST_NAME_BYTES:
        problem = f"one of {len(label)} characters"
    if problem:
        raise LabelsError(
            f"Expected a label that can be a folder's name. Received: {problem}. Choose another."
        )


def class_folder(photos: Path, label: str) -> Path:
    """Return the folder of a label's photos: one that is there, or else of the label's name.

    A folder that is there may have spaces around its name, or the same characters in another form
    of Unicode, and still be of this class.
    """
    folder = photos / label
    if not os.path.isdir(folder):
        try:
            with os.scandir(photos) as entries:
                names = sorted(entry.name for entry in entries if entry.is_dir())
        except OSError:
            return folder
        return photos / next((name for name in names if to_label(name) == label), label)
    return folder


def refuse_other_capitals(photos: Path, label: str) -> None:
    """Raise LabelsError if a class differs from a label only in capital letters.

    They are one folder on Windows and macOS, and a project is copied.
    """
    if os.path.isdir(photos / label):
        return
    try:
        with os.scandir(photos) as entries:
            labels = {to_label(entry.name) for entry in entries if entry.is_dir()}
    except OSError:
        return
    if label in labels:
        return
    same = next((other for other in sorted(labels) if other.casefold() == label.casefold()), None)
    if same is not None:
        raise LabelsError(
            "Expected labels that differ in more than capital letters. Received: "
            f"{label!r} beside {same!r}. Choose another."
        )


def nearest(word: str, words: Iterable[str]) -> str:
    """Return a question or an advice that names the words nearest to a wrong one."""
    from difflib import get_close_matches

    words = list(words)
    near = get_close_matches(word.lower(), words, n=1)
    return f"Did you mean {near[0]}?" if near else f"Known are: {', '.join(words)}."


def _exists(root: Path) -> OutputExistsError:
    return OutputExistsError(
        f"Expected a folder that is not a project yet. Received: {shown(root)}, which has a "
        f"{PROJECT_FILE}. Edit that file, or choose another folder."
    )


def _read_toml(path: Path) -> dict[str, Any]:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        with path.open("rb") as stream:
            data = stream.read(_MOST_BYTES + 1)
    except OSError as error:
        raise ProjectError(
            f"Cannot read {shown(path)}: {error.strerror}. Make it readable."
        ) from error
    if len(data) > _MOST_BYTES:
        raise ProjectError(
            f"Expected at most 1 MB of settings in {shown(path)}. Received: more. "
            "Look whether it is the file that you mean."
        )
    try:
        # Windows's editors may put a byte order mark before it.
        return tomllib.loads(data.decode("utf-8-sig").replace("\r\n", "\n"))
    # RecursionError: a list in a list in a list …
    except (ValueError, RecursionError) as error:
        came = "bytes that are not UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)
        raise ProjectError(
            f"Expected TOML in {shown(path)}. Received: {shown(came)}. Correct it."
        ) from error


def _classes(values: Mapping[str, Any], path: Path) -> tuple[str, ...]:
    names = values.get("classes")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        came = "nothing" if names is None else json.dumps(names, ensure_ascii=False, default=str)
        raise ProjectError(
            f"Expected classes as a list of labels in {shown(path)}. "
            f"Received: {shown(came)[:100]}. "
            'Write it like: classes = ["cat", "dog"]'
        )
    try:
        return to_classes(names)
    except LabelsError as error:
        raise ProjectError(f"In {shown(path)}, classes: {error}") from error


def _task(values: Mapping[str, Any], path: Path) -> str:
    task = values.get("task", MULTICLASS)
    if task not in PROJECT_TASKS:
        came = json.dumps(task, ensure_ascii=False, default=str)
        raise ProjectError(
            f"Expected task as {_either(PROJECT_TASKS)} in {shown(path)}. "
            f"Received: {shown(came)[:100]}. {nearest(str(task), PROJECT_TASKS)}"
        )
    return str(task)


def _either(words: Iterable[str]) -> str:
    return " or ".join(words)


def _to_toml(project: Project) -> str:
    """Return the text of a new project's file."""
    lines = [
        "# Settings of this pocketlens project. Commands that are called in this folder, or with",
        "# --project, go by them; options on the command line win.",
        "",
        "# One folder in photos/ for each. Photos of what is none of them go into photos/unknown/.",
        f"classes = {_toml_value(project.classes)}",
        f"task = {_toml_value(project.task)}",
        "",
        "# Below, each table has a command's name, and each key is an option without its dashes:",
        "# --batch-size 16 is batch-size = 16, --no-flip is no-flip = true. Paths count from here.",
    ]
    examples = {
        CAMERA: ['# source = "0"', '# size = "1280x720"'],
        "train": ['# arch = "mobilenet_v2"', "# head-epochs = 30"],
        "convert": ['# format = ["int8", "float16"]', "# max-drop = 1.0"],
        "live": ["# threads = 2"],
    }
    for table in (*examples, *(table for table in project.settings if table not in examples)):
        given = project.settings.get(table, {})
        what = "  # for all commands that open it" if table == CAMERA else ""
        lines += ["", f"[{table}]{what}"]
        lines += [f"{_toml_key(key)} = {_toml_value(value)}" for key, value in given.items()]
        lines += [line for line in examples.get(table, []) if line.split()[1] not in given]
    return "\n".join(lines) + "\n"


def _toml_key(key: str) -> str:
    return (
        key if key.replace("-", "").replace("_", "").isalnum() and key.isascii() else _quoted(key)
    )


def _toml_value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_toml_value, value))}]"
    raise UsageError(
        f"Expected text, a number, true, false or a list of them. Received: {value!r}."
    )


def _quoted(text: str) -> str:
    """Return text as a TOML string, which escapes as JSON does, and one character more."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise UsageError(
            f"Expected text that {PROJECT_FILE} can hold. Received: {shown(text)}, which is not "
            "UTF-8. Rename it."
        ) from error
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
