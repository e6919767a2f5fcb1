"""What a third-party file needs before it is run, and what is done with what comes out of it.

Nothing here is imported for a file with a card.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from pocketlens.card import parse_labels
from pocketlens.choices import BINARY, MULTILABEL, NO_ACTIVATION, SIGMOID, SOFTMAX
from pocketlens.errors import ModelFileError, UsageError
from pocketlens.names import say_once
from pocketlens.runtime.answers import ACTIVATE
from pocketlens.runtime.flatbuffer import Table, builtin_code, with_ints
from pocketlens.runtime.metadata import Calibration, labels_in
from pocketlens.runtime.model_files import (
    ModelFile,
    Signature,
    Tensor,
    layout_of,
    named_text,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pocketlens.runtime.hints import ModelHints

# Rounding of a quantized score.
SCORE_TOLERANCE = 0.01

# Slots of https://github.com/tensorflow/tensorflow/blob/v2.21.0/tensorflow/compiler/mlir/lite/schema/schema.fbs
_CODES, _SUBGRAPHS, _BUFFERS, _SIGNATURES = 1, 2, 4, 7
_TENSORS, _INPUTS, _OUTPUTS, _OPERATORS = 0, 1, 2, 3
_SHAPE, _BUFFER, _NAME, _SHAPE_SIGNATURE = 0, 2, 3, 7

# Builtin operators, of the same schema.
_ADD, _CONV_2D, _DEQUANTIZE, _FULLY_CONNECTED, _LOGISTIC = 0, 3, 6, 9, 14
_RESHAPE, _SOFTMAX, _SQUEEZE, _EXPAND_DIMS, _QUANTIZE, _BATCH_MATMUL = 22, 25, 43, 70, 114, 126
_SAME_VALUES = (_DEQUANTIZE, _QUANTIZE, _RESHAPE, _SQUEEZE, _EXPAND_DIMS)
_MUL, _SUB, _DIV = 18, 41, 42
# What these give is bounded by nothing, and where the field of an activation after them is.
_PRODUCTS = {_CONV_2D: 3, _FULLY_CONNECTED: 0, _BATCH_MATMUL: None}

# Between the scales of pixels in 0-255 and of those in 0-1.
_PIXEL_SCALE = 32

_EDGE_TPU = "edgetpu-custom-op"
_FLEX = "Flex"

# As TFLite Support bounds what it takes the logarithm of.
_LEAST_SCORE = 1e-16


def complete(model: ModelFile, hints: ModelHints | None = None) -> ModelFile:
    """Return a third-party file as it can be run, with what hints say of its input and outputs.

    An open height and width become `image_size` and an open batch 1; of several outputs one stays;
    labels are those in the language of `locale`. A file with a card, or one that is complete,
    comes back as it is.

    Raises:
        ModelFileError: it was made for something else than a CPU, or its input has no shape.
        UsageError: a hint is missing, or does not go with the file.
    """
    if model.card is not None:
        return model
    root = Table.root(model.flatbuffer)
    _refuse_custom(model.path, root)
    subgraphs = root.tables(_SUBGRAPHS)
    if subgraphs:
        changes = {
            **_chosen_output(model.path, root, hints.output if hints else None),
            **_fixed_input(model.path, subgraphs[0], hints.image_size if hints else None),
        }
        if changes:
            model = model._replace(flatbuffer=with_ints(model.flatbuffer, changes))
    if hints is not None and hints.locale is not None:
        model = model._replace(labels=_labels_in(model, hints.locale))
    return model


def _refuse_custom(path: str, root: Table) -> None:
    names = [code.text(1) for code in root.tables(_CODES)]
    if _EDGE_TPU in names:
        raise ModelFileError(
            f"{path} is compiled for an Edge TPU: use the file without _edgetpu in its name."
        )
    flex = next((name for name in names if name.startswith(_FLEX)), None)
    if flex is not None:
        raise ModelFileError(
            f"{path} needs TensorFlow itself for its operator {flex.removeprefix(_FLEX)}: convert "
            "the original model again without SELECT_TF_OPS."
        )


def _chosen_output(path: str, root: Table, wanted: str | None) -> dict[int, list[int]]:
    graph = root.tables(_SUBGRAPHS)[0]
    outputs, tensors = graph.ints(_OUTPUTS), graph.tables(_TENSORS)
    place = graph.place(_OUTPUTS)
    if place is None or any(not 0 <= index < len(tensors) for index in outputs):
        return {}
    names = {index: [tensors[index].text(_NAME)] for index in outputs}
    for signature in root.tables(_SIGNATURES):
        for entry in signature.tables(1):
            if signature.number(4, "I") == 0 and entry.number(1, "I") in names:
                names[entry.number(1, "I")].insert(0, entry.text(0))
    if wanted is not None:
        found = [index for index, own in names.items() if wanted in own]
        if len(found) == 1:
            return {place: found} if len(outputs) > 1 else {}
    elif len(outputs) == 1:
        return {}
    known = ", ".join(
        f"{own[0]} {list(tensors[index].ints(_SHAPE))}" for index, own in names.items()
    )
    raise UsageError(
        f"Expected --output with the one of {path} that has the scores ({known}). "
        f"Received: {wanted or 'none'}."
    )


def _fixed_input(path: str, graph: Table, image_size: int | None) -> dict[int, list[int]]:
    inputs, tensors = graph.ints(_INPUTS), graph.tables(_TENSORS)
    if len(inputs) != 1 or not 0 <= inputs[0] < len(tensors):
        return {}
    tensor = tensors[inputs[0]]
    shape, place = list(tensor.ints(_SHAPE)), tensor.place(_SHAPE)
    if place is None or not shape:
        raise ModelFileError(
            f"{path} does not say how many dimensions its input has: convert the original model "
            "again with an input of [1, height, width, 3]."
        )
    signature = list(tensor.ints(_SHAPE_SIGNATURE)) or shape
    if len(signature) != len(shape):
        return {}
    layout = layout_of([side if side > 0 else -1 for side in signature])
    sides = (layout.height, layout.width) if layout.channels else ()
    fixed = [1 if side < 1 else side for side in signature]
    for axis in sides:
        if signature[axis] > 0 and image_size in (None, signature[axis]):
            continue
        if signature[axis] > 0:
            raise UsageError(
                f"Expected no --image-size for {path}, whose input is "
                f"{signature[layout.width]}x{signature[layout.height]}. Received: {image_size}."
            )
        if image_size is None:
            raise UsageError(
                f"Expected a size for the pictures of {path}, which takes any. Received: none. "
                "Add --image-size."
            )
        fixed[axis] = image_size
    if fixed == signature == shape:
        return {}
    places = (place, tensor.place(_SHAPE_SIGNATURE))
    return {place: fixed for place in places if place is not None}


def _labels_in(model: ModelFile, locale: str) -> tuple[str, ...]:
    files = model.metadata.label_files if model.metadata else ()
    name = labels_in(locale, files)
    if name is None:
        known = ", ".join(own for _, own in files if own) or "none"
        raise UsageError(
            f"Expected --locale as one of the languages of the labels in {model.path} ({known}). "
            f"Received: {locale}."
        )
    return parse_labels(named_text(model.texts, name))


def find_activation(model: ModelFile, interpreter: Any, signature: Signature, task: str) -> str:
    """Return what makes scores of a file's outputs: "none" where they are scores already.

    Its last operator says so, or else the range of a quantized output, or else what it answers.

    Args:
        model: the file.
        interpreter: the one that it is loaded in.
        signature: its input and output.
        task: what the scores mean; the logits of one class are independent of the others'.
    """
    last = _last_operator(model.flatbuffer)
    if last in (_SOFTMAX, _LOGISTIC):
        return NO_ACTIVATION
    if signature.output.scale:
        low, high = _range(signature.output)
    elif last in _PRODUCTS:
        low, high = -math.inf, math.inf
    else:
        low, high = answer_range(interpreter, signature)
    if low >= -SCORE_TOLERANCE and high <= 1 + SCORE_TOLERANCE:
        return NO_ACTIVATION
    activation = SIGMOID if task in (BINARY, MULTILABEL) or signature.classes == 1 else SOFTMAX
    say_once(
        f"{model.path} gives logits, so their {activation} is taken as scores. "
        "If that is wrong, set --activation."
    )
    return activation


def _last_operator(flatbuffer: bytes) -> int | None:
    """Return the builtin operator that calculates a model's outputs, None where it is not clear."""
    root = Table.root(flatbuffer)
    (graph, *_) = root.tables(_SUBGRAPHS)
    codes = _codes(root)
    buffers, tensors = root.tables(_BUFFERS), graph.tables(_TENSORS)

    def constant(index: int) -> bool:
        buffer = buffers[tensors[index].number(_BUFFER, "I")]
        return bool(buffer.vector(0, 1)[1] or buffer.number(2, "Q"))

    wanted = graph.ints(_OUTPUTS)[0]
    for operator in reversed(graph.tables(_OPERATORS)):
        if wanted not in operator.ints(2):
            continue
        code, inputs = codes[operator.number(0, "I")], operator.ints(1)
        if code in _SAME_VALUES:
            wanted = inputs[0]
        elif code == _ADD and sum(map(constant, inputs)) == 1 and not _activated(operator, 0):
            # A bias.
            wanted = next(index for index in inputs if not constant(index))
        elif code in _PRODUCTS and _activated(operator, _PRODUCTS[code]):
            return None
        else:
            return code
    return None


