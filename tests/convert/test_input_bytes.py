"""The raw bytes at an int8 file's input: the same numbers, by operators that XNNPACK takes."""

from collections.abc import Iterator

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="conversion needs the train extra")

import tensorflow as tf

from pocketlens.convert.flatbuffers import delegate_input
from pocketlens.runtime.interpreters import load_interpreter
from pocketlens.runtime.operators import describe_operators

# Every byte there is, in every channel.
BYTES = np.stack([np.roll(np.arange(256, dtype=np.uint8), 85 * c) for c in range(3)], axis=-1)
PIXELS = BYTES.reshape(1, 16, 16, 3)


@pytest.fixture(scope="module")
def plain() -> bytes:
    """An int8 file as TFLiteConverter writes it."""
    kernel = tf.constant(np.random.default_rng(0).normal(0, 1, (3, 3, 3, 8)), tf.float32)

    @tf.function(input_signature=[tf.TensorSpec((1, 16, 16, 3))])
    def network(pixels: tf.Tensor) -> tf.Tensor:
        return tf.nn.relu(tf.nn.conv2d(pixels, kernel, 1, "SAME"))

    def representative() -> Iterator[list[np.ndarray]]:
        yield [PIXELS / np.float32(127.5) - 1]

    converter = tf.lite.TFLiteConverter.from_concrete_functions([network.get_concrete_function()])
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = representative
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.uint8
    return bytes(converter.convert())


def run(flatbuffer: bytes) -> tuple[np.ndarray, dict[str, int], int]:
    interpreter = load_interpreter(flatbuffer)
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], PIXELS)
    interpreter.invoke()
    operators = describe_operators(interpreter)
    output = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    return output, operators.counts, operators.partitions


def test_every_byte_arrives_as_before(plain: bytes) -> None:
    before, counts_before, _ = run(plain)
    after, counts, partitions = run(delegate_input(plain))
    np.testing.assert_array_equal(before, after)
    assert len(np.unique(after)) > 50
    assert counts == {**counts_before, "DEQUANTIZE": 1}
    assert partitions == 1


def test_done_once(plain: bytes) -> None:
    once = delegate_input(plain)
    assert once != plain
    assert delegate_input(once) == once


def test_other_input_stays() -> None:
    @tf.function(input_signature=[tf.TensorSpec((1, 16, 16, 3))])
    def network(pixels: tf.Tensor) -> tf.Tensor:
        return tf.nn.relu(pixels)

    converter = tf.lite.TFLiteConverter.from_concrete_functions([network.get_concrete_function()])
    float_model = bytes(converter.convert())
    assert delegate_input(float_model) == float_model
