"""`pocketlens train`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from pocketlens.choices import (
    AUGMENTATIONS,
    BALANCES,
    DATASETS,
    DEFAULT_KNOWN_KEPT,
    OPTIMIZERS,
    RESIZE_MODES,
    SCHEDULES,
    SEEDS,
    TASKS,
    UNKNOWN_AUTO,
    UNKNOWN_MODES,
)
from pocketlens.cli.options import (
    EXISTING,
    TARGET,
    LocalPath,
    command,
    json_option,
    options_of,
    output,
    overwrite_option,
)
from pocketlens.train.architectures import ARCHITECTURES, DEFAULT_ARCHITECTURE, Architecture

_ROW = "{:<19}{:>5}{:>8}{:>12}{:>7}{:>12}{:>7}{:>8}{:>5}"
_HEADINGS = (
    ("", "", "", "", "", "with 1000", "", "ImageNet", ""),
    ("--arch", "alpha", "pixels", "parameters", "MB", "classes", "MB", "top-1", ""),
)
_NOTES = """
alpha and pixels are --alpha and --image-size: those that have published weights, and any
other with --weights none. Parameters are counted without the head, which is small, and as
published, with a head for ImageNet's 1000 classes. MB are those of a float32 file; an 8-bit
one has a quarter. Top-1 is the published accuracy on ImageNet's validation photos:
"""


def architecture_table() -> str:
    """Return a line for each network, and for each width and size that has published weights."""
    sources = list(dict.fromkeys(entry.source for entry in ARCHITECTURES.values() if entry.source))
    lines = [_ROW.format(*heading) for heading in _HEADINGS]
    for architecture in ARCHITECTURES.values():
        source = f"[{sources.index(architecture.source) + 1}]" if architecture.source else ""
        name = architecture.name
        for row in _rows(architecture):
            lines.append(_ROW.format(name, *row, source))
            name = ""
    references = [f"[{number}] {source}" for number, source in enumerate(sources, 1)]
    return "\n".join([*lines, *_NOTES.splitlines(), *references])


def _rows(architecture: Architecture) -> Iterator[tuple[str, ...]]:
    for width in architecture.widths:
        alpha = f"{width.alpha:g}" if architecture.has_alpha else ""
        if not width.top1:
            yield alpha, str(architecture.image_size), *_size(width.parameters), "", "", "none"
        counts = (*_size(width.parameters), *_size(width.published_parameters))
        for size, top1 in width.top1.items():
            yield alpha, str(size), *counts, f"{top1:.1%}"
            alpha, counts = "", ("", "", "", "")


def _size(parameters: int) -> tuple[str, str]:
    """Return parameters in millions, and the MB that they take in float32."""
    return f"{parameters / 1e6:.2f} M", f"{4 * parameters / 1e6:.1f}"


def _list_architectures(context: click.Context, _option: click.Parameter, asked: bool) -> None:
    if asked and not context.resilient_parsing:
        click.echo(architecture_table())
        context.exit()


photos_options = options_of("Photos")
network = options_of("Network")
schedule_options = options_of("Training")


@command(
    "train",
    example="pocketlens train photos/ --out runs/flowers --alpha 0.5",
    renamed={
        "--oversample": ("--balance", "oversample"),
        "--no-class-weights": ("--balance", "none"),
    },
    project={"photos": "photos", "out": "new run"},
)
@click.argument("photos", metavar="[PHOTOS]", required=False, type=EXISTING)
@photos_options(
    "--dataset",
    type=click.Choice(DATASETS),
    help="Published dataset to use instead of PHOTOS; downloaded the first time.",
)
@photos_options(
    "--task",
    type=click.Choice(TASKS),
    default=TASKS[0],
    show_default=True,
    help="One label of several, one of two, or any number of labels per photo.",
)
@photos_options(
    "--positive",
    metavar="LABEL",
    help="Positive label of a binary task.  [default: the second label in alphabetical order]",
)
@photos_options(
    "--resize",
    "resize_mode",
    type=click.Choice(RESIZE_MODES),
    default=RESIZE_MODES[0],
    show_default=True,
    help="How a photo is resized to the model's square input.",
)
@photos_options(
    "--augment",
    "augmentation",
    type=click.Choice(AUGMENTATIONS),
    help="How much training photos are rotated, shifted and recoloured; see "
    "report/augmentation.png.  [default: light; strong with --weights none]",
)
@photos_options("--no-flip", is_flag=True, help="Never mirror photos: for signs, letters, arrows.")
@photos_options(
    "--balance",
    type=click.Choice(BALANCES),
    default=BALANCES[0],
    show_default=True,
    help="How rare classes count as much as common ones: by class weights, or by drawing their "
    "photos more often. With none, common classes count more.",
)
@photos_options(
    "--unknown",
    type=click.Choice(UNKNOWN_MODES),
    default=UNKNOWN_AUTO,
    show_default=True,
    help="auto adds the label unknown, for photos that show none of the classes. "
    "Photos in a folder named unknown, none, background, other or nothing train it. "
    "A binary or multilabel model gets a second output, novelty, instead.",
)
@photos_options(
    "--known-kept",
    type=float,
    metavar="SHARE",
    default=DEFAULT_KNOWN_KEPT,
    show_default=True,
    help="With --unknown auto: share of the known validation photos that keep their label, from "
    "0.5 to less than 1.",
)
@photos_options(
    "--strict", is_flag=True, help="Fail if a file cannot be read or a photo has two labels."
)
@photos_options(
    "--no-test",
    is_flag=True,
    help="Set no test photos aside; accuracy is then measured on the validation photos.",
)
@network(
    "--arch",
    type=click.Choice(list(ARCHITECTURES)),
    default=DEFAULT_ARCHITECTURE,
    show_default=True,
    help="Architecture; see --list-architectures.",
)
@network(
    "--list-architectures",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_list_architectures,
    help="Show each architecture's parameters, size and published accuracy, and exit.",
)
@network("--alpha", type=float, default=1.0, show_default=True, help="Width of a MobileNet.")
@network(
    "--image-size",
    type=int,
    metavar="PIXELS",
    help="Width and height of the input.  [default: the architecture's published size]",
)
@network(
    "--weights",
    metavar="imagenet|none|FILE",
    type=TARGET,
    help="Weights to start from: ImageNet's, random ones, a weights file or an earlier run.  "
    "[default: imagenet; none for the cnn_ architectures]",
)
@schedule_options(
    "--head-epochs", type=int, default=30, show_default=True, help="Epochs of the head alone."
)
@schedule_options(
    "--fine-tune-epochs",
    type=int,
    help="Epochs of the upper layers. With --weights none: of all layers.  [default: 10; with "
    "--weights none 40, and up to 200 if there are few photos]",
)
@schedule_options(
    "--grid-epochs",
    type=int,
    default=4,
    show_default=True,
    help="Epochs of quantization-aware training on the int8 quantization grid, so that the 8-bit "
    "files keep the accuracy.",
)
@schedule_options(
    "--batch-size", type=int, default=32, show_default=True, help="Photos per training step."
)
@schedule_options(
    "--learning-rate",
    type=float,
    help="First learning rate of fine-tuning, or of training with --weights none. "
    "Quantization-aware training starts at a fixed share of it.  [default: 5e-05, with --weights "
    "none 0.002; 5 times that for sgd]",
)
@schedule_options(
    "--optimizer",
    type=click.Choice(OPTIMIZERS),
    default=OPTIMIZERS[0],
    show_default=True,
    help="sgd has momentum.",
)
@schedule_options(
    "--schedule",
    type=click.Choice(SCHEDULES),
    default="cosine",
    show_default=True,
    help="How the learning rate falls; plateau: when the validation loss stops falling.",
)
@schedule_options(
    "--label-smoothing",
    type=float,
    default=0.0,
    show_default=True,
    help="Share of each label that is spread over all classes, for labels that may be wrong.",
)
@schedule_options(
    "--mixed-precision/--no-mixed-precision",
    default=None,
    help="Compute in half precision.  [default: on GPUs with tensor cores]",
)
@schedule_options(
    "--seed",
    type=click.IntRange(0, SEEDS - 1),
    default=0,
    show_default=True,
    help="Seed of the split and of training.",
)
@schedule_options(
    "--resume",
    is_flag=True,
    help="Continue an interrupted training after its last finished epoch.",
)
@output("--out", required=True, metavar="RUN", type=LocalPath(), help="Run folder to create.")
@overwrite_option
@json_option
def train_command(
    photos: Path | None,
    dataset: str | None,
    out: Path,
    no_flip: bool,
    no_test: bool,
    strict: bool,
    resume: bool,
    overwrite: bool,
    json_target: str | None,
    **chosen: object,
) -> None:
    """Train a classifier on PHOTOS and evaluate it on test photos that training does not see.

    PHOTOS is a folder per class, or train/, val/ and test/ folders with a folder per class in each,
    or a table. The image formats are in pocketlens check --help.

    A table is a .csv file with the columns path and label, or path and labels, with | between
    several labels. Or it is a .jsonl file of objects with these names, where labels is a list.
    Paths are relative to the table's folder. A column split, which may be missing, says train,
    val or test. Photos with several labels or none need --task multilabel.

    Without such a layout about 65 % of the photos are for training, 15 % for validation and 20 %
    for the test. Which photo is in which split follows from its content and --seed, so it stays
    there when others are added or files are renamed. If --weights is an earlier run, the photos
    of that run keep their split.

    RUN appears when it is complete. Until then it is in a hidden folder beside RUN. After an
    interruption, even a power cut, the same command with --resume continues.
    """
    from pocketlens.errors import UsageError
    from pocketlens.files import refuse_targets
    from pocketlens.imports import require_train
    from pocketlens.train.unfinished import refuse_run, saying_how_to_resume

    # First of all, before TensorFlow is loaded, photos are read or a dataset is downloaded.
    refuse_run(out, overwrite=overwrite, resume=resume)
    if (photos is None) == (dataset is None):
        came = "neither" if photos is None else "both"
        raise UsageError(f"Expected PHOTOS or --dataset. Received: {came}. Give one of them.")
    require_train()
    refuse_targets(json_target, overwrite=overwrite)
    from pocketlens.cli.evaluate import summarise
    from pocketlens.train.found_photos import find_photos, refuse_inside
    from pocketlens.train.settings import Settings

    settings = Settings(flip=not no_flip, test=not no_test, **chosen)  # type: ignore[arg-type]
    if photos is None:
        from pocketlens.train.datasets import dataset_folder

        photos = dataset_folder(str(dataset))
    refuse_inside(out, photos)
    find_photos(photos).for_task(settings.task, settings.positive)
    # Only now, since TensorFlow takes seconds to load.
    from pocketlens.train import train

    with saying_how_to_resume(out):
        training = train(photos, out, settings, overwrite=overwrite, resume=resume, strict=strict)
    summarise(training, json_target)
