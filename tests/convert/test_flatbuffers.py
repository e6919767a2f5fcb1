"""Models taken apart and packed again."""

import pytest

pytest.importorskip("tensorflow", reason="needs the train extra")

from tensorflow.lite.python import schema_py_generated as schema

from pocketlens.card import unpack
from pocketlens.convert.encoders import mixed_recipe
from pocketlens.convert.flatbuffers import operator_code, pack_model, unpack_model
from pocketlens.convert.statistics import weighted_layers


@pytest.fixture
def flatbuffer(tiny_models):
    return unpack(tiny_models["float32"].read_bytes()).flatbuffer


def as_before_2_4(flatbuffer: bytes) -> bytes:
    """Return a model with its operator codes as TensorFlow before 2.4 wrote them."""
    model = unpack_model(flatbuffer)
    for code in model.operatorCodes:
        code.deprecatedBuiltinCode, code.builtinCode = code.builtinCode, 0
    return pack_model(model)


def test_operator_codes_from_before_tensorflow_2_4(flatbuffer):
    old, new = unpack_model(as_before_2_4(flatbuffer)), unpack_model(flatbuffer)
    codes = [code.builtinCode for code in new.operatorCodes]
    assert [code.builtinCode for code in old.operatorCodes] == codes
    found = [code for _, code in weighted_layers(old)]
    assert found == [code for _, code in weighted_layers(new)] != []
    assert mixed_recipe(as_before_2_4(flatbuffer)) == mixed_recipe(flatbuffer)


def test_a_new_operator_code_is_written_for_readers_of_both_fields(flatbuffer):
    model = unpack_model(flatbuffer)
    for builtin in (schema.BuiltinOperator.TANH, schema.BuiltinOperator.GELU):
        index = operator_code(model, builtin)
        assert operator_code(model, builtin) == index
    codes = unpack_model(pack_model(model)).operatorCodes
    assert [(c.builtinCode, c.deprecatedBuiltinCode) for c in codes[-2:]] == [
        (schema.BuiltinOperator.TANH, schema.BuiltinOperator.TANH),
        (schema.BuiltinOperator.GELU, 127),
    ]
