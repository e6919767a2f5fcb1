"""A float32 `.tflite` file as the start of a conversion: its network, taking raw pixels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_quantizer import quantizer
from numpy.typing import NDArray
from tensorflow.lite.python import schema_py_generated as schema

from pocketlens.convert.flatbuffers import (
    add_tensor,
    drop_unused,
    operator_code,
    pack_model,
    unpack_model,
)
from pocketlens.errors import ModelFileError
from pocketlens.runtime.classifier import Classifier
from pocketlens.runtime.hints import ModelHints
from pocketlens.runtime.metadata import Normalisation
from pocketlens.runtime.model_files import ModelFile
from pocketlens.runtime.third_party import without_calibration
from pocketlens.workers import count_cores

_FLOAT16_RECIPE = [
    {
        "regex": ".*",
        "operation": "*",
        "algorithm_key": "float_casting",
        "op_config": {
            "weight_tensor_config": {"num_bits": 16, "dtype": "FLOAT"},
            "compute_precision": "FLOAT",
            "explicit_dequantize": True,
        },
    }
]

_RAW = Normalisation((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
# The kinds of numbers of a network that nothing has quantized, and those of its shapes.
_FLOAT_KINDS = frozenset(
    {
        schema.TensorType.FLOAT32,
        schema.TensorType.INT32,
        schema.TensorType.INT64,
        schema.TensorType.BOOL,
    }
)


@dataclass(frozen=True)
class FloatFile:
    """A float32 `.tflite` network as what all formats are made from.

    `pixels` takes raw pixels; `normalised` what `normalise` makes of them, one factor and one
    offset, or raw pixels too where the channels are normalised each in its own way.
    """

    pixels: bytes
    normalised: bytes
    normalise: Callable[[Any], Any]

    def float32(self) -> bytes:
        """Return the model that takes raw pixels."""
        return self.pixels

    def float16(self) -> bytes:
        """Return the same with weights in float16."""
        worker = quantizer.Quantizer(bytearray(self.pixels), _FLOAT16_RECIPE)
        result = worker.quantize(enable_progress_bar=False, enable_progress_report=False)
        return bytes(result.quantized_model)

    def for_int8(self) -> bytes:
        """Return the model that takes normalised pixels."""
        return self.normalised


def float_file(flatbuffer: bytes, normalisation: Normalisation, path: Path) -> FloatFile:
    """Return a float32 network as what all formats are made from.

    Raises:
        ModelFileError: the model is quantized already.
    """
    pixels = take_raw_pixels(flatbuffer, normalisation, path)
    if len(set(normalisation.mean)) > 1 or len(set(normalisation.std)) > 1:
        return FloatFile(pixels, pixels, lambda values: values)
    mean, std = normalisation.mean[0], normalisation.std[0]
    plain = take_raw_pixels(flatbuffer, _RAW, path)
    return FloatFile(pixels, plain, lambda values: (values - mean) / std)


def normalisation_of(model: ModelFile, hints: ModelHints) -> Normalisation:
    """Return how a float model's input comes from pixels: raw where it has a card."""
    if hints.mean is not None and hints.std is not None:
        return Normalisation((hints.mean,) * 3, (hints.std,) * 3)
    metadata = model.metadata
    if model.card is None and metadata is not None and metadata.normalisation is not None:
        return metadata.normalisation
    return _RAW


def take_raw_pixels(flatbuffer: bytes, normalisation: Normalisation, path: Path) -> bytes:
    """Return a float32 network that takes raw pixels, for one picture at a time.

    Its input is normalised by a MUL and an ADD, which XNNPACK takes with the rest of it.

    Raises:
        ModelFileError: the model is quantized already.
    """
    model = unpack_model(flatbuffer)
    graph = model.subgraphs[0]
    kinds = {tensor.type for tensor in graph.tensors} - _FLOAT_KINDS
    if kinds:
        names = {value: name for name, value in vars(schema.TensorType).items()}
        raise ModelFileError(
            f"Expected a float32 model to quantize. Received: {path} with tensors of "
            f"{', '.join(sorted(names[kind].lower() for kind in kinds))}. Convert the model that "
            "it was made from."
        )
    return with_raw_pixels(flatbuffer, normalisation)