def _codes(root: Table) -> list[int]:
    return [builtin_code(code.number(0, "b"), code.number(3, "i")) for code in root.tables(_CODES)]


def _activated(operator: Table, slot: int | None) -> bool:
    options = operator.table(4)
    return slot is not None and options is not None and options.number(slot, "b") != 0


def _range(tensor: Tensor) -> tuple[float, float]:
    limits = np.iinfo(tensor.dtype)
    return (
        (limits.min - tensor.zero_point) * tensor.scale,
        (limits.max - tensor.zero_point) * tensor.scale,
    )


def answer_range(interpreter: Any, signature: Signature) -> tuple[float, float]:
    """Return the least and the greatest of what a model gives for an empty input and for noise."""
    tensor, output = signature.input, signature.output
    noise = np.random.default_rng(0).random(tensor.shape)
    if tensor.dtype != np.float32:
        noise = np.iinfo(tensor.dtype).min + 255 * noise
    answers = []
    for values in (np.zeros_like(noise), noise):
        interpreter.set_tensor(tensor.index, values.astype(tensor.dtype))
        interpreter.invoke()
        answer = interpreter.get_tensor(output.index).astype(np.float64)
        answers.append((answer - output.zero_point) * output.scale if output.scale else answer)
    return float(np.min(answers)), float(np.max(answers))


