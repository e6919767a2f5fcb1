"""From the frozen graph to the bytes of each format."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import tensorflow as tf
from ai_edge_quantizer import quantizer, recipe
from numpy.typing import NDArray
from tensorflow.lite.python import schema_py_generated as schema
from tensorflow.lite.python.convert import mlir_quantize

from pocketlens.convert.corrections import Correction, Kernel, correct, find_corrections
from pocketlens.convert.flatbuffers import pack_model, unpack_model
from pocketlens.convert.formats import DYNAMIC, FLOAT16, FLOAT32, WEIGHTS8
from pocketlens.convert.input_bytes import delegate_input
from pocketlens.convert.recipes import mixed_recipe
from pocketlens.convert.statistics import Ranges, Statistics, measure
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
        """Return the bytes of a format."""
        with quiet():
            if name == FLOAT32:
                return self._float32
            if name == FLOAT16:
                return self._model.float16()
            if name == DYNAMIC:
                return _quantize(self._corrected, mixed_recipe(self._corrected))
            if name == WEIGHTS8:
                return _quantize(self._corrected, recipe.weight_only_wi8_afp32())
        return self.int8()

    def int8(self, float_layers: Collection[str] = ()) -> bytes:
        """Return the bytes of int8, with some layers left in float.

        Args:
            float_layers: the names of their output tensors.
        """
        with quiet():
            start = correct(self.normalised, self._corrections, except_layers=float_layers)
            return delegate_input(_quantize_int8(start, self._statistics.ranges, float_layers))

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


def _quantize_int8(flatbuffer: bytes, ranges: Ranges, float_layers: Collection[str]) -> bytes:
    """Quantize as TFLiteConverter does, with ranges in the place of its calibration's."""
    model = unpack_model(flatbuffer)
    tensors = model.subgraphs[0].tensors
    for index, low, high in zip(ranges.indices, ranges.low, ranges.high, strict=True):
        tensors[index].quantization = schema.QuantizationParametersT()
        tensors[index].quantization.min = np.array([low], np.float32)
        tensors[index].quantization.max = np.array([high], np.float32)
    return bytes(
        mlir_quantize(
            pack_model(model),
            input_data_type=tf.uint8,
            output_data_type=tf.uint8,
            denylisted_nodes=sorted(float_layers) or None,
        )
    )
