"""What `inspect` finds in a file."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pocketlens.archive import append_archive
from pocketlens.errors import ModelFileError, UsageError
from pocketlens.runtime.hints import ModelHints
from pocketlens.runtime.inspection import find_slow_parts, inspect
from pocketlens.runtime.model_files import read_model_file
from pocketlens.runtime.operators import Operator, list_operators

FORMATS = ("float32", "float16", "dynamic", "weights8", "int8")


class FakeInterpreter:
    """A plan of operators: name, inputs, outputs; and tensors: shape, dtype."""

    def __init__(self, plan: list[tuple[str, list[int], list[int]]], tensors: list[Any]) -> None:
        self._plan, self._tensors = plan, tensors

    def _get_ops_details(self) -> list[dict[str, Any]]:
        return [
            {"index": index, "op_name": name, "inputs": inputs, "outputs": outputs}
            for index, (name, inputs, outputs) in enumerate(self._plan)
        ]

    def get_tensor_details(self) -> list[dict[str, Any]]:
        return [
            {"index": index, "shape": np.array(shape), "dtype": dtype}
            for index, (shape, dtype) in enumerate(self._tensors)
        ]


F, I8 = np.float32, np.int8
TENSORS = [
    ((1, 8, 8, 3), F),  # 0: the picture
    ((16, 3, 3, 3), F),  # 1: a convolution's kernel
    ((16,), F),  # 2: its bias
    ((1, 4, 4, 16), F),  # 3: what comes out of it
    ((1, 5, 5, 16), F),  # 4: a depthwise kernel
    ((1, 4, 4, 16), F),  # 5: what comes out of it
    ((1, 16), F),  # 6: the mean
    ((10, 16), I8),  # 7: a dense kernel in 8 bits
    ((1, 10), F),  # 8: scores
    ((2,), np.int32),  # 9: axes
]
PLAN = [
    ("CONV_2D", [0, 1, 2], [3]),
    ("DEPTHWISE_CONV_2D", [3, 4, -1], [5]),
    ("MEAN", [5, 9], [6]),
    ("FULLY_CONNECTED", [6, 7, -1], [8]),
]


def test_work_of_each_layer_counted_by_hand() -> None:
    operators, pieces = list_operators(FakeInterpreter(PLAN, TENSORS))
    assert pieces == 0
    assert [o.macs for o in operators] == [4 * 4 * 16 * 3 * 3 * 3, 4 * 4 * 16 * 5 * 5, 0, 160]
    assert [o.parameters for o in operators] == [16 * 27 + 16, 400, 0, 160]
    assert [o.arithmetic for o in operators] == ["float32", "float32", "", "dynamic"]
    assert [o.values for o in operators] == [256, 256, 16, 10]
    assert not any(o.delegated for o in operators)


def test_shared_weights_are_counted_once() -> None:
    plan = [("FULLY_CONNECTED", [6, 7, -1], [8]), ("FULLY_CONNECTED", [6, 7, -1], [8])]
    operators, _ = list_operators(FakeInterpreter(plan, TENSORS))
    assert [o.macs for o in operators] == [160, 160]
    assert [o.parameters for o in operators] == [160, 0]


@pytest.mark.parametrize(
    ("pieces", "delegated"),
    [
        ([], []),
        ([([0, 1, 2, 4, 7, 9], [8])], ["CONV_2D", "DEPTHWISE_CONV_2D", "MEAN", "FULLY_CONNECTED"]),
        ([([0, 1, 2], [3]), ([5, 7, 9], [8])], ["CONV_2D", "MEAN", "FULLY_CONNECTED"]),
        ([([3, 4], [5])], ["DEPTHWISE_CONV_2D"]),
    ],
    ids=["none", "all", "all but the middle", "the middle"],
)
def test_which_operators_are_delegated(
    pieces: list[tuple[list[int], list[int]]], delegated: list[str]
) -> None:
    plan = PLAN + [("DELEGATE", inputs, outputs) for inputs, outputs in pieces]
    operators, count = list_operators(FakeInterpreter(plan, TENSORS))
    assert count == len(pieces)
    assert [o.name for o in operators if o.delegated] == delegated


@pytest.mark.usefixtures("one_piece")
@pytest.mark.parametrize("entry", FORMATS)
def test_converted_file(tiny_models: dict[str, Path], entry: str) -> None:
    inspection = inspect(tiny_models[entry])
    assert inspection.input.shape == (1, 96, 96, 3)
    assert inspection.output.shape == (1, 3)
    assert inspection.labels == ("circle", "cross", "stripes")
    assert inspection.card is not None
    assert inspection.card.format == entry
    assert inspection.sha256_holds is True
    assert inspection.metadata is not None
    assert inspection.metadata.name == "tiny"
    assert inspection.pixels == "raw RGB, 0 to 255, resized by: stretch"
    assert inspection.partitions == 1
    assert inspection.counts["DEPTHWISE_CONV_2D"] == 17
    assert "DELEGATE" not in inspection.counts
    assert inspection.undelegated == ({"QUANTIZE": 1, "SOFTMAX": 1} if entry == "int8" else {})
    # Keras counts 410,208 without the head, of which BatchNorm's four numbers for each of 7,040
    # channels fold into one; the head has a kernel and a bias for each of 3 classes.
    assert inspection.parameters == 410_208 - 3 * 7_040 + 1280 * 3 + 3
    other = inspect(tiny_models["float32"])
    assert sum(inspection.macs.values()) == sum(other.macs.values())


def test_arithmetic_of_the_formats(tiny_models: dict[str, Path]) -> None:
    kinds = {entry: set(inspect(tiny_models[entry]).macs) for entry in FORMATS}
    assert kinds.pop("dynamic") == {"dynamic", "float32"}
    assert kinds.pop("int8") == {"int8"}
    assert set(map(frozenset, kinds.values())) == {frozenset({"float32"})}


def test_json_is_plain(tiny_models: dict[str, Path]) -> None:
    values = json.loads(json.dumps(inspect(tiny_models["int8"]).to_json()))
    assert values["schema_version"] == 1
    assert values["input"]["quantization"]["zero_point"] in (127, 128)
    assert values["card"]["labels"] == ["circle", "cross", "stripes"]
    assert values["sha256_holds"] is True
    floats = inspect(tiny_models["float32"]).to_json()
    assert floats["input"]["quantization"] is None


def without_metadata(path: Path, target: Path) -> Path:
    """Write a file's model without its card, and its metadata where nobody looks for it."""
    flatbuffer = read_model_file(path).flatbuffer
    target.write_bytes(flatbuffer.replace(b"TFLITE_METADATA", b"TFLITE_METADATO"))
    return target


