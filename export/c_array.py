"""A model as a C array, with its card as C constants, for microcontrollers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pocketlens import __version__
from pocketlens.choices import BINARY, MULTICLASS, MULTILABEL
from pocketlens.export.models import Candidate, Target
from pocketlens.runtime.model_files import Tensor

# What flatbuffers' and TensorFlow Lite Micro's own examples use for a model in memory.
ALIGNMENT = 16
_BYTES_A_LINE = 20
_C_TYPES = {"float32": "float", "uint8": "uint8_t", "int8": "int8_t"}
_ANSWERS = {
    MULTICLASS: "The answer is the label with the highest score; below THRESHOLD do not trust it.",
    BINARY: "There is one score, of labels[1]: the answer if it is >= THRESHOLD, else labels[0].",
    MULTILABEL: "The answers are all labels with a score of THRESHOLD or more, maybe none.",
}
# Only multiclass models may be without a threshold.
_ALWAYS = (
    "The answer is the label with the highest score, however low: THRESHOLD is 0, none is set."
)
_RESIZING = {
    "stretch": "The whole picture is stretched to the input, whatever its proportions.",
    "crop": "The largest centred part with the input's proportions is scaled to the input.",
    "pad": "The whole picture is scaled into the input's middle, black on both sides.",
}


def c_string(text: str) -> str:
    r"""Return text as a C string literal of its UTF-8 bytes.

    Other than ASCII becomes octal escapes, which end after three digits whatever follows, so that
    a compiler's source character set and warnings about the direction of text play no part; `?`
    becomes `\?`, so that there are no trigraphs.
    """
    return '"' + "".join(map(_escaped, text.encode("utf-8"))) + '"'


def c_files(models: Sequence[Candidate]) -> dict[str, bytes]:
    """Return a header and a C file of each model by their names."""
    texts = {}
    for model in models:
        texts[f"{model.name}_model.h"] = header_text(model)
        texts[f"{model.name}_model.c"] = source_text(model)
    return {name: text.encode("ascii") for name, text in texts.items()}


def header_text(model: Candidate) -> str:
    """Return the text of the header: how to use the model, and its card as constants.

    All C names have something behind the model's, so that none is a word of C or C++.
    """
    card, name, upper = model.card, model.name, model.name.upper()
    width, height = model.signature.size_wh
    constants = {
        "MODEL_NAME": c_string(card.name),
        "FORMAT": c_string(card.format),
        "TASK": c_string(card.task),
        "THRESHOLD": _c_float(card.threshold),
        "RESIZE_MODE": c_string(card.resize_mode),
        "INPUT_WIDTH": str(width),
        "INPUT_HEIGHT": str(height),
        "INPUT_CHANNELS": "3",
        **_tensor_constants("INPUT", model.signature.input),
        "SCORES": str(model.signature.classes),
        **_tensor_constants("OUTPUT", model.signature.output),
        "LABELS": str(len(card.labels)),
        "MODEL_SIZE": f"{len(model.data)}u",
        "MODEL_SHA256": c_string(model.sha256),
    }
    lines = "\n".join(f"#define {upper}_{key} {value}" for key, value in constants.items())
    return f"""\
/* An image classifier for TensorFlow Lite Micro or any other TFLite interpreter.
 * Written by pocketlens {__version__}; do not edit.
 *
 * Input: one picture, [1, {height}, {width}, 3], {model.signature.input.dtype}, RGB,
 * row by row from the top left.
 * Put the raw bytes 0-255 in as they are{_input_note(model.signature.input)}
 * {_RESIZING[card.resize_mode]}
 * Output: [1, {model.signature.classes}], {model.signature.output.dtype}{_output_note(model)}
 * {_ANSWERS[card.task] if card.threshold else _ALWAYS}
 */
#ifndef {upper}_MODEL_H
#define {upper}_MODEL_H

#include <stddef.h>
#include <stdint.h>

{lines}

#ifdef __cplusplus
extern "C" {{
#endif

/* The .tflite file, byte for byte, aligned to {ALIGNMENT}. */
extern const unsigned char {name}_model[{upper}_MODEL_SIZE];
extern const size_t {name}_model_size;

/* UTF-8, {_order_note(card.task)}. */
extern const char *const {name}_labels[{upper}_LABELS];

#ifdef __cplusplus
}}
#endif

#endif
"""


def source_text(model: Candidate) -> str:
    """Return the text of the C file, which is C++ as well."""
    name, upper = model.name, model.name.upper()
    labels = "\n".join(f"    {c_string(label)}," for label in model.card.labels)
    return f"""\
#include "{name}_model.h"

#if defined(__cplusplus)
#define {upper}_ALIGNED alignas({ALIGNMENT})
#elif defined(__GNUC__)
#define {upper}_ALIGNED __attribute__((aligned({ALIGNMENT})))
#else
#define {upper}_ALIGNED _Alignas({ALIGNMENT})
#endif

const char *const {name}_labels[{upper}_LABELS] = {{
{labels}
}};

const size_t {name}_model_size = {upper}_MODEL_SIZE;

{upper}_ALIGNED const unsigned char {name}_model[{upper}_MODEL_SIZE] = {{
{_array_lines(model.data)}
}};
"""


def _escaped(byte: int) -> str:
    character = chr(byte)
    if character in '"\\?':
        return f"\\{character}"
    return character if 0x20 <= byte < 0x7F else f"\\{byte:03o}"


def _array_lines(data: bytes) -> str:
    words: Sequence[str] = [f"{value}," for value in range(256)]
    rows = (data[at : at + _BYTES_A_LINE] for at in range(0, len(data), _BYTES_A_LINE))
    return "\n".join("".join(words[value] for value in row) for row in rows)


def _tensor_constants(what: str, tensor: Tensor) -> dict[str, str]:
    found = {f"{what}_TYPE": _C_TYPES[tensor.dtype.name]}
    if tensor.scale:
        found[f"{what}_SCALE"] = _c_float(tensor.scale)
        found[f"{what}_ZERO_POINT"] = str(tensor.zero_point)
    return found


def _c_float(value: float) -> str:
    # The shortest digits that give the same float32 again.
    return f"{float(str(np.float32(value)))!r}f"


def _input_note(tensor: Tensor) -> str:
    if tensor.dtype == np.uint8:
        return "; they are the quantized values already."
    return ", as floats: the normalization is in the model."


def _output_note(model: Candidate) -> str:
    if model.signature.output.scale:
        return ": score = OUTPUT_SCALE * (value - OUTPUT_ZERO_POINT), in 0-1."
    return ": scores in 0-1."


def _order_note(task: str) -> str:
    return "the negative one, then that of the score" if task == BINARY else "in the scores' order"


C = Target(
    "c",
    "each file as a C array with a header",
    ("int8",),
    lambda models, _: c_files(models),
    has_pictures=False,
)
