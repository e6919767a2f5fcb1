"""Choosing the int8 file: candidates, layers in float, the table of layers."""

from typing import Any

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="conversion needs the train extra")

from pocketlens.card import ModelCard
from pocketlens.convert.comparison import Reference
from pocketlens.convert.encoders import Encoder
from pocketlens.convert.formats import check_promise
from pocketlens.convert.int8 import EDGE, TENSORFLOW
from pocketlens.convert.search import choose_int8
from pocketlens.convert.sensitivity import measure_sensitivity
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
@pytest.mark.parametrize("maker", [TENSORFLOW, EDGE])
def test_every_candidate_keeps_the_promise(
    rough_encoder: Encoder, reference: Reference, maker: str, in_float: list[int]
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
    candidate = next(c for c in rough_encoder.candidates() if c.quantizer == maker)
    flatbuffer = rough_encoder.int8(candidate, [names[index] for index in in_float])
    assert float_convolutions(flatbuffer) == len(in_float)
    file = ModelFile("x.tflite", flatbuffer, len(flatbuffer), None, LABELS)
    with Classifier(file) as classifier:
        check_promise(
            "int8",
            classifier.signature,
            describe_operators(classifier.interpreter),
            lambda pixel: pixel / 127.5 - 1,
            in_float=bool(in_float),
        )
    assert np.abs(run(flatbuffer, reference) - reference.scores).max() < 0.1


def test_the_nearest_is_taken(rough_encoder: Encoder, reference: Reference) -> None:
    choice = choose_int8(rough_encoder, reference, run, max_drop=100)
    distances = [trial.comparison.distance for trial in choice.trials]
    assert len(distances) == len(rough_encoder.candidates())
    # Another way may be nearer by chance, by next to nothing.
    assert distances[0] == pytest.approx(min(distances), rel=0.01)
    assert choice.candidate == choice.trials[0].candidate
    # Plain rounding is off by what it adds on average.
    assert choice.candidate.corrected
    assert not choice.trials[-1].candidate.corrected
    assert not choice.float_layers
    assert choice.flatbuffer == rough_encoder.int8(choice.candidate)


def test_the_usual_one_stays_where_chance_makes_another_nearer(
    rough_encoder: Encoder, reference: Reference
) -> None:
    usual = rough_encoder.candidates()[0]
    usual_file = rough_encoder.int8(usual)

    def answers(chance: float) -> Any:
        """Return what gives all others scores that are nearer by 0.01 on average."""
        noise = np.random.default_rng(0).normal(0, chance, len(reference.pixels))

        def scores(flatbuffer: bytes, told: Reference) -> np.ndarray:
            others = 0.09 + noise - noise.mean()
            added = np.full_like(noise, 0.1) if flatbuffer == usual_file else others
            return told.scores + added[:, None] * np.array([1, 0, 0])

        return scores

    for chance, stays in ((0.05, True), (0.001, False)):
        choice = choose_int8(rough_encoder, reference, answers(chance), max_drop=100)
        assert (choice.candidate == usual) == stays
        assert choice.trials[0].candidate == choice.candidate


def test_without_the_search_the_first_is_taken(
    rough_encoder: Encoder, reference: Reference
) -> None:
    choice = choose_int8(rough_encoder, reference, run, max_drop=0, search=False)
    assert choice.candidate == rough_encoder.candidates()[0]
    assert not choice.trials


@pytest.mark.parametrize(("needed", "kept"), [(1, 1), (2, 2), (3, 4)])
def test_layers_stay_in_float_until_the_limit_holds(
    rough_encoder: Encoder, reference: Reference, needed: int, kept: int
) -> None:
    def worse(flatbuffer: bytes, told: Reference) -> np.ndarray:
        """Answer wrongly as long as fewer layers than needed are in float."""
        scores = told.scores if told.pixels is not reference.pixels else reference.scores
        return scores if float_convolutions(flatbuffer) >= needed else np.roll(scores, 1, axis=1)

    choice = choose_int8(rough_encoder, reference, worse, max_drop=1)
    assert len(choice.float_layers) == kept
    assert float_convolutions(choice.flatbuffer) == kept
    assert list(choice.float_layers) == [row.layer for row in choice.sensitivity][:kept]
    assert np.isfinite(choice.float_cost_ms)


def test_every_layer_is_measured(rough_encoder: Encoder, reference: Reference) -> None:
    candidate = rough_encoder.candidates()[-1]
    table = measure_sensitivity(rough_encoder, candidate, reference, run)
    assert len({row.layer for row in table}) == 4
    errors = [row.error_added for row in table]
    assert errors == sorted(errors, reverse=True)
    # Plain biases: at least the layer that hurts most must win something in float.
    assert errors[0] > 0
    assert np.isfinite([row.time_saved_ms for row in table]).all()