def scales_pixels(flatbuffer: bytes) -> bool:
    """Tell whether a model itself scales pixels in 0-255, so that it takes them as they are.

    It does where it first multiplies its input by about 1 / 255, divides it by about as much, or
    takes a mean of about half as much off: Keras's `Rescaling`, `Normalization` and
    `include_preprocessing`. Pixels in 0-1 or -1 to 1 would be nothing after that. A converter
    hides a factor alone in the first convolution, where nothing tells of it.
    """
    root = Table.root(flatbuffer)
    subgraphs = root.tables(_SUBGRAPHS)
    if not subgraphs:
        return False
    graph = subgraphs[0]
    tensors, buffers, codes = graph.tables(_TENSORS), root.tables(_BUFFERS), _codes(root)
    pixels = graph.ints(_INPUTS)[0]
    for operator in graph.tables(_OPERATORS):
        inputs = operator.ints(1)
        if pixels not in inputs:
            continue
        others = [index for index in inputs if index != pixels]
        if len(others) != 1 or tensors[others[0]].number(1, "b"):
            return False
        buffer = buffers[tensors[others[0]].number(_BUFFER, "I")]
        offset, size = buffer.number(1, "Q"), buffer.number(2, "Q")
        data = flatbuffer[offset : offset + size] if size else buffer.byte_vector(0)
        values = np.abs(np.frombuffer(data[: len(data) & ~3], "<f4"))
        if not 1 <= len(values) <= 3:
            return False
        code, low, high = codes[operator.number(0, "I")], values.min(), values.max()
        if code == _MUL:
            return bool(low > 0 and high <= 1 / _PIXEL_SCALE)
        return code in (_ADD, _SUB, _DIV) and bool(low >= _PIXEL_SCALE)
    return False


