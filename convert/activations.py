"""Logits of third-party models, and the activation that makes scores of them."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tensorflow.lite.python import schema_py_generated as schema

from pocketlens.choices import MULTICLASS, NO_ACTIVATION, SIGMOID, SOFTMAX
from pocketlens.convert.encoders import FloatModel
from pocketlens.convert.flatbuffers import add_tensor, operator_code, pack_model, unpack_model
from pocketlens.runtime.answers import ACTIVATE
from pocketlens.runtime.third_party import SCORE_TOLERANCE

LOGGER = logging.getLogger("pocketlens")

# By how much scores may not add up to 1 and still come from a softmax.
_SUM_ERROR = 0.01


def find_activation(path: Path, outputs: NDArray[np.float32], task: str) -> str:
    """Return what makes scores of a model's outputs: nothing where they are in 0-1 on all photos.

    Args:
        path: what the model is called in messages.
        outputs: float32 (photos, outputs).
        task: "multiclass" takes a softmax, the others a sigmoid for each label.
    """
    low, high = float(outputs.min()), float(outputs.max())
    if low < -SCORE_TOLERANCE or high > 1 + SCORE_TOLERANCE:
        found = SOFTMAX if task == MULTICLASS else SIGMOID
        LOGGER.info(
            "%s gives logits, %.1f to %.1f on the photos, so a %s is appended. If that is "
            "wrong, set --activation.",
            *(path, low, high, found),
        )
        return found
    if task == MULTICLASS and np.abs(outputs.sum(axis=1) - 1).max() > _SUM_ERROR:
        LOGGER.warning(
            "The outputs of %s are in 0 to 1 and do not add up to 1. They are taken as scores; if "
            "they are logits, set --activation softmax.",
            path,
        )
    return NO_ACTIVATION


def activate(outputs: NDArray[np.float32], activation: str) -> NDArray[np.float32]:
    """Return the scores, float32 (photos, outputs), that an activation makes of outputs."""
    if activation == NO_ACTIVATION:
        return outputs
    return np.stack([ACTIVATE[activation](row) for row in outputs])


@dataclass(frozen=True)
class Activated:
    """A model with an activation appended to it, in whatever file is made of it."""

    model: FloatModel
    activation: str

    @property
    def normalise(self) -> Callable[[Any], Any]:
        """What is made of raw pixels for the file that int8 starts from."""
        return self.model.normalise

    def float32(self) -> bytes:
        """Return the float32 model that takes raw pixels."""
        return append_activation(self.model.float32(), self.activation)

    def float16(self) -> bytes:
        """Return the same with weights in float16."""
        return append_activation(self.model.float16(), self.activation)

    def for_int8(self) -> bytes:
        """Return the float32 model that takes normalised pixels."""
        return append_activation(self.model.for_int8(), self.activation)


def append_activation(flatbuffer: bytes, activation: str) -> bytes:
    """Return a model of one float32 output with a softmax or a sigmoid behind it."""
    model = unpack_model(flatbuffer)
    graph = model.subgraphs[0]
    old = int(graph.outputs[0])
    scores = add_tensor(model, b"scores", schema.TensorType.FLOAT32, graph.tensors[old].shape)
    operator = schema.OperatorT()
    if activation == SOFTMAX:
        operator.opcodeIndex = operator_code(model, schema.BuiltinOperator.SOFTMAX)
        operator.builtinOptionsType = schema.BuiltinOptions.SoftmaxOptions
        operator.builtinOptions = schema.SoftmaxOptionsT()
        operator.builtinOptions.beta = 1.0
    else:
        operator.opcodeIndex = operator_code(model, schema.BuiltinOperator.LOGISTIC)
    operator.inputs = np.array([old], np.int32)
    operator.outputs = np.array([scores], np.int32)
    graph.operators.append(operator)
    graph.outputs = np.array([scores], np.int32)
    for signature in model.signatureDefs or []:
        for entry in signature.outputs:
            if entry.tensorIndex == old and signature.subgraphIndex == 0:
                entry.tensorIndex = scores
    return pack_model(model)
