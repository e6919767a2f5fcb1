"""The int8 file: what it promises, layers in float, the table of layers."""

from typing import Any

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="conversion needs the train extra")

from pocketlens.card import ModelCard
from pocketlens.convert.encoders import Encoder
from pocketlens.convert.float_layers import make_int8, measure_sensitivity
from pocketlens.convert.formats import check_promise
from pocketlens.evaluation.agreement import Reference
from pocketlens.runtime.interpreters import load_interpreter
from pocketlens.runtime.operators import describe_operators

LABELS = ("a", "b", "c")
CARD = ModelCard("x", LABELS, (32, 32))


def float_convolutions(flatbuffer: bytes) -> int:
    counts = describe_operators(load_interpreter(flatbuffer)).float_counts
    return sum(counts.get(name, 0) for name in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"))


def run(flatbuffer: bytes, reference: Reference) -> np.ndarray:
    interpreter = load_interpreter(flatbuffer)
    entry, answer = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    scale, zero_point = answer["quantization"]
    rows = []
    for photo in reference.pixels:
        interpreter.set_tensor(entry["index"], photo[None])
        interpreter.invoke()
        rows.append(interpreter.get_tensor(answer["index"])[0].astype(np.float32))
    return (np.array(rows) - zero_point) * np.float32(scale)


@pytest.fixture(scope="module")
def reference(rough_network: Any, photos: list[np.ndarray]) -> Reference:
    scores = rough_network.predict(np.stack(photos).astype(np.float32), verbose=0)
    return Reference(photos, [(int(i),) for i in scores.argmax(axis=1)], scores, CARD)


@pytest.mark.parametrize("in_float", [[], [0], [1, 2], [0, 1, 2, 3]], ids=str)
def test_promise_is_kept_with_layers_in_float(
    rough_encoder: Encoder, reference: Reference, in_float: list[int]
) -> None:
    from tensorflow.lite.python import schema_py_generated as schema

    from pocketlens.convert.statistics import weighted_layers
    from pocketlens.runtime.classifier import Classifier
    from pocketlens.runtime.model_files import ModelFile

    model = schema.ModelT.InitFromPackedBuf(rough_encoder.normalised, 0)
    names = [
        model.subgraphs[0].tensors[operator.outputs[0]].name.decode()
        for operator, _ in weighted_layers(model)
    ]
    flatbuffer = rough_encoder.int8([names[index] for index in in_float])
    assert float_convolutions(flatbuffer) == len(in_float)
    file = ModelFile("x.tflite", flatbuffer, len(flatbuffer), None, LABELS)
    with Classifier(file) as classifier:
        check_promise("int8", classifier.signature, lambda pixel: pixel / 127.5 - 1)
        assert describe_operators(classifier.interpreter).partitions == 1
    assert np.abs(run(flatbuffer, reference) - reference.scores).max() < 0.1


def test_within_the_limit_nothing_stays_in_float(
    rough_encoder: Encoder, reference: Reference
) -> None:
    made = make_int8(rough_encoder, reference, run, max_drop=100)
    assert made.flatbuffer == rough_encoder.int8()
    assert not made.float_layers
    assert not made.sensitivity


def test_sensitivity_is_measured_within_the_limit_too(
    rough_encoder: Encoder, reference: Reference
) -> None:
    made = make_int8(rough_encoder, reference, run, max_drop=100, sensitivity=True)
    assert made.flatbuffer == rough_encoder.int8()
    assert not made.float_layers
    assert len(made.sensitivity) == 4


def test_the_one_that_loses_least_is_taken_where_none_keeps_the_limit(
    rough_encoder: Encoder, reference: Reference
) -> None:
    def worse(flatbuffer: bytes, told: Reference) -> np.ndarray:
        """Answer half of the photos wrongly, but for two layers in float all."""
        scores = told.scores.copy()
        wrong = len(scores) // (2 if float_convolutions(flatbuffer) == 2 else 1)
        scores[:wrong] = np.roll(scores[:wrong], 1, axis=1)
        return scores

    made = make_int8(rough_encoder, reference, worse, max_drop=1)
    assert float_convolutions(made.flatbuffer) == len(made.float_layers) == 2


@pytest.mark.parametrize(("needed", "kept"), [(1, 1), (2, 2), (3, 4)])
def test_layers_stay_in_float_until_the_limit_holds(
    rough_encoder: Encoder, reference: Reference, needed: int, kept: int
) -> None:
    def worse(flatbuffer: bytes, told: Reference) -> np.ndarray:
        """Answer wrongly as long as fewer layers than needed are in float."""
        scores = told.scores if told.pixels is not reference.pixels else reference.scores
        return scores if float_convolutions(flatbuffer) >= needed else np.roll(scores, 1, axis=1)

    made = make_int8(rough_encoder, reference, worse, max_drop=1)
    assert len(made.float_layers) == kept
    assert float_convolutions(made.flatbuffer) == kept
    assert list(made.float_layers) == [row.layer for row in made.sensitivity][:kept]
    assert np.isfinite(made.float_cost_ms)


def test_every_layer_is_measured(rough_encoder: Encoder, reference: Reference) -> None:
    table = measure_sensitivity(rough_encoder, reference, run)
    assert len({row.layer for row in table}) == 4
    errors = [row.error_added for row in table]
    assert errors == sorted(errors, reverse=True)
    few = reference.thinned(32)
    plain, mixed = (
        few.compare(run(rough_encoder.int8(layers), few)).distance
        for layers in ([], [table[0].layer])
    )
    assert errors[0] == pytest.approx(plain - mixed, abs=1e-7)
    assert np.isfinite([row.time_saved_ms for row in table]).all()
