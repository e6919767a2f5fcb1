"""What is inside a `.tflite` file, as the interpreter on this machine runs it, and what is slow."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pocketlens.card import ModelCard
from pocketlens.errors import LabelsError
from pocketlens.runtime.answers import describe
from pocketlens.runtime.hints import ModelHints
from pocketlens.runtime.interpreters import find_backend
from pocketlens.runtime.metadata import Metadata, read_metadata
from pocketlens.runtime.model_files import (
    ModelFile,
    Signature,
    Tensor,
    read_model_file,
    read_signature,
)
from pocketlens.runtime.operators import Operator, list_operators
from pocketlens.runtime.third_party import complete, find_activation, scales_pixels
from pocketlens.runtime.trial import load_model

SCHEMA_VERSION = 1

_MOST_NAMES = 4


@dataclass(frozen=True)
class Inspection:
    """What is inside a model file.

    `pixels` says in words what goes into `input`, `activation`, `task` and `threshold` how its
    outputs become scores and these an answer (see `ModelCard`). `card` and `sha256_holds`, whether
    the model is the one that the card was written for, are None for a third-party file. `metadata`
    is the standard one. `counts` and `undelegated` count operators by name, all and those that
    XNNPACK leaves to the interpreter;
    `macs` are multiply-adds for one picture by what is multiplied (see `operators.Operator`).
    `findings` are sentences for people.
    """

    path: Path
    size_bytes: int
    interpreter: str
    input: Tensor
    output: Tensor
    pixels: str
    labels: tuple[str, ...] | None
    task: str
    threshold: float
    activation: str
    card: ModelCard | None
    sha256_holds: bool | None
    metadata: Metadata | None
    counts: dict[str, int]
    undelegated: dict[str, int]
    partitions: int
    parameters: int
    macs: dict[str, int]
    findings: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain JSON values."""
        values: dict[str, Any] = {
            "schema_version": SCHEMA_VERSION,
            **{entry.name: getattr(self, entry.name) for entry in dataclasses.fields(self)},
            "path": str(self.path),
            "input": _tensor_json(self.input),
            "output": _tensor_json(self.output),
            "card": dataclasses.asdict(self.card) if self.card else None,
            "metadata": dataclasses.asdict(self.metadata) if self.metadata else None,
        }
        return values


def inspect(path: str | Path, hints: ModelHints | None = None) -> Inspection:
    """Load a model file and describe it.

    Args:
        path: a `.tflite` file.
        hints: what a third-party file does not say of itself, and the interpreter to take.

    Raises:
        UsageError: there is no such file, or the hints do not go with it.
        ModelFileError: it is damaged, not the one that its card was written for, or no image
            classifier.
    """
    hints = hints or ModelHints()
    model = complete(read_model_file(path), hints)
    metadata = model.metadata or read_metadata(model.flatbuffer)
    interpreter = load_model(model, backend=hints.backend)
    signature = read_signature(interpreter, model.path)
    operators, partitions = list_operators(interpreter)
    backend = find_backend(hints.backend)
    labels = hints.read_labels() or model.labels
    card, label_findings = _described(model, signature, labels, hints)
    activation = card.activation
    if model.card is None and hints.activation is None:
        activation = find_activation(model, interpreter, signature, card.task)
    macs: Counter[str] = Counter()
    for operator in operators:
        if operator.macs:
            macs[operator.arithmetic] += operator.macs
    return Inspection(
        path=Path(model.path),
        size_bytes=model.size_bytes,
        interpreter=f"{backend.name} {backend.version}",
        input=signature.input,
        output=signature.output,
        pixels=_pixels(model, signature, hints),
        labels=labels,
        task=card.task,
        threshold=card.threshold,
        activation=activation,
        card=model.card,
        # Reading the file has compared it, and raises where it does not hold.
        sha256_holds=True if model.card else None,
        metadata=metadata,
        counts=dict(Counter(operator.name for operator in operators).most_common()),
        undelegated=dict(Counter(o.name for o in operators if not o.delegated).most_common()),
        partitions=partitions,
        parameters=sum(operator.parameters for operator in operators),
        macs=dict(macs.most_common()),
        findings=(*label_findings, *find_slow_parts(operators, partitions)),
    )


def find_slow_parts(operators: Sequence[Operator], partitions: int) -> list[str]:
    """Return what costs time, the most important first; nothing where nothing is known to.

    The figures are measurements of MobileNetV2 1.0/224 on x86-64 with AVX-512 VNNI, one thread,
    ai-edge-litert 2.3: the README's table, and for several partitions TFLiteConverter's own dynamic
    file (13.4 ms) against one of the same network that stays in one partition (4.9 ms).
    """
    return [*_pieces(operators, partitions), *_outside(operators), *_floats(operators)]


