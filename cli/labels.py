"""`pocketlens labels`: labels from and for Label Studio, CVAT and FiftyOne."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pocketlens.choices import LABEL_FORMATS
from pocketlens.cli.options import (
    EXISTING,
    Group,
    LocalPath,
    called_in,
    command,
    deliver,
    json_option,
    options_of,
    output,
    overwrite_option,
)

if TYPE_CHECKING:
    from pocketlens.labels.exporting import Exported
    from pocketlens.labels.importing import Imported

reading = options_of("Labels")
photos_of = options_of("Photos")


@click.group(
    "labels",
    cls=Group,
    epilog="Example: pocketlens labels import tasks.json --photos inbox/ --into photos/",
)
def labels_command() -> None:
    """Exchange labels with Label Studio, CVAT and FiftyOne."""


@command(
    "import",
    example="pocketlens labels import tasks.json --photos inbox/ --into photos/",
    short_help="Take over labels from another program.",
    project={},
)
@click.argument("file", metavar="FILE", type=EXISTING)
@reading(
    "--format",
    "format_name",
    type=click.Choice(LABEL_FORMATS),
    help="Program that wrote FILE.  [default: what FILE looks like]",
)
@reading("--field", metavar="NAME", help="Labels to take, if FILE has several kinds.")
@reading("--newest", is_flag=True, help="Take the newest annotation of a photo if people disagree.")
@reading(
    "--empty",
    is_flag=True,
    help="Take photos without a label as having none (multilabel).  [default: leave them out]",
)
@photos_of(
    "--photos",
    metavar="DIR",
    multiple=True,
    type=EXISTING,
    help="Folder to find the photos in by name; may be repeated.  [default: the folder of FILE; in "
    "a project also its inbox and photos]",
)
@photos_of("--skip-missing", is_flag=True, help="Leave out photos that are not found.")
@photos_of("--link", is_flag=True, help="Make hard links instead of copies where possible.")
@output(
    "--into",
    metavar="PHOTOS",
    type=LocalPath(),
    help="Copy each photo into the folder of its label in PHOTOS. Photos that are there are moved. "
    " [default: the project's photos]",
)
@output(
    "--out",
    metavar="TABLE",
    type=LocalPath(),
    help="Write a .csv or .jsonl table instead, for photos with several labels or splits.",
)
@overwrite_option
@json_option
def import_command(
    file: Path,
    format_name: str | None,
    field: str | None,
    newest: bool,
    empty: bool,
    photos: tuple[Path, ...],
    skip_missing: bool,
    link: bool,
    into: Path | None,
    out: Path | None,
    overwrite: bool,
    json_target: str | None,
) -> None:
    """Take over the labels of whole photos in FILE.

    FILE is Label Studio's JSON or JSON-MIN, CVAT for images 1.1 (XML or zip), a dataset of FiftyOne
    (its folder), or a table.
    """
    from pocketlens.files import refuse_targets
    from pocketlens.labels.importing import import_labels

    refuse_targets(json_target, overwrite=overwrite)
    if into is None and out is None:
        # In a project, what was in its inbox gets its label.
        project = called_in()
        if project is not None:
            into, beside = project.photos, file if file.is_dir() else file.parent
            # Runs have pictures, too.
            own = () if beside.resolve() == project.root.resolve() else (beside,)
            photos = photos or (*own, project.inbox, project.photos)
    imported = import_labels(
        file,
        photos=photos,
        into=into,
        out=out,
        format=format_name,
        field=field,
        newest=newest,
        empty=empty,
        skip_missing=skip_missing,
        link=link,
        overwrite=overwrite,
    )
    deliver(json_target, lambda: _import_payload(imported), lambda: _show_import(imported))


@command(
    "export",
    example="pocketlens labels export photos/ --format label-studio --out tasks.json",
    short_help="Hand labels on to another program.",
    project={},
)
@click.argument("photos", metavar="[PHOTOS]", required=False, type=EXISTING)
@reading(
    "--format",
    "format_name",
    required=True,
    type=click.Choice(LABEL_FORMATS),
    help="Program that is to read the file.",
)
@photos_of(
    "--prefix",
    metavar="TEXT",
    help="What stands before the path of each photo in Label Studio.  [default: "
    "/data/local-files/?d=]",
)
@photos_of("--copy", is_flag=True, help="Copy the photos too: into FiftyOne's DIR or CVAT's zip.")
@output(
    "--out",
    required=True,
    metavar="FILE|DIR",
    type=LocalPath(),
    help="Write FILE.json (label-studio), FILE.xml or FILE.zip (cvat), DIR (fiftyone), FILE.csv or "
    "FILE.jsonl (csv).",
)
@overwrite_option
@json_option
def export_command(
    photos: Path | None,
    format_name: str,
    prefix: str | None,
    copy: bool,
    out: Path,
    overwrite: bool,
    json_target: str | None,
) -> None:
    """Write the labels of PHOTOS for another program.

    PHOTOS is what it is for `train`, a run, or a folder of photos without labels, such as an inbox;
    in a project it is the project's photos. What a model said of a frame becomes a prediction in
    Label Studio.
    """
    from pocketlens.errors import UsageError
    from pocketlens.files import refuse_targets
    from pocketlens.labels.exporting import export_labels

    refuse_targets(json_target, overwrite=overwrite)
    if photos is None:
        project = called_in()
        if project is None:
            raise UsageError(
                "Expected PHOTOS, or a call inside a project. Received: neither. Name a folder."
            )
        photos = project.photos
    exported = export_labels(
        photos, out, format_name, prefix=prefix, copy=copy, overwrite=overwrite
    )
    deliver(json_target, lambda: _export_payload(exported), lambda: _show_export(exported))


labels_command.add_command(import_command)
labels_command.add_command(export_command)


def _import_payload(imported: Imported) -> dict[str, Any]:
    return {
        "format": imported.format,
        "target": str(imported.target),
        "photos": dict(imported.counts),
        "labels": dict(imported.by_label),
        "left_out": dict(imported.left_out),
        "renamed": dict(imported.renamed),
    }


def _export_payload(exported: Exported) -> dict[str, Any]:
    return {
        "format": exported.format,
        "files": [str(path) for path in exported.files],
        "labels": dict(exported.by_label),
        "unlabelled": exported.unlabelled,
        "with_scores": exported.with_scores,
        "left_out": dict(exported.left_out),
    }


def _show_import(imported: Imported) -> None:
    from pocketlens.names import shown

    counts = ", ".join(f"{count} {what}" for what, count in imported.counts.items())
    click.echo(shown(f"{imported.target}: {counts or 'nothing'}"))
    _show_labels(imported.by_label)
    for label, form in imported.renamed.items():
        # The same characters in another form look alike.
        click.echo(shown(f"{label!a} is written {form!r} here."))
    _show_left_out(imported.left_out)


def _show_export(exported: Exported) -> None:
    from pocketlens.names import shown

    labelled = f"{sum(exported.by_label.values())} labels"
    rest = f", {exported.unlabelled} photos without one" if exported.unlabelled else ""
    scores = f", {exported.with_scores} predictions" if exported.with_scores else ""
    names = " and ".join(str(path) for path in exported.files)
    click.echo(shown(f"{names}: {labelled}{rest}{scores}"))
    _show_labels(exported.by_label)
    _show_left_out(exported.left_out)


def _show_labels(by_label: Mapping[str, int]) -> None:
    from pocketlens.names import shown

    for label, count in by_label.items():
        click.echo(shown(f"  {label}: {count}"))


def _show_left_out(left_out: Mapping[str, int]) -> None:
    from pocketlens.names import shown

    entries: Iterable[str] = (f"{what} ({count})" for what, count in left_out.items())
    if left_out:
        click.echo(shown(f"Left out: {', '.join(entries)}."), err=True)