def test_third_party_file(tiny_models: dict[str, Path], tmp_path: Path) -> None:
    path = tmp_path / "model.tflite"
    flatbuffer = read_model_file(tiny_models["float32"]).flatbuffer
    path.write_bytes(append_archive(flatbuffer, {"labels.txt": b"a\nb\nc\n"}))
    inspection = inspect(path)
    assert (inspection.card, inspection.sha256_holds) == (None, None)
    assert inspection.labels == ("a", "b", "c")
    assert inspection.pixels == "RGB as (pixel - 0) / 1, says its metadata"
    (tmp_path / "two.txt").write_text("a\nb\n")
    inspection = inspect(path, ModelHints(labels=tmp_path / "two.txt"))
    assert inspection.labels == ("a", "b")
    assert "2 labels for 3 scores" in inspection.findings[0]
    assert inspect(path, ModelHints(mean=1, std=2)).pixels == "RGB as (pixel - 1) / 2, as you say"


def test_float_file_that_scales_its_pixels_itself(
    tiny_models: dict[str, Path], tmp_path: Path
) -> None:
    inspection = inspect(without_metadata(tiny_models["float32"], tmp_path / "model.tflite"))
    assert (inspection.metadata, inspection.labels) == (None, None)
    assert inspection.pixels == "raw RGB, 0 to 255, which it scales itself"
    assert "no labels" in inspection.findings[0]


def test_model_of_the_shared_material(elsewhere_model: Path) -> None:
    inspection = inspect(elsewhere_model)
    assert inspection.labels is not None
    assert len(inspection.labels) == 1001
    assert inspection.card is None
    assert "uint8 inputs" in inspection.pixels
    # Howard et al. 2017 give 14 million multiply-adds and 0.5 million parameters for it.
    assert sum(inspection.macs.values()) == pytest.approx(14e6, rel=0.05)
    assert inspection.parameters == pytest.approx(0.5e6, rel=0.1)


def test_other_model_than_the_cards(tiny_models: dict[str, Path], tmp_path: Path) -> None:
    data = bytearray(tiny_models["int8"].read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "model.tflite").write_bytes(data)
    with pytest.raises(ModelFileError, match="SHA-256"):
        inspect(tmp_path / "model.tflite")


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="Received: nothing there"):
        inspect(tmp_path / "model.tflite")


CONV = Operator("CONV_2D", True, 900, 10, "int8", 90)
SOFTMAX = Operator("SOFTMAX", True, 0, 0, "", 10)


def outside(operator: Operator) -> Operator:
    return dataclasses.replace(operator, delegated=False)


@pytest.mark.parametrize(
    ("operators", "partitions", "texts"),
    [
        ([CONV, SOFTMAX], 1, []),
        ([outside(CONV), outside(SOFTMAX)], 0, ["runs none"]),
        (
            [CONV, outside(SOFTMAX)],
            1,
            ["1 SOFTMAX. It holds none of the multiply-adds and writes 10 % of all values"],
        ),
        (
            [CONV, outside(dataclasses.replace(CONV, macs=100)), SOFTMAX],
            2,
            ["2 partitions and leaves 1 of 3 operators", "It holds 10 % of the multiply-adds"],
        ),
        (
            [dataclasses.replace(CONV, arithmetic="float32"), SOFTMAX],
            1,
            ["All of the multiply-adds are computed in float32"],
        ),
        (
            [dataclasses.replace(CONV, arithmetic="float32"), CONV, CONV],
            1,
            [],
        ),
    ],
    ids=["nothing", "none delegated", "one outside", "two pieces", "float", "a little float"],
)
def test_findings(operators: list[Operator], partitions: int, texts: list[str]) -> None:
    findings = find_slow_parts(operators, partitions)
    assert len(findings) == len(texts)
    for finding, text in zip(findings, texts, strict=True):
        assert text in finding