def without_calibration(model: ModelFile) -> ModelFile:
    """Return a file that gives the network's own scores, as what is made from it will; say so."""
    metadata = model.metadata
    if metadata is None or metadata.calibration is None:
        return model
    say_once(
        f"The score calibration in the metadata of {model.path} is left out: the files give the "
        "scores of the network itself."
    )
    return model._replace(metadata=dataclasses.replace(metadata, calibration=None))


def calibration_of(
    model: ModelFile, scores: int
) -> Callable[[NDArray[np.float32]], NDArray[np.float32]] | None:
    """Return the function that calibrates scores as a file's metadata says, None where it does not.

    A score s becomes scale / (1 + exp(-(slope * t(s) + offset))) by its line of "scale, slope,
    offset, least score"; the last may be missing. A label with an empty line, and a score below the
    least, get the default score. Source: ScoreCalibrationOptions in metadata_schema.fbs and
    score_calibration.cc of https://github.com/tensorflow/tflite-support.

    Raises:
        ModelFileError: the lines are not as many as the scores, or not such.
    """
    calibration = model.metadata.calibration if model.metadata else None
    if calibration is None:
        return None
    scale, slope, offset, least = _parameters(model, calibration, scores)

    def calibrate(values: NDArray[np.float32]) -> NDArray[np.float32]:
        found = scale * ACTIVATE[SIGMOID](slope * _transformed(values, calibration) + offset)
        known = np.where(values >= least, found, calibration.default_score)
        # What is not finite stays so, for the error that says so.
        return np.where(np.isfinite(values), known, values).astype(np.float32)

    return calibrate


def _parameters(model: ModelFile, calibration: Calibration, scores: int) -> NDArray[np.float64]:
    lines = named_text(model.texts, calibration.file).splitlines()
    rows = np.zeros((scores, 4))
    # Unless a line says otherwise, no score is high enough.
    rows[:, 3] = np.inf
    try:
        if len(lines) > scores:
            raise ValueError(f"{len(lines)} lines")
        for row, line in zip(rows, lines, strict=False):
            values = [float(value) for value in line.split(",") if value.strip()]
            if values:
                row[:] = values if len(values) == 4 else (*values, -np.inf)
    except ValueError as error:
        raise ModelFileError(
            f"Expected {scores} lines with a scale, a slope and an offset in {calibration.file} of "
            f"{model.path}. Received: {error}. The file is damaged: download it again."
        ) from error
    return rows.T


def _transformed(values: NDArray[np.float32], calibration: Calibration) -> NDArray[np.float64]:
    exact = values.astype(np.float64)
    if calibration.transformation == 1:
        return _log(exact)
    if calibration.transformation == 2:
        return _log(exact) - _log(1 - exact)
    return exact


def _log(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.log(np.maximum(values, _LEAST_SCORE)))
