"""From the frozen graph to the bytes of each format."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from ai_edge_quantizer import quantizer, recipe
from numpy.typing import NDArray

from pocketlens.convert.corrections import Correction, Kernel, correct, find_corrections
from pocketlens.convert.formats import DYNAMIC, FLOAT16, FLOAT32, WEIGHTS8
from pocketlens.convert.int8 import EDGE, TENSORFLOW, quantize_int8
from pocketlens.convert.recipes import mixed_recipe
from pocketlens.convert.statistics import (
    LEAST_SQUARES,
    MIN_MAX,
    MOVING_AVERAGE,
    Statistics,
    measure,
)
from pocketlens.quiet import quiet


class FloatModel(Protocol):
    """A model as the float `.tflite` files that the others are made from."""

    @property
    def normalise(self) -> Callable[[Any], Any]:
        """What is made of raw pixels for the file that int8 starts from."""

    def float32(self) -> bytes:
        """Return the float32 model that takes raw pixels."""

    def float16(self) -> bytes:
        """Return the same with weights in float16."""

    def for_int8(self) -> bytes:
        """Return the float32 model that takes normalised pixels."""


@dataclass(frozen=True)
class Candidate:
    """One way to make the int8 file.

    `quantizer` is TensorFlow's or ai-edge-quantizer; `ranges` is the rule over the first `photos`
    photos; `corrected` says whether weights and biases were corrected for rounding (`corrections`).
    """

    quantizer: str
    ranges: str
    photos: int
    corrected: bool

    def __str__(self) -> str:
        rounding = "corrected" if self.corrected else "plain"
        return f"{self.quantizer}, {self.ranges} of {self.photos}, {rounding} rounding"

    def to_json(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return asdict(self)


class Encoder:
    """Makes the bytes of every format; keeps what several of them start from.

    Args:
        model: in float32.
        samples: the representative photos, each uint8 (height, width, 3) RGB. The 8-bit formats
            but int8 can do without.
    """

    def __init__(self, model: FloatModel, samples: Sequence[NDArray[np.uint8]]) -> None:
        self._model = model
        self._samples = samples

    def encode(self, name: str) -> bytes:
        """Return the bytes of a format, for int8 those of the first candidate."""
        with quiet():
            if name == FLOAT32:
                return self._float32
            if name == FLOAT16:
                return self._model.float16()
            if name == DYNAMIC:
                return _quantize(self._corrected, mixed_recipe(self._corrected))
            if name == WEIGHTS8:
                return _quantize(self._corrected, recipe.weight_only_wi8_afp32())
        return self.int8(self.candidates()[0])

    def candidates(self) -> list[Candidate]:
        """Return the ways to make the int8 file, the one that is usually best first."""
        photos = len(self._samples)
        few = max(1, photos // 4)
        return [
            Candidate(TENSORFLOW, MIN_MAX, photos, corrected=True),
            Candidate(TENSORFLOW, MIN_MAX, few, corrected=True),
            Candidate(TENSORFLOW, LEAST_SQUARES, photos, corrected=True),
            Candidate(TENSORFLOW, MOVING_AVERAGE, photos, corrected=True),
            Candidate(EDGE, MIN_MAX, photos, corrected=True),
            Candidate(EDGE, MIN_MAX, few, corrected=True),
            Candidate(EDGE, MOVING_AVERAGE, photos, corrected=True),
            Candidate(TENSORFLOW, MIN_MAX, photos, corrected=False),
            Candidate(EDGE, MOVING_AVERAGE, photos, corrected=False),
        ]

    def int8(self, candidate: Candidate, float_layers: Collection[str] = ()) -> bytes:
        """Return the bytes of a candidate, with some layers, by name, left in float."""
        with quiet():
            start = self.normalised
            if candidate.corrected:
                start = correct(start, self._corrections, except_layers=float_layers)
            ranges = self._statistics.ranges(candidate.ranges, candidate.photos)
            return quantize_int8(start, ranges, candidate.quantizer, float_layers)

    @cached_property
    def normalised(self) -> bytes:
        """The float32 model that takes normalised pixels, which int8 starts from."""
        return self._model.for_int8()

    @cached_property
    def _float32(self) -> bytes:
        return self._model.float32()

    @cached_property
    def _statistics(self) -> Statistics:
        return measure(self.normalised, self._samples, self._model.normalise)

    @cached_property
    def _corrections(self) -> dict[Kernel, Correction]:
        return find_corrections(self.normalised, self._statistics)

    @cached_property
    def _corrected(self) -> bytes:
        return correct(self._float32, self._corrections) if self._samples else self._float32


def _quantize(float_model: bytes, chosen_recipe: list[dict[str, Any]]) -> bytes:
    worker = quantizer.Quantizer(bytearray(float_model), chosen_recipe)
    result = worker.quantize(enable_progress_bar=False, enable_progress_report=False)
    return bytes(result.quantized_model)
