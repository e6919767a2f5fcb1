"""What the formats promise, and that a rewritten file keeps it."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="conversion needs the train extra")

import tensorflow as tf

from pocketlens.card import ModelCard
from pocketlens.convert import FORMATS
from pocketlens.convert.flatbuffers import slim
from pocketlens.convert.formats import check_promise, find_shortfall, rerun
from pocketlens.errors import ConversionError
from pocketlens.runtime.interpreters import load_interpreter
from pocketlens.runtime.model_files import Signature, Tensor, read_model_file
from pocketlens.runtime.operators import Operators

FLOAT = Tensor(0, (1, 8, 8, 3), np.dtype(np.float32), 0.0, 0)
BYTES = Tensor(0, (1, 8, 8, 3), np.dtype(np.uint8), 1 / 127.5, 127)


@pytest.mark.parametrize(
    ("entry", "signature", "text"),
    [
        ("float32", Signature(BYTES, FLOAT), "input of float32"),
        ("int8", Signature(BYTES, FLOAT), "output of uint8"),
        (
            "int8",
            Signature(Tensor(0, (1, 8, 8, 3), np.dtype(np.uint8), 1 / 200, 127), BYTES),
            "raw pixel",
        ),
    ],
    ids=["input", "output", "input range"],
)
def test_broken_promise(entry: str, signature: Signature, text: str) -> None:
    with pytest.raises(ConversionError, match=text):
        check_promise(entry, signature, lambda pixel: pixel / 127.5 - 1)


@pytest.mark.parametrize(
    ("entry", "operators", "text"),
    [
        ("float32", Operators({}, {"CONV_2D": 1}, 1, {}), None),
        ("int8", Operators({}, {"QUANTIZE": 1, "DEQUANTIZE": 1}, 1, {"SOFTMAX": 1}), None),
        ("float32", Operators({}, {}, 3, {"TILE": 2}), "3 XNNPACK partitions, outside: 2 TILE"),
        ("int8", Operators({}, {"ELU": 1}, 1, {}), "1 XNNPACK partition, in float: 1 ELU"),
        ("float16", Operators({}, {}, 0, {"EXP": 1}), "0 XNNPACK partitions, outside: 1 EXP"),
    ],
)
def test_shortfall(entry: str, operators: Operators, text: str | None) -> None:
    found = find_shortfall(entry, operators)
    assert (None if found is None else str(found)) == text


def test_slimming_changes_no_answer(tiny_models: dict[str, Path]) -> None:
    for entry in FORMATS:
        flatbuffer = read_model_file(tiny_models[entry]).flatbuffer
        again = slim(flatbuffer)
        assert abs(len(again) - len(flatbuffer)) < 100
        answers = []
        for data in (flatbuffer, again):
            interpreter = load_interpreter(data)
            details = interpreter.get_input_details()[0]
            pixels = np.random.default_rng(0).integers(0, 256, details["shape"])
            interpreter.set_tensor(details["index"], pixels.astype(details["dtype"]))
            interpreter.invoke()
            answers.append(interpreter.get_tensor(interpreter.get_output_details()[0]["index"]))
        np.testing.assert_array_equal(*answers)


def test_file_without_finite_scores_for_a_photo() -> None:
    """Zeros and noise, on which every file is tried, need not show it."""
    function = tf.function(
        lambda pixels: tf.math.sqrt(200.0 - tf.reduce_mean(pixels, axis=(1, 2))),
        input_signature=[tf.TensorSpec((1, 8, 8, 3), tf.float32)],
    ).get_concrete_function()
    flatbuffer = tf.lite.TFLiteConverter.from_concrete_functions([function]).convert()
    card = ModelCard("model", ("a", "b", "c"), (8, 8))
    photos = [np.full((8, 8, 3), value, np.uint8) for value in (0, 100, 250)]
    with pytest.raises(ConversionError, match="NaN or infinite scores for 1 of 3 photos"):
        rerun(flatbuffer, card, photos, Path("model.tflite"))
