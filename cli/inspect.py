"""`pocketlens inspect`: what is inside a model file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pocketlens.choices import BINARY, MULTILABEL, NO_ACTIVATION
from pocketlens.cli.options import (
    EXISTING,
    command,
    deliver,
    json_option,
    model_hints_options,
    overwrite_option,
)
from pocketlens.files import refuse_targets
from pocketlens.names import shown

if TYPE_CHECKING:
    from pocketlens.runtime.hints import ModelHints
    from pocketlens.runtime.inspection import Inspection
    from pocketlens.runtime.model_files import Tensor

_YES_NO = {True: "yes", False: "no"}
_FIRST_LABELS = 5


@command(
    "inspect",
    example="pocketlens inspect models/flowers_int8.tflite",
    project={"model": "model file"},
)
@click.argument("model", metavar="MODEL", type=EXISTING)
@model_hints_options()
@json_option
@overwrite_option
def inspect_command(
    model: Path, hints: ModelHints, json_target: str | None, overwrite: bool
) -> None:
    """Show the inputs, outputs, labels and operators of MODEL, and which operators are slow."""
    refuse_targets(json_target, overwrite=overwrite)
    from pocketlens.runtime.inspection import inspect

    inspection = inspect(model, hints)
    deliver(json_target, inspection.to_json, lambda: _print(inspection))


def _print(inspection: Inspection) -> None:
    from pocketlens.report.terminal import facts_table, new_console

    console = new_console()
    console.print(
        f"{shown(inspection.path)}, {inspection.size_bytes / 1e6:.2f} MB", overflow="fold"
    )
    facts = (*_outside(inspection), *_card(inspection), *_inside(inspection))
    console.print(facts_table(facts))
    console.print()
    for finding in inspection.findings or ("Nothing in it is known to be slow.",):
        console.print(f"- {finding}")


def _outside(inspection: Inspection) -> list[tuple[str, str]]:
    labels = inspection.labels
    rows = [
        ("input", _tensor(inspection.input)),
        ("pixels", inspection.pixels),
        ("output", _tensor(inspection.output)),
        ("scores", _scores(inspection)),
    ]
    if labels is None:
        return [*rows, ("labels", "none")]
    first = "; ".join(labels[:_FIRST_LABELS]) + ("; …" if len(labels) > _FIRST_LABELS else "")
    return [*rows, ("labels", f"{len(labels)}: {first}")]


def _card(inspection: Inspection) -> list[tuple[str, str]]:
    metadata, card = inspection.metadata, inspection.card
    standard = "none" if metadata is None else metadata.name or "there, without a name"
    rows = [("standard metadata", standard)]
    answer = ("answer", _answer(inspection))
    if card is None:
        none = "none: it is a third-party file, with no SHA-256 to compare"
        return [*rows, ("card", none), answer]
    return [
        *rows,
        ("card", f"{card.name}, {card.format}, {card.task}"),
        answer,
        ("label sets", ", ".join(card.sets) or "none"),
        ("shift watch", f"by {card.shift['photos']} photos" if card.shift else "none"),
        ("SHA-256", f"{card.model_sha256[:16]}… of the model without its card, as the card says"),
        ("seal", "a checksum: it tells of damage, not of who wrote the file"),
        ("metrics", pairs_text(card.metrics)),
        ("training", pairs_text(card.training)),
        ("calibration", pairs_text(card.calibration)),
        ("versions", pairs_text(card.versions)),
    ]


def _scores(inspection: Inspection) -> str:
    """Say what makes scores of the output."""
    steps = [inspection.activation] if inspection.activation != NO_ACTIVATION else []
    calibration = inspection.metadata.calibration if inspection.metadata else None
    if calibration is not None:
        steps.append(
            f"score calibration of its metadata ({calibration.file}, "
            f"{calibration.default_score:g} for labels without one)"
        )
    return " and ".join(steps) + " of the output" if steps else "the output itself"


def _answer(inspection: Inspection) -> str:
    """Say how scores become an answer."""
    labels, threshold = inspection.labels or (), inspection.threshold
    if inspection.task == BINARY:
        negative, positive = labels if len(labels) == 2 else ("the first label", "the second label")
        return f"{positive} if its score is {threshold:g} or more, else {negative}"
    if inspection.task == MULTILABEL:
        return f"every label with a score of {threshold:g} or more"
    unsure = f", not to be trusted below {threshold:g}" if threshold else ""
    return f"the label with the highest score{unsure}"


def _inside(inspection: Inspection) -> list[tuple[str, str]]:
    macs = ", ".join(f"{_millions(count)} {name}" for name, count in inspection.macs.items())
    total = sum(inspection.macs.values())
    return [
        ("parameters", _millions(inspection.parameters)),
        ("multiply-adds", f"{_millions(total)} a picture" + (f" ({macs})" if macs else "")),
        ("operators", f"{sum(inspection.counts.values())}: {_counts(inspection.counts)}"),
        ("XNNPACK partitions", f"{inspection.partitions}, in {inspection.interpreter}"),
        ("not in a partition", _counts(inspection.undelegated)),
    ]


def _tensor(tensor: Tensor) -> str:
    shape = " × ".join(map(str, tensor.shape))
    quantization = f", scale {tensor.scale:.6g}, zero point {tensor.zero_point}"
    return f"{tensor.dtype} {shape}" + (quantization if tensor.scale else "")


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items()) or "none"


def pairs_text(values: Any) -> str:
    """Return a card's plain values as text; what lies deeper, or is not set, is left to --json."""
    plain = [
        f"{name.replace('_', ' ')} {_YES_NO[value] if isinstance(value, bool) else value}"
        for name, value in values.items()
        if value is not None and not isinstance(value, dict | list)
    ]
    return ", ".join(plain) or "none"


def _millions(count: int) -> str:
    return f"{count / 1e6:.1f} M" if count >= 100_000 else str(count)
