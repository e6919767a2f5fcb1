"""Checking a file against what its format promises."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pocketlens.card import ModelCard
from pocketlens.convert.encoders import MAKING
from pocketlens.errors import ConversionError
from pocketlens.runtime.classifier import Classifier
from pocketlens.runtime.model_files import ModelFile, Signature
from pocketlens.runtime.operators import Operators, describe_operators

EIGHT_BIT = frozenset(name for name, making in MAKING.items() if making.eight_bit)

# What turns one kind of number into another and calculates nothing.
_CONVERSIONS = frozenset({"QUANTIZE", "DEQUANTIZE"})

# A raw byte must be the quantized input to within one step of the quantization.
_MAX_INPUT_ERROR_STEPS = 1.0


def check_promise(
    name: str,
    signature: Signature,
    operators: Operators,
    normalise: Callable[[float], float],
    *,
    in_float: bool = False,
) -> None:
    """Check a file, loaded again, against its format's promise.

    Args:
        name: the format.
        signature: the input and output of the file.
        operators: what it consists of.
        normalise: what the network's first layer makes of a pixel value in 0-255.
        in_float: some layers were left in float on purpose.

    Raises:
        ConversionError: the file does not hold what its format promises.
    """
    promise = MAKING[name]
    for what, tensor in (("input", signature.input), ("output", signature.output)):
        if tensor.dtype != promise.dtype:
            _fail(name, f"a {what} of {np.dtype(promise.dtype)}", str(tensor.dtype))
    calculating = sorted(set(operators.float_counts) - _CONVERSIONS)
    if promise.float_free and calculating and not in_float:
        _fail(name, "no operator that computes in float", ", ".join(calculating))
    if operators.partitions != 1:
        _fail(name, "one XNNPACK partition", f"{operators.partitions}")
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


def _fail(name: str, expected: str, received: str) -> None:
    raise ConversionError(
        f"Expected {expected} in the {name} file. Received: {received}. "
        "Use the versions of constraints.txt, or leave this format out with --format."
    )


_THREADS = 2


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
    """
    model = ModelFile(str(path), flatbuffer, len(flatbuffer), card, card.labels)
    with Classifier(model, threads=_THREADS) as classifier:
        scores = np.stack([classifier.scores(entry) for entry in pixels])
        return Rerun(classifier.signature, describe_operators(classifier.interpreter), scores)
