"""What converted files are compared with: TFLiteConverter as its guide shows it, and Keras."""

from collections.abc import Iterator, Sequence

import keras
import numpy as np
import tensorflow as tf

PLAIN = ("float32", "float16", "dynamic", "int8")
_BATCH = 16


def predict(model: keras.Model, photos: Sequence[np.ndarray]) -> np.ndarray:
    """Return a model's scores, float32 (photos, outputs), for photos uint8 (height, width, 3)."""
    batches = [photos[start : start + _BATCH] for start in range(0, len(photos), _BATCH)]
    scores = [model.predict_on_batch(np.stack(batch).astype(np.float32)) for batch in batches]
    return np.concatenate(scores).astype(np.float32)


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
