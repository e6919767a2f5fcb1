"""Checking a file against what its format promises."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pocketlens.card import ModelCard
from pocketlens.convert.encoders import MAKING
from pocketlens.errors import ConversionError
from pocketlens.report.html import counted
from pocketlens.runtime.classifier import Classifier
from pocketlens.runtime.model_files import ModelFile, Signature
from pocketlens.runtime.operators import Operators, describe_operators

EIGHT_BIT = frozenset(name for name, making in MAKING.items() if making.eight_bit)

# What turns one kind of number into another and calculates nothing.
_CONVERSIONS = frozenset({"QUANTIZE", "DEQUANTIZE"})

# A raw byte must be the quantized input to within one step of the quantization.
_MAX_INPUT_ERROR_STEPS = 1.0


def check_promise(name: str, signature: Signature, normalise: Callable[[float], float]) -> None:
    """Check input and output of a file, loaded again, against its format's promise.

    Args:
        name: the format.
        signature: the input and output of the file.
        normalise: what the network's first layer makes of a pixel value in 0-255.

    Raises:
        ConversionError: the file does not hold what its format promises.
    """
    promise = MAKING[name]
    for what, tensor in (
        ("input", signature.input),
        ("output", signature.output),
        ("second output", signature.novelty),
    ):
        if tensor is not None and tensor.dtype != promise.dtype:
            _fail(name, f"a {what} of {np.dtype(promise.dtype)}", str(tensor.dtype))
    if signature.input.scale:
        scale, zero_point = signature.input.scale, signature.input.zero_point
        for pixel in (0.0, 255.0):
            error_steps = abs((pixel - zero_point) * scale - normalise(pixel)) / scale
            if error_steps > _MAX_INPUT_ERROR_STEPS:
                _fail(
                    name,
                    "an input quantization under which a raw pixel is its own value",
                    f"scale {scale:.6f}, zero point {zero_point}",
                )


@dataclass(frozen=True)
class Shortfall:
    """Which of a network's own operators keep a file from what its format is made for.

    `outside` counts those that XNNPACK leaves to the interpreter's slower kernels where it runs the
    others in `partitions` that are not one; `in_float` those of a format without float arithmetic
    that have no other. Both are empty for the architectures that pocketlens trains.
    """

    partitions: int
    outside: Mapping[str, int]
    in_float: Mapping[str, int]

    def __str__(self) -> str:
        """Return it as a clause: "3 XNNPACK partitions, outside: 2 SELU"."""
        text = f"{self.partitions} XNNPACK partition" + "s" * (self.partitions != 1)
        for what, counts in (("outside", self.outside), ("in float", self.in_float)):
            if counts:
                text += f", {what}: " + ", ".join(f"{n} {name}" for name, n in counts.items())
        return text


def find_shortfall(name: str, operators: Operators) -> Shortfall | None:
    """Return what keeps a file from one XNNPACK partition and, for int8, from being float-free.

    Args:
        name: the format.
        operators: what the file consists of.
    """
    calculating = {
        kind: count for kind, count in operators.float_counts.items() if kind not in _CONVERSIONS
    }
    in_float = calculating if MAKING[name].float_free else {}
    outside = operators.outside_counts if operators.partitions != 1 else {}
    if operators.partitions == 1 and not in_float:
        return None
    return Shortfall(operators.partitions, outside, in_float)


def _fail(name: str, expected: str, received: str) -> None:
    raise ConversionError(
        f"Expected {expected} in the {name} file. Received: {received}. "
        "Use the versions of constraints.txt, or leave this format out with --format."
    )


_THREADS = 2


def count_not_finite(scores: NDArray[np.float32]) -> int:
    """Return for how many photos of scores (photos, outputs) one is NaN or infinite."""
    return int((~np.isfinite(scores).all(axis=1)).sum())


@dataclass(frozen=True)
class Rerun:
    """A file, loaded again as the device will: what it consists of and what it answers."""

    signature: Signature
    operators: Operators
    scores: NDArray[np.float32]


def rerun(
    flatbuffer: bytes, card: ModelCard, pixels: Sequence[NDArray[np.uint8]], path: Path
) -> Rerun:
    """Load a model and run it on photos.

    Args:
        flatbuffer: the model.
        card: what it means.
        pixels: uint8 (height, width, 3) RGB each.
        path: what it is called in errors.

    Raises:
        ConversionError: scores of a photo are not finite.
    """
    model = ModelFile(str(path), flatbuffer, len(flatbuffer), card, card.labels)
    with Classifier(model, threads=_THREADS) as classifier:
        scores = np.stack([classifier.scores(entry) for entry in pixels])
        lost = count_not_finite(scores)
        if lost:
            raise ConversionError(
                f"it gives NaN or infinite scores for {lost} of {counted(len(scores))}"
            )
        return Rerun(classifier.signature, describe_operators(classifier.interpreter), scores)
