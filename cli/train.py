"""`pocketlens train`."""

from __future__ import annotations

from collections.abc import Iterator

import click

from pocketlens.cli.options import json_option, overwrite_option
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


@click.command(
    "train",
    short_help="Train a classifier on labelled photos.",
    epilog="Example: pocketlens train photos/ --out runs/flowers --alpha 0.5",
)
@click.argument("photos", required=False)
@click.option(
    "--dataset",
    type=click.Choice(["cifar10", "cifar100", "mnist", "fashion_mnist", "tf_flowers"]),
    help="A published dataset in place of PHOTOS; downloaded the first time.",
)
@click.option("--out", required=True, metavar="RUN", help="The run folder to make.")
@click.option(
    "--task",
    type=click.Choice(["multiclass", "binary", "multilabel"]),
    default="multiclass",
    show_default=True,
    help="One label of several, one of two, or any number of labels a photo.",
)
@click.option(
    "--positive",
    metavar="LABEL",
    help="What a binary task looks for. [default: the second class by name]",
)
@click.option(
    "--arch",
    type=click.Choice(list(ARCHITECTURES)),
    default=DEFAULT_ARCHITECTURE,
    show_default=True,
    help="The network; see --list-architectures.",
)
@click.option(
    "--list-architectures",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_list_architectures,
    help="Show each network's parameters, size and published accuracy, and exit.",
)
@click.option("--alpha", type=float, default=1.0, show_default=True, help="Width of a MobileNet.")
@click.option(
    "--image-size", type=int, help="Pixels a side. [default: what the network was published at]"
)
@click.option(
    "--weights",
    metavar="imagenet|none|FILE",
    help="Where to start: ImageNet weights, nothing, a weights file or an earlier run. "
    "[default: imagenet; none for the cnn_ networks]",
)
@click.option(
    "--resize",
    "resize_mode",
    type=click.Choice(["stretch", "crop", "pad"]),
    default="stretch",
    show_default=True,
    help="How a photo is brought to the model's square.",
)
@click.option("--head-epochs", type=int, default=30, show_default=True, help="Epochs of the head.")
@click.option(
    "--fine-tune-epochs",
    type=int,
    help="Epochs of the upper layers. [default: 10; with --weights none of all layers, 40, and up "
    "to 200 where photos are few]",
)
@click.option(
    "--grid-epochs",
    type=int,
    default=4,
    show_default=True,
    help="Epochs on the int8 grid, so that the 8-bit files lose nothing.",
)
@click.option("--batch-size", type=int, default=32, show_default=True, help="Photos a step.")
@click.option(
    "--augment",
    "augmentation",
    type=click.Choice(["none", "light", "strong"]),
    help="How much training photos are turned, moved and recoloured; see report/augmentation.png. "
    "[default: light; strong with --weights none]",
)
@click.option("--no-flip", is_flag=True, help="Never mirror photos: for signs, letters, arrows.")
@click.option(
    "--oversample",
    is_flag=True,
    help="Draw photos of rare classes more often, in place of the weights that they have anyway.",
)
@click.option("--no-class-weights", is_flag=True, help="Let common classes count more.")
@click.option(
    "--optimizer",
    type=click.Choice(["adam", "adamw", "sgd"]),
    default="adam",
    show_default=True,
    help="sgd is with momentum.",
)
@click.option(
    "--schedule",
    type=click.Choice(["constant", "cosine", "exponential", "plateau"]),
    default="cosine",
    show_default=True,
    help="How the learning rate falls; plateau: when validation gets no better.",
)
@click.option(
    "--label-smoothing",
    type=float,
    default=0.0,
    show_default=True,
    help="Share of the truth that is spread over all classes, for labels that may be wrong.",
)
@click.option(
    "--mixed-precision/--no-mixed-precision",
    default=None,
    help="Compute in half precision. [default: on GPUs with tensor cores]",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of the split and training.")
@click.option("--strict", is_flag=True, help="Fail on bad files and on a photo with two labels.")
@click.option(
    "--resume",
    is_flag=True,
    help="Go on with an interrupted training, from its last finished epoch.",
)
@overwrite_option
@json_option
def train_command(
    photos: str | None,
    dataset: str | None,
    out: str,
    no_flip: bool,
    oversample: bool,
    no_class_weights: bool,
    strict: bool,
    resume: bool,
    overwrite: bool,
    json_target: str | None,
    **chosen: object,
) -> None:
    """Train a classifier on PHOTOS and evaluate it on photos held back.

    PHOTOS is a folder per class; train/, val/ and test/ folders with one each; or a table.

    A table is a .csv file with the columns path and label, or path and labels: several with |
    between them, or none. Or a .jsonl file of objects with these names, where labels is a list.
    Paths are relative to the table's folder. A further column part, or split, may say train, val
    or test. Photos with several labels or none need --task multilabel.

    RUN appears when everything in it is complete. Until then it is kept in a hidden folder beside
    it: when the training is interrupted, by a power cut too, the same command with --resume goes
    on.
    """
    from pathlib import Path

    from pocketlens.errors import UsageError
    from pocketlens.files import refuse_targets
    from pocketlens.imports import require_train

    if (photos is None) == (dataset is None):
        came = "neither" if photos is None else "both"
        raise UsageError(f"Expected PHOTOS or --dataset. Received: {came}. Give one of them.")
    require_train()
    refuse_targets(json_target, overwrite=overwrite)
    from pocketlens.cli.evaluate import summarise
    from pocketlens.train import Settings, train
    from pocketlens.train.unfinished import saying_how_to_resume

    balance = "oversample" if oversample else "none" if no_class_weights else "weights"
    settings = Settings(flip=not no_flip, balance=balance, **chosen)  # type: ignore[arg-type]
    if dataset is not None:
        from pocketlens.train.datasets import dataset_folder

        place = dataset_folder(dataset)
    else:
        place = Path(photos or "")
    with saying_how_to_resume(Path(out)):
        training = train(
            place, Path(out), settings, overwrite=overwrite, resume=resume, strict=strict
        )
    summarise(training, json_target)
