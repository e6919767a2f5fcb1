"""From the frozen graph to the bytes of each format."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from ai_edge_quantizer import quantizer, recipe
from numpy.typing import NDArray

from pocketlens.convert.formats import DYNAMIC, FLOAT16, FLOAT32, INT8, WEIGHTS8
from pocketlens.convert.graphs import Graphs
from pocketlens.convert.input_bytes import delegate_input
from pocketlens.convert.recipes import mixed_recipe

Encoder = Callable[[], bytes]


def encoders(graphs: Graphs, samples: Sequence[NDArray[np.uint8]]) -> dict[str, Encoder]:
    """Return for each format the function that makes its bytes.

    Args:
        graphs: the model.
        samples: the representative dataset for int8, each uint8 (height, width, 3) RGB.
    """
    made: dict[str, bytes] = {}

    def float32() -> bytes:
        # The quantizer's formats start from this one, so it is made once.
        if FLOAT32 not in made:
            made[FLOAT32] = bytes(_converter(graphs.pixels).convert())
        return made[FLOAT32]

    return {
        FLOAT32: float32,
        FLOAT16: lambda: _float16(graphs),
        DYNAMIC: lambda: _quantize(float32(), mixed_recipe(float32())),
        WEIGHTS8: lambda: _quantize(float32(), recipe.weight_only_wi8_afp32()),
        INT8: lambda: _int8(graphs, samples),
    }


def _converter(function: Any) -> Any:
    return tf.lite.TFLiteConverter.from_concrete_functions([function])


def _float16(graphs: Graphs) -> bytes:
    converter = _converter(graphs.pixels)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_types = [tf.float16]
    return bytes(converter.convert())


def _int8(graphs: Graphs, samples: Sequence[NDArray[np.uint8]]) -> bytes:
    def representative() -> Iterator[list[NDArray[np.float32]]]:
        for index, sample in enumerate(samples):
            pixels = sample[None].astype(np.float32)
            if index == 0:
                # One black and one white pixel fix the input's range to 0-255 whatever the
                # photos are like, so that a raw byte is the quantized value.
                pixels[0, 0, 0], pixels[0, -1, -1] = 0.0, 255.0
            yield [graphs.normalise(pixels).astype(np.float32)]

    converter = _converter(graphs.normalised)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = representative
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = tf.uint8
    converter.inference_output_type = tf.uint8
    return delegate_input(bytes(converter.convert()))


def _quantize(float_model: bytes, chosen_recipe: list[dict[str, Any]]) -> bytes:
    worker = quantizer.Quantizer(bytearray(float_model), chosen_recipe)
    result = worker.quantize(enable_progress_bar=False, enable_progress_report=False)
    return bytes(result.quantized_model)
