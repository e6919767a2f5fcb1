"""Where a model to convert comes from: a run, or a file that others made."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from tensorflow.core.protobuf import saved_model_pb2

from pocketlens.card import ModelCard
from pocketlens.choices import NO_ACTIVATION
from pocketlens.convert.demands import KERAS_SUFFIX, SAVED_MODEL_NAME, check_kind, find_run
from pocketlens.convert.encoders import FloatModel
from pocketlens.convert.float_files import (
    file_scores,
    float_file,
    normalisation_of,
    open_float_file,
)
from pocketlens.convert.graphs import Graphs, trace, trace_function
from pocketlens.errors import ModelFileError, UsageError
from pocketlens.keras_files import load_keras_model, refuse_foreign
from pocketlens.quiet import quiet
from pocketlens.runtime.answers import describe, require_labels
from pocketlens.runtime.hints import ModelHints
from pocketlens.runtime.model_files import read_model_file
from pocketlens.runtime.runs import Run

# None stands for a side that is left open, or for all of them.
Shape = tuple[int | None, ...] | None


def picture_size(path: Path, shape: Shape, hints: ModelHints) -> tuple[int, int]:
    """Return width and height of the pictures that an input of this shape takes.

    Raises:
        ModelFileError: it takes no RGB pictures.
        UsageError: it takes any size and none is given, or another.
    """
    if shape is None or len(shape) != 4 or shape[3] not in (3, None) or shape[0] not in (1, None):
        refuse_model(path, f"an input of {_text(shape)}")
    height, width = shape[1:3]
    chosen = hints.image_size
    if height is None or width is None:
        if chosen is None:
            raise UsageError(
                f"Expected a size for the pictures of {path}, which takes any. Received: none. "
                "Add --image-size."
            )
        return chosen, chosen
    if chosen is not None and {height, width} != {chosen}:
        raise UsageError(
            f"Expected no --image-size for {path}, whose input is {width}x{height}. Received: "
            f"{chosen}. Leave it out."
        )
    return width, height


def count_classes(path: Path, shape: Shape) -> int:
    """Return how many scores an output of this shape holds.

    Raises:
        ModelFileError: it is not a row of scores.
    """
    if shape is None or len(shape) != 2 or not shape[1]:
        refuse_model(path, f"an output of {_text(shape)}")
    return shape[1]


def refuse_model(path: Path, received: str) -> NoReturn:
    """Raise ModelFileError for a model that is not an image classifier."""
    raise ModelFileError(
        "Expected an image classifier with one input [batch, height, width, 3] of float32 and one "
        f"output [batch, classes]. Received: {path} with {received}."
    )


def rescaling(hints: ModelHints) -> tuple[float, float]:
    """Return scale and offset of (pixel - mean) / std as pixel * scale + offset."""
    mean, std = hints.mean or 0.0, hints.std or 1.0
    return 1 / std, -mean / std


def choose_output(path: Path, names: Sequence[str], hints: ModelHints) -> str:
    """Return the name of the output that holds the scores.

    Raises:
        UsageError: there are several and none is chosen, or another than there are.
    """
    wanted = hints.output
    if wanted is None and len(names) == 1:
        return names[0]
    if wanted is None or wanted not in names:
        came = f"{len(names)} outputs" if wanted is None else f"--output {wanted}"
        raise UsageError(
            f"Expected one output of {path} to convert. Received: {came}. Choose with --output: "
            f"{', '.join(names)}."
        )
    return wanted


def _text(shape: Shape) -> str:
    if shape is None:
        return "any number of dimensions"
    return "[" + ", ".join("any" if side is None else str(side) for side in shape) + "]"


# What they are called by TensorFlow and Keras, by TensorFlow Hub, and by Keras beside the first.
_SIGNATURES = ("serving_default", "default", "serve")
_HEAD_BYTES = 64
# The operation that cannot be frozen.
_SETS_VARIABLE = "AssignVariableOp"
_MOST_REASON = 200
_BATCH = 32

# Operations of a SavedModel that reach beyond its own tensors: code of the machine and files.
_REFUSED_OPERATIONS = frozenset(
    {
        *("PyFunc", "PyFuncStateless", "EagerPyFunc", "RemoteCall", "LoadLibrary"),
        *("ReadFile", "WriteFile", "MatchingFiles", "TextLineReaderV2", "WholeFileReaderV2"),
        *("FixedLengthRecordReaderV2", "TFRecordReaderV2", "TextLineDataset", "TFRecordDataset"),
        *("SaveDataset", "SaveDatasetV2", "LoadDataset", "DatasetFromGraph", "PrintV2"),
    }
)


@dataclass(frozen=True)
class Origin:
    """A model to convert.

    `scores` are what it answers for pixels uint8 (N, height, width, 3): float32 (N, outputs).
    `float_model` makes what the formats are made from. `run` is the run that it is from.
    `activation` is what has to be appended to `float_model` for the same scores; None where photos
    have to show whether `scores` are scores or logits. `network` is the Keras model that takes raw
    pixels, of a `.keras` file.
    """

    card: ModelCard
    scores: Callable[[NDArray[np.uint8]], NDArray[np.float32]]
    float_model: Callable[[], FloatModel]
    run: Run | None = None
    activation: str | None = NO_ACTIVATION
    network: keras.Model | None = None


def read_origin(path: Path, hints: ModelHints) -> Origin:
    """Open a run folder, a `.keras` file, a SavedModel folder or a float32 `.tflite` file.

    Raises:
        UsageError: there is nothing of the kind, or the hints lack something or do not go with it.
        LabelsError: there are not as many labels as outputs.
        ModelFileError: it is not an image classifier, or nothing that can be loaded safely.
    """
    run = find_run(path)
    if run is not None:
        return _from_run(run, hints)
    check_kind(path)
    if path.is_dir():
        return _from_saved_model(path, hints)
    return (_from_keras if path.suffix == KERAS_SUFFIX else _from_float_file)(path, hints)


def _from_run(run: Run, hints: ModelHints) -> Origin:
    hints.refuse_beside_card(run.folder, but=())
    model = load_keras_model(run.model)
    return Origin(run.card, keras_scores(model), lambda: trace(model), run)


def _from_keras(path: Path, hints: ModelHints) -> Origin:
    model = load_keras_model(path)
    if not model.built:
        refuse_model(path, "layers that were never called and so have no shapes")
    if len(model.inputs) != 1:
        refuse_model(path, f"{len(model.inputs)} inputs")
    # A Sequential model has one output and no list of their names.
    names = getattr(model, "output_names", [model.layers[-1].name])
    chosen = choose_output(path, names, hints)
    # A Sequential model whose first layer has the shape has no `output` either.
    if not isinstance(getattr(model, "output", None), keras.KerasTensor):
        # Several, or one in a list or a dictionary.
        output = model.outputs[names.index(chosen)]
        model = keras.Model(model.inputs, output, name=model.name)
    size_wh = picture_size(path, tuple(model.inputs[0].shape), hints)
    classes = count_classes(path, tuple(model.outputs[0].shape))
    inside = _has_normalisation(model)
    if hints.mean is None and not inside:
        _refuse_unknown_pixels(path)
    pixels = keras.Input((size_wh[1], size_wh[0], 3), name="pixels")
    values = pixels
    if hints.mean is not None:
        scale, offset = rescaling(hints)
        values = keras.layers.Rescaling(scale, offset, name="normalisation")(pixels)
    with _one_sentence(path, f"a model for pictures of {size_wh[0]}x{size_wh[1]}"):
        wrapped = keras.Model(pixels, model(values), name="pocketlens")
    labels = require_labels(path, hints.read_labels())
    card = describe(path, size_wh, classes, labels=labels, hints=hints)
    return Origin(
        card, keras_scores(wrapped), lambda: trace(wrapped), activation=None, network=wrapped
    )


def _from_saved_model(path: Path, hints: ModelHints) -> Origin:
    for file in (path / SAVED_MODEL_NAME, *(path / "variables").glob("*")):
        with file.open("rb") as stream:
            refuse_foreign(file, stream.read(_HEAD_BYTES), "a part of a SavedModel")
    operations = _operations(path / SAVED_MODEL_NAME)
    refused = sorted(operations & _REFUSED_OPERATIONS)
    if refused:
        raise ModelFileError(
            f"Expected a SavedModel that only computes. Received: {path} with "
            f"{', '.join(refused)}, which can run code or reach files. Export the network alone."
        )
    with _one_sentence(path, "a SavedModel"):
        loaded = tf.saved_model.load(str(path))
    function = _signature(path, loaded.signatures)
    inputs, outputs = function.structured_input_signature[1], function.structured_outputs
    if len(inputs) != 1:
        refuse_model(path, f"{len(inputs)} inputs")
    ((input_name, spec),) = inputs.items()
    output_name = choose_output(path, list(outputs), hints)
    if spec.dtype != tf.float32:
        refuse_model(path, f"an input of {spec.dtype.name}")
    size_wh = picture_size(path, _shape(spec), hints)
    if hints.mean is None:
        _refuse_unknown_pixels(path)
    scale, offset = rescaling(hints)

    def network(values: Any) -> Any:
        return function(**{input_name: values})[output_name]

    with _one_sentence(path, f"a SavedModel for pictures of {size_wh[0]}x{size_wh[1]}"):
        graphs = trace_function(network, size_wh, scale, offset)
    # Known for pictures of this size, also where the signature leaves it open.
    classes = count_classes(path, _shape(graphs.pixels.outputs[0]))
    labels = require_labels(path, hints.read_labels())
    card = describe(path, size_wh, classes, labels=labels, hints=hints)
    return Origin(card, _graph_scores(graphs), lambda: graphs, activation=None)


@contextlib.contextmanager
def _one_sentence(path: Path, expected: str) -> Iterator[None]:
    """Turn whatever TensorFlow or Keras raises about a model into a ModelFileError."""
    try:
        with quiet():
            yield
    except Exception as error:
        reason = " ".join(str(error).split())
        advice = "Export it again."
        if _SETS_VARIABLE in reason:
            reason = "a graph that sets variables, as augmentation layers do"
            advice = "Convert the .keras file, or export the model without them."
        raise ModelFileError(
            f"Expected {expected} at {path}. Received: {reason[:_MOST_REASON]}. {advice}"
        ) from error


def _signature(path: Path, signatures: Mapping[str, Any]) -> Any:
    """Return the function to convert: by its usual names, or the only one there is."""
    for name in (*_SIGNATURES, *(signatures if len(signatures) == 1 else ())):
        if name in signatures:
            return signatures[name]
    came = f"the signatures {', '.join(signatures)}" if signatures else "no signature"
    refuse_model(path, came)


def _shape(tensor: Any) -> Shape:
    return None if tensor.shape.rank is None else tuple(tensor.shape)


def _from_float_file(path: Path, hints: ModelHints) -> Origin:
    classifier = open_float_file(read_model_file(path), hints)
    # With the size and the output that the hints say.
    model, card = classifier.model, classifier.card
    require_labels(path, hints.read_labels() or model.labels)
    found = float_file(model.flatbuffer, normalisation_of(model, hints), path)
    return Origin(card, file_scores(classifier), lambda: found, activation=card.activation)


def keras_scores(model: keras.Model) -> Callable[[NDArray[np.uint8]], NDArray[np.float32]]:
    """Return the function from pixels uint8 (N, height, width, 3) to outputs float32 (N, …)."""

    def scores(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        parts = (
            # A novelty comes behind the scores.
            tf.nest.flatten(
                model.predict_on_batch(pixels[start : start + _BATCH].astype(np.float32))
            )[0]
            for start in range(0, len(pixels), _BATCH)
        )
        return np.concatenate([np.asarray(part, np.float32) for part in parts])

    return scores


def _graph_scores(graphs: Graphs) -> Callable[[NDArray[np.uint8]], NDArray[np.float32]]:
    def scores(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        rows = (graphs.pixels(tf.constant(one[None], tf.float32)) for one in pixels)
        return np.concatenate([np.asarray(tf.nest.flatten(row)[0], np.float32) for row in rows])

    return scores


def _refuse_unknown_pixels(path: Path) -> None:
    raise UsageError(
        f"Expected the normalization of {path}, a third-party model. Received: none. Add --mean "
        "and --std, for example --mean 127.5 --std 127.5 if it takes pixels in -1 to 1, or "
        "--mean 0 --std 1 if it takes them as they are, 0 to 255."
    )


def _has_normalisation(model: keras.Model) -> bool:
    kinds = (keras.layers.Rescaling, keras.layers.Normalization)
    return any(
        _has_normalisation(layer) if isinstance(layer, keras.Model) else isinstance(layer, kinds)
        for layer in model.layers
    )


def _operations(path: Path) -> set[str]:
    """Return the names of all operations in a SavedModel, read without running any."""
    saved = saved_model_pb2.SavedModel()
    try:
        saved.ParseFromString(path.read_bytes())
    except Exception as error:  # The parser's own class differs between its versions.
        raise ModelFileError(
            f"Expected a SavedModel in {path}. Received: {' '.join(str(error).split())}. "
            "Export it again."
        ) from error
    names: set[str] = set()
    for graph in saved.meta_graphs:
        names.update(node.op for node in graph.graph_def.node)
        for function in graph.graph_def.library.function:
            names.update(node.op for node in function.node_def)
    return names