def with_raw_pixels(flatbuffer: bytes, normalisation: Normalisation) -> bytes:
    """Return a network with a float32 input that takes raw pixels, for one picture at a time."""
    model = unpack_model(flatbuffer)
    drop_unused(model)
    graph = model.subgraphs[0]
    for tensor in graph.tensors:
        # The batch that a converter left open is one picture here.
        tensor.shapeSignature = None
    _name_apart(graph.tensors)
    if normalisation != _RAW:
        _normalise(model, normalisation)
    return pack_model(model)


def file_scores(classifier: Classifier) -> Any:
    """Return the function from pixels uint8 (N, height, width, 3) to scores (N, classes)."""

    def scores(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        return np.stack([classifier.scores(one) for one in pixels])

    return scores


def open_float_file(model: ModelFile, hints: ModelHints) -> Classifier:
    """Load the file as the device would, with its own normalisation or the one that is given.

    Raises:
        ModelFileError: its input is not float32, or not RGB with the channels last.
    """
    classifier = Classifier(without_calibration(model), threads=count_cores(), hints=hints)
    if classifier.signature.input.dtype != np.float32:
        raise ModelFileError(
            f"Expected a float32 model to quantize. Received: {model.path} with an input of "
            f"{classifier.signature.input.dtype}. Convert the model that it was made from."
        )
    layout = classifier.signature.layout
    if layout.channels != len(_RAW.mean) or layout.channels_first:
        raise ModelFileError(
            "Expected an RGB model with the channels last to convert. Received: "
            f"{model.path} with an input of {list(classifier.signature.input.shape)}. Use the file "
            "as it is: classify, live, evaluate and benchmark take it."
        )
    return classifier


def _name_apart(tensors: list[Any]) -> None:
    """Give tensors names of their own, by which ai-edge-quantizer knows them."""
    taken: set[bytes] = set()
    for index, tensor in enumerate(tensors):
        if tensor.name in taken:
            tensor.name = b"%s_%d" % (tensor.name, index)
        taken.add(tensor.name)


def _normalise(model: Any, normalisation: Normalisation) -> None:
    """Put (pixel - mean) / std in front of the network, as pixel * (1 / std) + (-mean / std)."""
    graph = model.subgraphs[0]
    old = int(graph.inputs[0])
    mean, std = (np.array(values) for values in (normalisation.mean, normalisation.std))
    kind, shape = schema.TensorType.FLOAT32, graph.tensors[old].shape
    pixels = add_tensor(model, b"pixels", kind, shape)
    scaled = add_tensor(model, b"scaled", kind, shape)
    factor = _constant(model, b"factor", np.asarray(1 / std, np.float32))
    offset = _constant(model, b"offset", np.asarray(-mean / std, np.float32))
    steps = (
        (schema.BuiltinOperator.MUL, schema.BuiltinOptions.MulOptions, schema.MulOptionsT()),
        (schema.BuiltinOperator.ADD, schema.BuiltinOptions.AddOptions, schema.AddOptionsT()),
    )
    wires = ((pixels, factor, scaled), (scaled, offset, old))
    for position, ((code, option_kind, options), (left, right, result)) in enumerate(
        zip(steps, wires, strict=True)
    ):
        operator = schema.OperatorT()
        operator.opcodeIndex = operator_code(model, code)
        operator.inputs = np.array([left, right], np.int32)
        operator.outputs = np.array([result], np.int32)
        operator.builtinOptionsType, operator.builtinOptions = option_kind, options
        graph.operators.insert(position, operator)
    graph.inputs = np.array([pixels], np.int32)
    for signature in model.signatureDefs or []:
        for entry in signature.inputs:
            if entry.tensorIndex == old and signature.subgraphIndex == 0:
                entry.tensorIndex = pixels


def _constant(model: Any, name: bytes, values: NDArray[np.float32]) -> int:
    buffer = schema.BufferT()
    buffer.data = np.frombuffer(values.astype("<f4").tobytes(), np.uint8)
    model.buffers.append(buffer)
    shape = np.array([len(values)], np.int32)
    index = add_tensor(model, name, schema.TensorType.FLOAT32, shape)
    model.subgraphs[0].tensors[index].buffer = len(model.buffers) - 1
    return index
