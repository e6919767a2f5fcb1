"""`pocketlens train`."""

from __future__ import annotations

import click

from pocketlens.options import json_option, overwrite_option
from pocketlens.train.architectures import ARCHITECTURES, DEFAULT_ARCHITECTURE


def _list_architectures(context: click.Context, _option: click.Parameter, asked: bool) -> None:
    if asked and not context.resilient_parsing:
        from pocketlens.train.architecture_table import architecture_table

        click.echo(architecture_table())
        context.exit()


@click.command(
    "train",
    short_help="Train a classifier on a folder of photos per class.",
    epilog="Example: pocketlens train photos/ --out runs/flowers --alpha 0.5",
)
@click.argument("photos")
@click.option("--out", required=True, metavar="RUN", help="The run folder to make.")
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
    help="Epochs of the upper layers. [default: 10; 40 of all layers with --weights none]",
)
@click.option(
    "--grid-epochs",
    type=int,
    default=4,
    show_default=True,
    help="Epochs on the int8 grid, so that the 8-bit files lose nothing.",
)
@click.option("--batch-size", type=int, default=32, show_default=True, help="Photos a step.")
@click.option("--no-flip", is_flag=True, help="Never mirror photos: for signs, letters, arrows.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the split and training.")
@click.option("--strict", is_flag=True, help="Fail on bad files and on a photo with two labels.")
@overwrite_option
@json_option
def train_command(
    photos: str,
    out: str,
    no_flip: bool,
    strict: bool,
    overwrite: bool,
    json_target: str | None,
    **chosen: object,
) -> None:
    """Train a classifier on PHOTOS, a folder per class, and evaluate it on photos held back.

    A train/ val/ test/ layout is recognised too. RUN appears when everything in it is complete.
    """
    from pathlib import Path

    from pocketlens.extras import require_train
    from pocketlens.files import refuse_targets

    require_train()
    refuse_targets(json_target, overwrite=overwrite)
    from pocketlens.train import Settings, summarise, train

    settings = Settings(flip=not no_flip, **chosen)  # type: ignore[arg-type]
    training = train(Path(photos), Path(out), settings, overwrite=overwrite, strict=strict)
    summarise(training, json_target)
