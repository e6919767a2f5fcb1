"""C arrays of real files, compiled by a real compiler as C and as C++, run and compared."""

import dataclasses
import shutil
import subprocess
from pathlib import Path

import pytest

from pocketlens.card import pack, unpack
from pocketlens.errors import UsageError
from pocketlens.export import export
from pocketlens.export.c_array import header_text, source_text
from pocketlens.export.models import read_candidates, safe_name
from pocketlens.names import to_labels
from pocketlens.runtime import Classifier

ODD_LABELS = (
    'a "quoted" one',
    "back\\slash\\n \\",
    "trigraph ??/ ??) */ // %s",
    "\u05e9\u05dc\u05d5\u05dd \u202eback\u202c",
    "\N{GRINNING FACE}7 and \u00e97",
    "long " * 199,
)
# Prints what is in a header and writes the array to the file that is named.
PROGRAM = r"""
#include <stdio.h>
#include "NAME_model.h"
int main(int count, char **arguments) {
    FILE *file = count == 2 ? fopen(arguments[1], "wb") : NULL;
    if (!file || (size_t)NAME_model % 16 || NAME_model_size != sizeof NAME_model) return 1;
    if (fwrite(NAME_model, 1, NAME_model_size, file) != NAME_model_size || fclose(file)) return 2;
    printf("%d %d %s %s %.9g %d %d %s", UPPER_INPUT_WIDTH, UPPER_INPUT_HEIGHT, UPPER_TASK,
           UPPER_RESIZE_MODE, (double)UPPER_THRESHOLD, (int)sizeof(UPPER_INPUT_TYPE),
           UPPER_SCORES, UPPER_MODEL_SHA256);
    for (int index = 0; index < UPPER_LABELS; ++index) printf("\n%s", NAME_labels[index]);
    return 0;
}
"""


@pytest.fixture(params=["c", "c++"])
def language(request: pytest.FixtureRequest) -> str:
    if not shutil.which({"c": "cc", "c++": "c++"}[request.param]):
        pytest.skip(f"no {request.param} compiler is installed")
    return request.param


def compile_and_run(folder: Path, name: str, language: str) -> tuple[bytes, str]:
    """Return the array's bytes and what the program printed."""
    program = PROGRAM.replace("NAME", name).replace("UPPER", name.upper())
    (folder / "main.c").write_text(program)
    compiler, standard = {"c": ("cc", "c99"), "c++": ("c++", "c++11")}[language]
    sources = [folder / "main.c", folder / f"{name}_model.c"]
    strict = ["-Wall", "-Wextra", "-Werror", f"-std={standard}", "-x", language]
    subprocess.run([compiler, *strict, *sources, "-o", folder / "run"], check=True)
    done = subprocess.run([folder / "run", folder / "bytes"], capture_output=True, check=True)
    return (folder / "bytes").read_bytes(), done.stdout.decode("utf-8")


@pytest.mark.parametrize("task", ["multiclass", "binary", "multilabel"])
def test_array_is_the_file_and_header_its_card(
    task: str,
    tiny_models: dict[str, Path],
    task_models: dict[str, dict[str, Path]],
    tmp_path: Path,
    language: str,
) -> None:
    files = tiny_models if task == "multiclass" else task_models[task]
    model = files["float32" if task == "binary" else "int8"]
    exported = export([model], tmp_path / "out", "c")
    data, printed = compile_and_run(tmp_path / "out", model.stem, language)
    assert data == model.read_bytes()
    with Classifier(model) as classifier:
        first, *labels = printed.split("\n")
        expected = (
            *classifier.size_wh,
            task,
            classifier.resize_mode,
            f"{classifier.threshold:g}",
            4 if task == "binary" else 1,
            classifier.signature.classes,
        )
        assert first.split()[:-1] == [str(value) for value in expected]
        assert tuple(labels) == classifier.labels
    assert set(exported.sha256) == {f"{model.stem}_model.h", f"{model.stem}_model.c"}


@pytest.mark.parametrize(
    ("threshold", "said"), [(0.0, "THRESHOLD is 0, none is set"), (0.4, "below THRESHOLD do not")]
)
def test_the_header_says_whether_there_is_a_threshold(
    tiny_tflite: Path, tmp_path: Path, threshold: float, said: str
) -> None:
    unpacked = unpack(tiny_tflite.read_bytes())
    assert unpacked.card is not None
    card = dataclasses.replace(unpacked.card, threshold=threshold)
    path = tmp_path / "one.tflite"
    path.write_bytes(pack(unpacked.flatbuffer, card))
    (model,) = read_candidates([path])
    assert said in header_text(model)


def test_labels_of_any_kind(
    task_models: dict[str, dict[str, Path]], tmp_path: Path, language: str
) -> None:
    model = tmp_path / "int.tflite"
    unpacked = unpack(task_models["binary"]["int8"].read_bytes())
    for labels in zip(ODD_LABELS[::2], ODD_LABELS[1::2], strict=True):
        card = dataclasses.replace(unpacked.card, labels=labels, name='"??/\n*/')
        model.write_bytes(pack(unpacked.flatbuffer, card))
        export([model], tmp_path / "out", "c", overwrite=True)
        data, printed = compile_and_run(tmp_path / "out", "int", language)
        assert data == model.read_bytes()
        assert tuple(printed.split("\n")[1:]) == to_labels(labels)


def test_thousand_labels(tiny_tflite: Path, tmp_path: Path) -> None:
    (model,) = read_candidates([tiny_tflite])
    labels = tuple(f"label {index}" for index in range(1000))
    model = dataclasses.replace(
        model, name="m", card=dataclasses.replace(model.card, labels=labels)
    )
    assert "#define M_LABELS 1000\n" in header_text(model)
    lines = source_text(model).splitlines()
    first = lines.index('    "label 0",')
    assert lines[first : first + 1000] == [f'    "{label}",' for label in labels]


@pytest.mark.parametrize(
    ("stem", "name"),
    [
        ("flowers_int8", "flowers_int8"),
        ("My Flowers (2)", "my_flowers_2"),
        ("2nd-try", "m_2nd_try"),
        ("__init__", "init"),
        ("\u82b1", "classifier"),
        ("x" * 300, "x" * 60),
        ("int", "int"),
    ],
)
def test_names(stem: str, name: str) -> None:
    assert safe_name(stem) == name


def test_same_name_twice(tiny_tflite: Path, tmp_path: Path) -> None:
    copies = [tmp_path / "a-b.tflite", tmp_path / "a b.tflite"]
    for copy in copies:
        shutil.copy(tiny_tflite, copy)
    with pytest.raises(UsageError, match=r"both a_b\. Rename one"):
        export(copies, tmp_path / "out", "c")
    assert not (tmp_path / "out").exists()
