"""The folders for phones: what is in them, and that their scores are the classifier's."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from pocketlens.card import ModelCard, pack, unpack
from pocketlens.cli.main import run
from pocketlens.errors import DataError, UsageError
from pocketlens.export import export
from pocketlens.runtime import Classifier
from pocketlens.runtime.pictures import decode, resize

CODE = {
    "android": {"LiveClassifier.kt", "GoldenTest.kt"},
    "ios": {"LiveClassifier.swift", "GoldenTests.swift"},
}


def check_golden(folder: Path) -> dict[str, object]:
    """Compute the scores of golden.json again and return it."""
    golden = json.loads((folder / "golden.json").read_text("utf-8"))
    for name, expected in golden["models"].items():
        with Classifier(folder / name) as classifier:
            assert classifier.model.card.score_labels == tuple(golden["labels"])
            for image, row in zip(golden["images"], expected["scores"], strict=True):
                scores = classifier.scores(decode(folder / image))
                # The machine that recomputes has its own last digits.
                np.testing.assert_allclose(scores, row, atol=expected["tolerance"] / 2)
    return golden


@pytest.mark.parametrize("target", CODE)
def test_five_files_of_one_model(
    target: str, tiny_models: dict[str, Path], tiny_photos: Path, tmp_path: Path
) -> None:
    out = tmp_path / "app"
    exported = export(list(tiny_models.values()), out, target, images=tiny_photos)
    golden = check_golden(out)
    names = {path.name for path in tiny_models.values()}
    assert set(golden["models"]) == names
    assert len(golden["images"]) == 5
    common = {"README.md", "card.json", "labels.txt", "golden.json"}
    assert set(exported.sha256) == {*CODE[target], *common, *names, *golden["images"]}
    for path in tiny_models.values():
        assert (out / path.name).read_bytes() == path.read_bytes()
        assert golden["models"][path.name]["sha256"] == exported.sha256[path.name]
    readme = (out / "README.md").read_text("utf-8")
    assert not re.search("@[A-Z]+@", readme)
    assert f'"{next(iter(tiny_models.values())).name}"' in readme
    card = ModelCard.from_json((out / "card.json").read_bytes())
    assert (out / "labels.txt").read_text("utf-8").splitlines() == list(card.labels)
    # From all over the folder: of five photos of thirty in three classes, some of each.
    photos = sorted(tiny_photos.rglob("*.png"))
    size = (card.input_size_wh[0], card.input_size_wh[1])
    for image, index in zip(golden["images"], (0, 22, 44, 67, 89), strict=True):
        # MediaPipe asks for an alpha channel on iOS; here it is opaque.
        stored = cv2.imread(str(out / image), cv2.IMREAD_UNCHANGED)
        assert (stored[..., 3] == 255).all()
        np.testing.assert_array_equal(decode(out / image), resize(decode(photos[index]), size))


@pytest.mark.parametrize("task", ["binary", "multilabel"])
def test_other_tasks_with_drawn_pictures(
    task: str, task_models: dict[str, dict[str, Path]], tmp_path: Path
) -> None:
    models = [task_models[task][entry] for entry in ("float32", "int8")]
    assert run(["export", *map(str, models), "--target", "ios", "--out", str(tmp_path / "o")]) == 0
    golden = check_golden(tmp_path / "o")
    outputs = 1 if task == "binary" else 3
    rows = [row for entry in golden["models"].values() for row in entry["scores"]]
    assert {len(row) for row in rows} == {outputs}
    assert len(rows) == 10
    card = ModelCard.from_json((tmp_path / "o" / "card.json").read_bytes())
    assert card.task == task
    pictures = [decode(tmp_path / "o" / name).tobytes() for name in golden["images"]]
    assert len(set(pictures)) == 5


def test_float_tolerance_and_that_of_eight_bits(
    tiny_models: dict[str, Path], tmp_path: Path
) -> None:
    export([tiny_models["weights8"], tiny_models["int8"]], tmp_path / "o", "android")
    models = json.loads((tmp_path / "o" / "golden.json").read_text("utf-8"))["models"]
    tolerances = {entry["format"]: entry["tolerance"] for entry in models.values()}
    assert tolerances == {"weights8": 0.01, "int8": 2 / 256}


def test_odd_labels_and_names(
    tiny_tflite: Path, tmp_path: Path, with_card: Callable[..., Path]
) -> None:
    labels = ('"$x" \\ @MODEL@', "\u05e9\u05dc\u05d5\u05dd \N{GRINNING FACE}", "long " * 199 + "x")
    model = with_card(tiny_tflite, tmp_path / "My Model (2).tflite", labels=labels)
    export([model], tmp_path / "o", "android")
    golden = check_golden(tmp_path / "o")
    assert list(golden["models"]) == ["my_model_2.tflite"]
    assert tuple(golden["labels"]) == labels
    assert json.loads((tmp_path / "o" / "card.json").read_text("utf-8"))["labels"] == list(labels)
    assert (tmp_path / "o" / "labels.txt").read_text("utf-8") == "".join(f"{x}\n" for x in labels)


def test_thousand_classes(elsewhere_model: Path, tmp_path: Path) -> None:
    flatbuffer = unpack(elsewhere_model.read_bytes()).flatbuffer
    labels = tuple(f"label {index}" for index in range(1001))
    model = tmp_path / "large.tflite"
    model.write_bytes(pack(flatbuffer, ModelCard("large", labels, (128, 128), format="int8")))
    export([model], tmp_path / "o", "ios")
    golden = check_golden(tmp_path / "o")
    assert {len(row) for row in golden["models"]["large.tflite"]["scores"]} == {1001}
    export([model], tmp_path / "c", "c")
    assert "#define LARGE_LABELS 1001\n" in (tmp_path / "c" / "large_model.h").read_text("ascii")


@pytest.mark.parametrize("changes", [{"threshold": 0.7}, {"labels": ("a", "b", "c")}], ids=str)
def test_files_of_different_models(
    changes: dict[str, object],
    tiny_models: dict[str, Path],
    tmp_path: Path,
    with_card: Callable[..., Path],
) -> None:
    other = with_card(tiny_models["int8"], tmp_path / "other.tflite", **changes)
    with pytest.raises(UsageError, match="Export them into folders of their own"):
        export([tiny_models["int8"], other], tmp_path / "o", "android")
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize("mode", ["crop", "pad"])
def test_resizing_that_phones_do_not_know(
    mode: str, tiny_tflite: Path, tmp_path: Path, with_card: Callable[..., Path]
) -> None:
    model = with_card(tiny_tflite, tmp_path / "m.tflite", resize_mode=mode)
    with pytest.raises(UsageError, match=f"resize mode {mode}. Train it with --resize stretch"):
        export([model], tmp_path / "o", "ios")


def test_images_that_are_none(tiny_tflite: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        export([tiny_tflite], tmp_path / "o", "ios", images=tmp_path / "nothing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="Received: none"):
        export([tiny_tflite], tmp_path / "o", "ios", images=tmp_path / "empty")
    (tmp_path / "empty" / "a.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"a\.png"):
        export([tiny_tflite], tmp_path / "o", "ios", images=tmp_path / "empty")
    with pytest.raises(UsageError, match="Leave it out"):
        export([tiny_tflite], tmp_path / "o", "c", images=tmp_path / "empty")
    assert not (tmp_path / "o").exists()
