"""TFLiteConverter as its guide shows it, to compare with: one conversion for each format."""

from collections.abc import Iterator, Sequence

import keras
import numpy as np
import tensorflow as tf

PLAIN = ("float32", "float16", "dynamic", "int8")


def convert_plainly(model: keras.Model, name: str, photos: Sequence[np.ndarray]) -> bytes:
    """Return the bytes of a format; `photos` are raw pixels (height, width, 3) for int8."""
    # One photo at a time: a live classifier refuses files with an open batch.
    entry = keras.Input(model.input.shape[1:], batch_size=1)
    converter = tf.lite.TFLiteConverter.from_keras_model(keras.Model(entry, model(entry)))
    if name != "float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if name == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if name == "int8":

        def representative() -> Iterator[list[np.ndarray]]:
            for photo in photos:
                yield [photo[None].astype(np.float32)]

        converter.representative_dataset = representative
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = tf.uint8
        converter.inference_output_type = tf.uint8
    return bytes(converter.convert())
