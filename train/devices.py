"""What the machine offers to training: several GPUs and half precision."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import AbstractContextManager

import keras
import tensorflow as tf

from pocketlens.train.networks import BASE_NAME, flat_layers

FLOAT32, FLOAT16, BFLOAT16 = "float32", "mixed_float16", "mixed_bfloat16"

# The first with tensor cores, without which half precision saves memory but little time
# (https://docs.nvidia.com/deeplearning/performance/mixed-precision-training).
_MIN_CAPABILITY = (7, 0)


def all_gpus() -> AbstractContextManager[object]:
    """Return a scope in which a network is built and trained on all visible GPUs at once.

    Each batch is divided among them. With one GPU or none the scope does nothing.
    (`keras.distribution` is no choice on TensorFlow: its backend there is an unfinished prototype
    as of Keras 3.15, while Keras's `fit` obeys TensorFlow's own strategies.)
    """
    if len(tf.config.list_logical_devices("GPU")) < 2:
        return contextlib.nullcontext()
    scope: AbstractContextManager[object] = tf.distribute.MirroredStrategy().scope()
    return scope


def compile_with_xla() -> bool:
    """Return whether XLA pays: on one GPU.

    It compiles for minutes and gains nothing on a CPU, and cannot compile the exchange of
    gradients between several GPUs.
    """
    return len(tf.config.list_logical_devices("GPU")) == 1


def precision(wanted: bool | None) -> str:
    """Return the Keras dtype policy to train with.

    Args:
        wanted: mixed precision or not; None takes it where it pays, on GPUs with tensor cores.
            A CPU computes in bfloat16 if it is told to, a GPU in float16.
    """
    gpus = tf.config.list_physical_devices("GPU")
    capabilities = [
        tf.config.experimental.get_device_details(gpu).get("compute_capability", (0, 0))
        for gpu in gpus
    ]
    pays = bool(gpus) and min(capabilities) >= _MIN_CAPABILITY
    if not (pays if wanted is None else wanted):
        return FLOAT32
    return FLOAT16 if gpus else BFLOAT16


@contextlib.contextmanager
def computing_in(policy: str, network: keras.Model) -> Iterator[None]:
    """Let the base of a network compute in a dtype policy, and in float32 again afterwards.

    Weights are float32 throughout. Normalisation of the pixels and the scores stay float32 too:
    a loss needs the digits.
    """
    layers = [
        layer
        for layer in flat_layers(network.get_layer(BASE_NAME))
        if not isinstance(layer, keras.layers.InputLayer)
    ]
    _set_policy(layers, policy)
    try:
        yield
    finally:
        _set_policy(layers, FLOAT32)


def _set_policy(layers: list[keras.layers.Layer], policy: str) -> None:
    for layer in layers:
        layer.dtype_policy = policy