def _tensor_json(tensor: Tensor) -> dict[str, Any]:
    quantization = {"scale": tensor.scale, "zero_point": tensor.zero_point}
    return {
        "shape": list(tensor.shape),
        "dtype": str(tensor.dtype),
        "quantization": quantization if tensor.scale else None,
    }


def _pixels(model: ModelFile, signature: Signature, hints: ModelHints) -> str:
    tensor, layout = signature.input, signature.layout
    colours = "RGB" if layout.channels == 3 else "grey (BT.601 luma)"
    colours += ", channels first" if layout.channels_first else ""
    if model.card is not None:
        return f"raw {colours}, 0 to 255, resized by: {model.card.resize_mode}"
    if hints.mean is not None:
        return f"{colours} as (pixel - {hints.mean:g}) / {hints.std:g}, as you say"
    if tensor.dtype == np.uint8:
        return f"raw {colours}, 0 to 255, as uint8 inputs take by convention"
    if model.metadata is not None and model.metadata.normalisation is not None:
        mean, std = (
            "/".join(f"{value:g}" for value in dict.fromkeys(values))
            for values in (model.metadata.normalisation.mean, model.metadata.normalisation.std)
        )
        return f"{colours} as (pixel - {mean}) / {std}, says its metadata"
    if tensor.dtype == np.int8:
        return f"{colours}, each pixel less 128, as int8 inputs take by convention"
    if scales_pixels(model.flatbuffer):
        return f"raw {colours}, 0 to 255, which it scales itself"
    return "not said in the file: classify and live need --mean and --std"


def _described(
    model: ModelFile, signature: Signature, labels: tuple[str, ...] | None, hints: ModelHints
) -> tuple[ModelCard, list[str]]:
    """Return what the scores mean, and what is wrong with the labels."""
    size_wh, scores = signature.size_wh, signature.classes
    # Without labels none can be wrong; what is inside is described anyway.
    plain = dataclasses.replace(hints, labels=None)
    card = describe(model.path, size_wh, scores, card=model.card, hints=plain)
    if labels is None:
        return card, ["It has no labels: name them with --labels, or classes are numbered."]
    try:
        describe(model.path, size_wh, scores, card=model.card, labels=labels, hints=plain)
    except LabelsError:
        text = (
            f"It has {len(labels)} labels for {scores} score{'s' if scores > 1 else ''}: give a "
            f"file with {len(card.labels)}, one per line, with --labels."
        )
        return card, [text]
    return card, []


def _pieces(operators: Sequence[Operator], partitions: int) -> list[str]:
    if partitions == 0:
        text = (
            "XNNPACK runs none of it: all operators run in the interpreter's own kernels. So "
            "does an int8 file in tflite-runtime 2.14, where it took 17 times as long as in "
            "ai-edge-litert (x86-64)."
        )
        return [text]
    if partitions == 1:
        return []
    outside = sum(not operator.delegated for operator in operators)
    text = (
        f"XNNPACK runs it in {partitions} partitions and leaves {outside} of "
        f"{len(operators)} operators to the interpreter. A MobileNetV2 in 16 partitions took 2.7 "
        "times as long as in one; files converted by pocketlens have one in ai-edge-litert."
    )
    return [text]


def _outside(operators: Sequence[Operator]) -> list[str]:
    outside = [operator for operator in operators if not operator.delegated]
    if not outside or len(outside) == len(operators):
        return []
    counts = Counter(operator.name for operator in outside).most_common()
    names = ", ".join(f"{count} {name}" for name, count in counts[:_MOST_NAMES])
    names += ", …" if len(counts) > _MOST_NAMES else ""
    macs = _share(sum(o.macs for o in outside), sum(o.macs for o in operators))
    values = _share(sum(o.values for o in outside), sum(o.values for o in operators))
    holds, writes = ("It holds", "writes") if len(outside) == 1 else ("They hold", "write")
    text = (
        f"Not run by XNNPACK: {names}. {holds} {macs} of the multiply-adds and {writes} {values} "
        "of all values."
    )
    return [text]


def _floats(operators: Sequence[Operator]) -> list[str]:
    """Say so where an int8 file would have less to do."""
    macs = sum(operator.macs for operator in operators)
    in_float = sum(o.macs for o in operators if o.arithmetic == "float32")
    if 2 * in_float <= macs:
        return []
    text = (
        f"{_share(in_float, macs).capitalize()} of the multiply-adds are computed in float32. "
        "MobileNetV2's int8 file took half of its float32 file's time on a processor with 8-bit "
        "instructions; pocketlens benchmark measures it on yours."
    )
    return [text]


def _share(part: int, whole: int) -> str:
    """Return a share in per cent, without rounding something to nothing or to all."""
    if part == 0 or whole == 0:
        return "none"
    if part == whole:
        return "all"
    percent = 100 * part / whole
    return "less than 1 %" if percent < 1 else f"{min(percent, 99):.0f} %"
