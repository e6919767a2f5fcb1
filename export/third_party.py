"""A third-party `.tflite` file as pocketlens writes one, for all that is exported from then on."""

from __future__ import annotations

import copy
import dataclasses
import importlib
from pathlib import Path
from typing import Any

import numpy as np

from pocketlens.card import pack
from pocketlens.choices import DYNAMIC, FLOAT16, FLOAT32, INT8, NO_ACTIVATION
from pocketlens.errors import ModelFileError
from pocketlens.files import write_bytes
from pocketlens.imports import require_train
from pocketlens.quiet import quiet
from pocketlens.runtime.answers import require_labels
from pocketlens.runtime.classifier import Classifier, input_table
from pocketlens.runtime.hints import ModelHints
from pocketlens.runtime.metadata import METADATA_NAME
from pocketlens.runtime.model_files import SUFFIX, ModelFile, read_model_file
from pocketlens.runtime.third_party import without_calibration

_SIGN_BIT = 128


def write_as_own(path: Path, hints: ModelHints, folder: Path) -> Path:
    """Write a third-party file as one that takes raw RGB pixels and gives scores, with a card.

    A float input gets its normalisation into the graph, int8 becomes uint8, logits get their
    activation. A score calibration of its metadata is left out with a warning.

    Args:
        path: the file.
        hints: what it does not say of itself.
        folder: where to write.

    Returns:
        the new file, of the same name.

    Raises:
        UsageError: the hints do not complete it.
        ModelFileError: it does not take RGB pixels as apps have them.
        MissingDependencyError: the packages that change it are not installed.
    """
    require_train()
    model = without_calibration(read_model_file(path))
    with Classifier(model, hints=hints) as classifier:
        model, card, signature = classifier.model, classifier.card, classifier.signature
    require_labels(path, hints.read_labels() or model.labels)
    if signature.layout.channels != 3 or signature.layout.channels_first:
        raise ModelFileError(
            f"Expected a model that takes RGB pixels, [1, height, width, 3]. Received: {path} with "
            f"an input of {list(signature.input.shape)}. Only such models can be exported."
        )
    # Imported only here: they bring TensorFlow.
    with quiet():
        flatbuffers, metadata, float_files, activations = (
            importlib.import_module(f"pocketlens.convert.{name}")
            for name in ("flatbuffers", "metadata", "float_files", "activations")
        )
    if signature.input.dtype == np.float32:
        normalisation = float_files.normalisation_of(model, hints)
        flatbuffer = float_files.with_raw_pixels(model.flatbuffer, normalisation)
    else:
        _refuse_other_bytes(model, classifier, hints)
        flatbuffer = model.flatbuffer
    flatbuffer = _with_unsigned_bytes(flatbuffers, flatbuffer)
    if card.activation != NO_ACTIVATION:
        flatbuffer = activations.append_activation(
            _with_float_output(flatbuffers, flatbuffer), card.activation
        )
    card = dataclasses.replace(
        card, activation=NO_ACTIVATION, format=_format(flatbuffers, flatbuffer)
    )
    content = flatbuffers.slim(
        flatbuffer, {METADATA_NAME: metadata.standard_metadata(flatbuffer, card)}
    )
    target = folder / f"{path.stem}{SUFFIX}"
    write_bytes(target, pack(content, card))
    return target


def _refuse_other_bytes(model: ModelFile, classifier: Classifier, hints: ModelHints) -> None:
    """Raise ModelFileError where an 8-bit input does not take each pixel's own byte."""
    tensor = classifier.signature.input
    table = input_table(model, tensor, hints)
    plain = np.arange(256) - (_SIGN_BIT if tensor.dtype == np.int8 else 0)
    if table is not None and not np.array_equal(table, plain.astype(tensor.dtype)):
        raise ModelFileError(
            f"Expected a quantized model that takes pixels as they are. Received: {model.path} "
            "with a normalization that changes them. Leave --mean and --std out, if they are wrong."
        )


def _with_unsigned_bytes(flatbuffers: Any, flatbuffer: bytes) -> bytes:
    """Return a model whose int8 input and output are uint8, which apps and browsers have."""
    model = flatbuffers.unpack_model(flatbuffer)
    graph = model.subgraphs[0]
    schema = flatbuffers.schema
    for name, indices, position in ((b"pixels", "inputs", 0), (b"scores", "outputs", None)):
        old = int(getattr(graph, indices)[0])
        if graph.tensors[old].type != schema.TensorType.INT8:
            continue
        new = flatbuffers.add_tensor(model, name, schema.TensorType.UINT8, graph.tensors[old].shape)
        quantization = copy.deepcopy(graph.tensors[old].quantization)
        quantization.zeroPoint = np.asarray(quantization.zeroPoint) + _SIGN_BIT
        graph.tensors[new].quantization = quantization
        ends = (new, old) if position == 0 else (old, new)
        _add_operator(flatbuffers, model, schema.BuiltinOperator.QUANTIZE, ends, position)
        _rewire(model, indices, old, new)
    return bytes(flatbuffers.pack_model(model))


def _with_float_output(flatbuffers: Any, flatbuffer: bytes) -> bytes:
    model = flatbuffers.unpack_model(flatbuffer)
    graph, schema = model.subgraphs[0], flatbuffers.schema
    old = int(graph.outputs[0])
    if graph.tensors[old].type == schema.TensorType.FLOAT32:
        return flatbuffer
    new = flatbuffers.add_tensor(
        model, b"logits", schema.TensorType.FLOAT32, graph.tensors[old].shape
    )
    _add_operator(flatbuffers, model, schema.BuiltinOperator.DEQUANTIZE, (old, new), None)
    _rewire(model, "outputs", old, new)
    return bytes(flatbuffers.pack_model(model))


def _add_operator(
    flatbuffers: Any, model: Any, builtin: int, ends: tuple[int, int], position: int | None
) -> None:
    operator = flatbuffers.schema.OperatorT()
    operator.opcodeIndex = flatbuffers.operator_code(model, builtin)
    operator.inputs, operator.outputs = (np.array([index], np.int32) for index in ends)
    operators = model.subgraphs[0].operators
    operators.insert(len(operators) if position is None else position, operator)


def _rewire(model: Any, indices: str, old: int, new: int) -> None:
    setattr(model.subgraphs[0], indices, np.array([new], np.int32))
    for signature in model.signatureDefs or []:
        for entry in getattr(signature, indices):
            if entry.tensorIndex == old and signature.subgraphIndex == 0:
                entry.tensorIndex = new


def _format(flatbuffers: Any, flatbuffer: bytes) -> str:
    """Return which of our formats a file is most like."""
    kinds = flatbuffers.schema.TensorType
    graph = flatbuffers.unpack_model(flatbuffer).subgraphs[0]
    types = {tensor.type for tensor in graph.tensors}
    if graph.tensors[graph.inputs[0]].type == kinds.UINT8:
        return INT8
    if kinds.INT8 in types:
        return DYNAMIC
    return FLOAT16 if kinds.FLOAT16 in types else FLOAT32
