"""A loaded model's operators: which of them XNNPACK runs, and what each has to multiply.

This is the only module that reads the interpreter's plan.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

_DELEGATE = "DELEGATE"

# Operators with a kernel of weights as their second input, and the axis of the kernel along which
# the outputs lie: https://ai.google.dev/edge/litert/models/quantization_spec names the layouts.
_OUTPUT_AXIS = {"CONV_2D": 0, "FULLY_CONNECTED": 0, "DEPTHWISE_CONV_2D": 3}


@dataclass(frozen=True)
class Operator:
    """One operator of a model.

    `delegated` says whether XNNPACK runs it. `macs` are its multiply-adds for one picture and
    `parameters` the numbers of its kernel and bias, both 0 where it has no kernel. `arithmetic` is
    what it multiplies in ("float32", "int8", "dynamic" for int8 after quantizing a float input),
    "" where it has no kernel. `values` is how many numbers it writes; `inputs` and `outputs` are
    the indices of its tensors. `float32` says whether one of these is in float32.
    """

    name: str
    delegated: bool
    macs: int
    parameters: int
    arithmetic: str
    values: int
    inputs: tuple[int, ...] = ()
    outputs: tuple[int, ...] = ()
    float32: bool = False


class Operators(NamedTuple):
    """What a loaded model consists of, as the interpreter runs it.

    `counts` maps each operator's name to how often it stands in the file. `float_counts` counts
    those that touch a float32 tensor. `partitions` is how many the XNNPACK delegate took over: one
    when nothing falls back to the interpreter's own kernels in between. `outside` counts those that
    do.
    """

    counts: dict[str, int]
    float_counts: dict[str, int]
    partitions: int
    outside: dict[str, int]


def describe_operators(interpreter: Any) -> Operators:
    """Count a loaded model's operators and the partitions that XNNPACK runs."""
    operators, partitions = list_operators(interpreter)
    return Operators(
        counts=dict(Counter(operator.name for operator in operators)),
        float_counts=dict(Counter(operator.name for operator in operators if operator.float32)),
        partitions=partitions,
        outside=dict(Counter(operator.name for operator in operators if not operator.delegated)),
    )


def list_operators(interpreter: Any) -> tuple[list[Operator], int]:
    """Return a loaded model's operators in their order, and how many partitions XNNPACK runs.

    Multiply-adds count convolutions, depthwise convolutions and dense layers:
    (numbers in the output / outputs of the kernel) * numbers in the kernel, that is
    height * width * outputs * kernel height * kernel width * inputs per output, as Sandler et al.
    count them (MobileNetV2, CVPR 2018, https://arxiv.org/abs/1801.04381: 300 million and, after
    folding BatchNorm, about 3.5 million parameters for 1.0 at 224x224 with 1,000 classes).
    Everything else, a product of two activations too, counts as 0.
    """
    # Not public, but the only way to see the plan, and the same in all three interpreters. The
    # delegated operators stay listed before the DELEGATE nodes that replace them.
    details = interpreter._get_ops_details()
    tensors = {entry["index"]: entry for entry in interpreter.get_tensor_details()}
    nodes = [entry for entry in details if entry["op_name"] != _DELEGATE]
    partitions = [entry for entry in details if entry["op_name"] == _DELEGATE]
    delegated = _delegated(nodes, partitions)
    counted: set[int] = set()
    operators = []
    for node in nodes:
        outputs = [_count(tensors, index) for index in node["outputs"]]
        macs, parameters, arithmetic = _work(node, tensors, counted)
        operators.append(
            Operator(
                node["op_name"],
                node["index"] in delegated,
                macs,
                parameters,
                arithmetic,
                sum(outputs),
                tuple(int(index) for index in node["inputs"]),
                tuple(int(index) for index in node["outputs"]),
                # tflite-runtime 2.14 does not name the types in the plan itself.
                np.float32
                in (
                    tensors[int(index)]["dtype"]
                    for index in (*node["inputs"], *node["outputs"])
                    if int(index) in tensors
                ),
            )
        )
    return operators, len(partitions)


def _delegated(nodes: list[dict[str, Any]], partitions: list[dict[str, Any]]) -> set[int]:
    """Return the indices of the operators that lie between a partition's outputs and its inputs.

    A partition does not name its operators, which stay listed as if nothing had happened, only the
    tensors that enter and leave it; so walk back from these to those.
    """
    producers = {int(index): node for node in nodes for index in node["outputs"]}
    found: set[int] = set()
    for partition in partitions:
        seen = {int(index) for index in partition["inputs"]}
        waiting = [int(index) for index in partition["outputs"]]
        while waiting:
            tensor = waiting.pop()
            if tensor in seen or tensor not in producers:
                continue
            seen.add(tensor)
            found.add(producers[tensor]["index"])
            waiting.extend(int(index) for index in producers[tensor]["inputs"])
    return found


def _work(
    node: dict[str, Any], tensors: dict[int, dict[str, Any]], counted: set[int]
) -> tuple[int, int, str]:
    """Return multiply-adds, parameters and arithmetic; weights in `counted` are not new."""
    axis = _OUTPUT_AXIS.get(node["op_name"])
    inputs = [int(index) for index in node["inputs"]]
    if axis is None or len(inputs) < 2 or inputs[1] not in tensors:
        return 0, 0, ""
    kernel = tensors[inputs[1]]
    outputs = int(kernel["shape"][axis]) if len(kernel["shape"]) > axis else 0
    if outputs == 0:
        return 0, 0, ""
    macs = _count(tensors, node["outputs"][0]) // outputs * _count(tensors, inputs[1])
    # An operator without a bias has -1 in its place.
    own = [index for index in inputs[1:3] if index in tensors and index not in counted]
    counted.update(own)
    return macs, sum(_count(tensors, index) for index in own), _arithmetic(node, tensors)


def _arithmetic(node: dict[str, Any], tensors: dict[int, dict[str, Any]]) -> str:
    value, kernel = (np.dtype(tensors[int(index)]["dtype"]) for index in node["inputs"][:2])
    if value == np.float32 and kernel != np.float32:
        return "dynamic"
    return str(value)


def _count(tensors: dict[int, dict[str, Any]], index: int) -> int:
    return math.prod(int(side) for side in tensors[int(index)]["shape"])
