"""`pocketlens init`."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pocketlens.choices import MULTICLASS
from pocketlens.cli.options import (
    EXISTING,
    TARGET,
    LocalPath,
    command,
    deliver,
    json_option,
    options_of,
)
from pocketlens.errors import UsageError
from pocketlens.names import shown
from pocketlens.project import (
    CAMERA,
    PHOTOS,
    PROJECT_FILE,
    PROJECT_TASKS,
    check_project,
    create_project,
    refuse_project,
    to_classes,
)

if TYPE_CHECKING:
    from pocketlens.project import Project

content = options_of("Project")

# What somebody does next, as far as there are such commands.
_STEPS = (
    ("collect", "photos from your camera"),
    ("check", "whether the photos are fit for training"),
    ("train", "a model, into runs/"),
    ("convert", "its files, into models/"),
    ("live", "the camera, classified"),
    ("studio", "all of it in a page"),
)


@command("init", example="pocketlens init flowers --label daisy --label rose --source 0")
@click.argument("folder", metavar="FOLDER", type=LocalPath())
@content("--label", "labels", multiple=True, metavar="LABEL", help="A class; may be repeated.")
@content("--classes", metavar="A,B,...", help="Classes, with commas between them.")
@content(
    "--task",
    type=click.Choice(PROJECT_TASKS),
    default=MULTICLASS,
    show_default=True,
    help="What the model's scores mean; binary is for two classes.",
)
@content("--source", type=TARGET, metavar="N|FILE|URL", help="The camera, as for live.")
@content(
    "--from",
    "photos",
    type=EXISTING,
    metavar="PHOTOS",
    help="Copy these photos into the project, a folder per class or a table, and take its labels "
    "as classes.",
)
@content(
    "--link",
    is_flag=True,
    help="With --from: make hard links, which take no room, where the disk allows it.",
)
@json_option
def init_command(
    folder: Path,
    labels: tuple[str, ...],
    classes: str | None,
    task: str,
    source: str | None,
    photos: Path | None,
    link: bool,
    json_target: str | None,
) -> None:
    """Make FOLDER a project: a place for photos, runs and models, with a file of settings.

    In a project, commands need few words: check, train, convert, benchmark, evaluate, export and
    live take photos, runs, models and options from it. FOLDER may exist; nothing in it is changed.
    If it has photos in photos/LABEL/, these labels are classes too.
    """
    from pocketlens.files import refuse_targets

    refuse_targets(json_target, overwrite=False)
    refuse_project(folder)
    if link and photos is None:
        raise UsageError("Expected --from PHOTOS with --link. Received: none. Say which photos.")
    settings = {} if source is None else {CAMERA: {"source": _source(source, folder)}}
    from pocketlens.runtime.first_photos import (
        copy_photos,
        labels_there,
        read_first_photos,
        without_counter_examples,
    )

    found = None if photos is None else read_first_photos(photos)
    of_photos = [*(found.labels if found else ()), *labels_there(folder / PHOTOS)]
    if task == MULTICLASS:
        of_photos = list(without_counter_examples(of_photos))
    said = [*labels, *filter(str.strip, (classes or "").split(","))]
    # Of what is said and what is there the same label is no mistake.
    said += [label for label in dict.fromkeys(of_photos) if label not in to_classes(said)]
    names = to_classes(said)
    # Before the first photo is copied.
    check_project(folder, names, task, settings)
    if found is not None:
        copy_photos(found, folder / PHOTOS, link=link)
    project = create_project(folder, names, task, settings)
    deliver(json_target, lambda: _payload(project), lambda: _show(project))


def _source(source: str, folder: Path) -> str:
    """Return a source as the project's file names it; raises UsageError for one with a password."""
    from pocketlens.runtime.live.sources import redact

    if redact(source) != shown(source):
        raise UsageError(
            f"Expected a source without a password, since {PROJECT_FILE} is for everybody to read. "
            f"Received: {redact(source)}. Leave --source out, and set POCKETLENS_SOURCE when you "
            "use the camera."
        )
    if not os.path.exists(source):
        return source
    path, root = os.path.abspath(source), os.path.abspath(folder)
    below = os.path.relpath(path, root)
    return path if below.startswith("..") else below


def _payload(project: Project) -> dict[str, Any]:
    return {
        "project": str(project.root),
        "classes": list(project.classes),
        "task": project.task,
        "photos": _count(project),
    }


def _count(project: Project) -> int:
    from pocketlens.runtime.photos import find_pictures

    return sum(1 for _ in find_pictures(project.photos))


def _show(project: Project) -> None:
    from pocketlens.cli.main import COMMANDS

    count = _count(project)
    photos = f"{count} photo{'' if count == 1 else 's'}"
    names = ", ".join(project.classes) or "none yet"
    lines = [f"Made the project {project.root} with {photos}. Classes: {names}."]
    if not project.classes:
        lines.append(f"Write them into {project.file}, or make a folder in photos/ for each.")
    lines += ["Next:", f"  cd {shlex.quote(str(project.root))}"]
    if not count:
        lines.append("  put photos of each class into photos/LABEL/")
    width = max(len(f"pocketlens {name}") for name, _ in _STEPS)
    lines += [
        f"  {f'pocketlens {name}':<{width}}  {what}" for name, what in _STEPS if name in COMMANDS
    ]
    for line in lines:
        click.echo(shown(line))
