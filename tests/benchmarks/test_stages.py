"""What operators take: where a model can be cut, and that the parts add up to the whole."""

import gc

import numpy as np
import pytest

from pocketlens.benchmarks.stages import find_cuts, shorten, time_stages
from pocketlens.errors import ModelFileError
from pocketlens.runtime.interpreters import load_interpreter
from pocketlens.runtime.model_files import read_model_file
from pocketlens.runtime.operators import Operator, list_operators

IMAGE, KERNEL = 0, 99


def graph(*edges):
    """Operators of pairs of (inputs, output)."""
    return [Operator("OP", True, 0, 0, "", 1, inputs, (output,)) for inputs, output in edges]


@pytest.mark.parametrize(
    ("operators", "cuts"),
    [
        pytest.param(graph(((0, 99), 1), ((1, 99), 2), ((2,), 3)), [0, 1, 2], id="a chain"),
        pytest.param(
            graph(((0,), 1), ((1,), 2), ((1, 2), 3), ((3,), 4)), [0, 1, 2, 3], id="a skip"
        ),
        pytest.param(
            graph(((0,), 1), ((1,), 2), ((1,), 3), ((2, 3), 4)), [0, 1, 3], id="two branches"
        ),
        pytest.param(
            graph(((99,), 1), ((0, 1), 2), ((98,), 3), ((2, 3), 4)), [1, 3], id="unpacked weights"
        ),
    ],
)
def test_cuts_are_where_everything_before_is_needed(operators, cuts):
    assert find_cuts(operators, [IMAGE]) == cuts


@pytest.mark.parametrize("kind", ["float32", "float16", "dynamic", "int8"])
def test_shortened_models_give_what_the_whole_one_has_there(tiny_models, kind):
    flatbuffer = read_model_file(tiny_models[kind]).flatbuffer
    operators, _ = list_operators(load_interpreter(flatbuffer))
    cuts = find_cuts(operators, [0])
    half = cuts[len(cuts) // 2]
    part = load_interpreter(shorten(flatbuffer, half + 1, operators[half].outputs[0]))
    assert [entry["index"] for entry in part.get_output_details()] == [operators[half].outputs[0]]
    names = [operator.name for operator in list_operators(part)[0]]
    assert names == [operator.name for operator in operators[: half + 1]]
    whole = load_interpreter(shorten(flatbuffer, len(operators), operators[-1].outputs[0]))
    original = load_interpreter(flatbuffer)
    answers = []
    for interpreter in (whole, original):
        entry = interpreter.get_input_details()[0]
        noise = np.random.default_rng(0).integers(0, 256, entry["shape"]).astype(entry["dtype"])
        interpreter.set_tensor(entry["index"], noise)
        interpreter.invoke()
        answers.append(interpreter.get_tensor(interpreter.get_output_details()[0]["index"]))
    np.testing.assert_array_equal(*answers)


@pytest.fixture
def _little_to_collect():
    """Leave out what earlier tests have imported: each of 65 timings collects garbage first."""
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.mark.real_time
@pytest.mark.usefixtures("_little_to_collect")
def test_parts_hold_every_operator_once_and_add_up_to_the_whole(tiny_models):
    flatbuffer = read_model_file(tiny_models["float32"]).flatbuffer
    operators, _ = list_operators(load_interpreter(flatbuffer))
    stages = time_stages(flatbuffer, load_interpreter)
    assert [name for stage in stages for name in stage.operators] == [o.name for o in operators]
    assert sum(stage.macs for stage in stages) == sum(o.macs for o in operators)
    assert all(stage.time_ms >= 0 for stage in stages)
    convolutions = sum(s.time_ms for s in stages if s.kind.endswith("CONV_2D"))
    assert convolutions > 0.5 * sum(stage.time_ms for stage in stages)


def test_damage_is_refused(tiny_models):
    flatbuffer = read_model_file(tiny_models["float32"]).flatbuffer
    with pytest.raises(ModelFileError):
        shorten(b"\xff" * len(flatbuffer), 1, 1)
