"""`convert`: five files, each what it promises."""

import dataclasses
import json
import shutil
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="conversion needs the train extra")


from pocketlens.card import ModelCard, unpack
from pocketlens.cli.convert import summarise
from pocketlens.cli.main import run
from pocketlens.convert import FORMATS, Demands, convert
from pocketlens.convert.conversion import ConvertedFile
from pocketlens.convert.float_layers import Int8, Sensitivity
from pocketlens.convert.formats import Rerun, rerun
from pocketlens.errors import (
    DataError,
    ModelFileError,
    OutputExistsError,
    UsageError,
)
from pocketlens.evaluation.agreement import ClassFlips, Comparison, Flips, Reference
from pocketlens.runtime import Classifier
from pocketlens.runtime.model_files import read_model_file
from pocketlens.runtime.operators import Operators
from pocketlens.runtime.pictures import decode, resize
from pocketlens.runtime.runs import read_run
from pocketlens.runtime.shift import fit_shift

# What small networks answer is left to chance, and whether they keep a limit too.
ANYHOW = Demands(max_drop=100)


@pytest.mark.parametrize("entry", FORMATS)
def test_card_inside(tiny_models: dict[str, Path], tiny_run: Path, entry: str) -> None:
    model = read_model_file(tiny_models[entry])
    card, trained = model.card, read_run(tiny_run).card
    assert card is not None
    assert card.format == entry
    assert card.name == "tiny"
    for name in ("labels", "task", "input_size_wh", "resize_mode", "data_hash", "training"):
        assert getattr(card, name) == getattr(trained, name)
    assert card.metrics["partitions"] == 1
    assert 0.8 <= card.metrics["agreement_with_original"] <= 1
    assert card.metrics["operators"]["DEPTHWISE_CONV_2D"] == 17
    assert bool(card.calibration) == (entry in ("dynamic", "weights8", "int8"))
    with zipfile.ZipFile(tiny_models[entry]) as archive:
        assert json.loads(archive.read("card.json"))["format"] == entry
        assert archive.read("labels.txt") == b"circle\ncross\nstripes\n"


def test_card_names_no_place_of_this_machine(tiny_models: dict[str, Path], tiny_run: Path) -> None:
    data = unpack(tiny_models["int8"].read_bytes())
    assert data.card is not None
    assert str(tiny_run.parent) not in data.card.to_json()


def test_another_process_writes_the_same_bytes(plain_run: Path, tmp_path: Path) -> None:
    """And nothing of what TensorFlow says along the way."""
    first = convert(plain_run, tmp_path / "a", samples=10, demands=ANYHOW)
    command = [sys.executable, "-m", "pocketlens", "convert", str(plain_run), "--max-drop", "100"]
    done = subprocess.run(
        [*command, "--samples", "10", "--out", str(tmp_path / "b")],
        capture_output=True,
        text=True,
        check=True,
    )
    for file in first:
        assert file.path.read_bytes() == (tmp_path / "b" / file.path.name).read_bytes()
    assert done.stderr == ""
    assert "Compared with the original model" in done.stdout


def test_label_sets_and_shift_are_fitted_on_each_files_own_scores(
    plain_run: Path, tiny_photos: Path, tmp_path: Path
) -> None:
    opened = read_run(plain_run)
    photos = opened.photos("val").photos
    truth = [photo.label_indices[0] for photo in photos]
    pictures = [resize(decode(photo.path), opened.card.input_size_wh) for photo in photos]
    found = {}
    for file in convert(plain_run, tmp_path, samples=10, demands=ANYHOW):
        with Classifier(file.path) as classifier:
            results = [classifier.classify_photo(photo.path) for photo in photos]
        found[file.format] = dict(classifier.card.sets)
        # So is what frames are compared with.
        shift = fit_shift(pictures, np.stack([result.scores for result in results]), None)
        assert classifier.card.shift == shift
        assert shift["photos"] == len(photos)
        # The promise includes the next photo: of 11 and it, 80 % are 10, and 90 % 11.
        assert list(found[file.format]) == ["0.8", "0.9"]
        of_truth = sorted(
            float(result.scores[index]) for result, index in zip(results, truth, strict=True)
        )
        assert len(of_truth) == 11
        assert found[file.format] == {"0.8": of_truth[1], "0.9": of_truth[0]}
        with Classifier(file.path, sets=0.9) as classifier:
            for photo, index in zip(photos, truth, strict=True):
                labels = classifier.classify_photo(photo.path).label_set
                assert opened.card.labels[index] in labels
    assert found["float32"] != found["int8"]
    # Others may be photos that the model was trained on.
    (file,) = convert(plain_run, tmp_path / "other", ["float32"], data=tiny_photos, demands=ANYHOW)
    card = read_model_file(file.path).card
    assert card is not None
    assert card.sets == card.shift == {}


def test_killed_while_it_writes(plain_run: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pocketlens", "convert", str(plain_run), "--max-drop", "100"]
    with subprocess.Popen([*command, "--out", str(tmp_path / "out")]) as process:
        while process.poll() is None and not list(tmp_path.glob("out/*")):
            time.sleep(0.001)
        process.kill()
    found = [path for path in (tmp_path / "out").iterdir() if not path.name.startswith(".")]
    for path in found:
        read_model_file(path)  # Whole, by the SHA-256 in its card.


def test_chosen_formats_name_and_photos(plain_run: Path, tiny_photos: Path, tmp_path: Path) -> None:
    files = convert(
        plain_run,
        tmp_path,
        ["int8", "float16"],
        name="mine",
        representative=tiny_photos / "circle",
        samples=7,
        demands=Demands(force=True),
    )
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["mine_float16.tflite", "mine_int8.tflite"]
    assert [file.format for file in files] == ["float16", "int8"]
    card = read_model_file(tmp_path / "mine_int8.tflite").card
    assert card is not None
    assert card.calibration["photos"] == 7
    assert card.calibration["source"] == "a folder that was given"
    assert isinstance(card.calibration["float_layers"], list)


def test_dark_photos_do_not_shift_int8s_input(tiny_run: Path, tmp_path: Path) -> None:
    """Photos without a black and a white pixel must not narrow the range of the input."""
    import cv2

    (tmp_path / "dark").mkdir()
    for index in range(5):
        grey = np.full((96, 96, 3), 60 + index, np.uint8)
        cv2.imwrite(str(tmp_path / "dark" / f"{index}.png"), grey)
    convert(tiny_run, tmp_path, ["int8"], representative=tmp_path / "dark", demands=ANYHOW)
    with Classifier(tmp_path / "tiny_int8.tflite") as classifier:
        tensor = classifier.signature.input
    assert tensor.scale == pytest.approx(1 / 127.5, rel=0.01)
    assert tensor.zero_point in (127, 128)


def test_json(plain_run: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    arguments = ["convert", str(plain_run), "--out", str(tmp_path), "--format", "float32"]
    assert run([*arguments, "--json", "-"]) == 0
    (entry,) = json.loads(capfd.readouterr().out)
    assert entry["format"] == "float32"
    assert entry["size_bytes"] == (tmp_path / "plain_float32.tflite").stat().st_size
    assert entry["agreement"] == 1.0
    assert entry["lost"] == entry["won"] == 0
    assert not entry["held_back"]


def test_layers_of_int8_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = (Sensitivity("head;bias", 0.02, 0.1), Sensitivity("stem;bias", 0.01, 0.2))
    file = ConvertedFile(
        tmp_path / "x_int8.tflite",
        "int8",
        1000,
        Comparison(10, 0.9, 0.8, 0.9, Flips(1, 0, 1.0), 0.1),
        Operators({"CONV_2D": 2}, {"CONV_2D": 1}, 1, {}),
        1.5,
        int8=Int8(b"", rows, ("head;bias",), 0.3),
    )
    summarise([file])
    said = capsys.readouterr().out
    for text in ("float, for 0.30 ms", "head", "stem", "0.02000", "0.200"):
        assert text in said
    summarise([file], "-")
    (entry,) = json.loads(capsys.readouterr().out)
    assert entry["int8"] == {
        "float_layers": ["head"],
        "float_cost_ms": 0.3,
        "sensitivity": [
            {"layer": "head", "error_added": 0.02, "time_saved_ms": 0.1},
            {"layer": "stem", "error_added": 0.01, "time_saved_ms": 0.2},
        ],
    }


@pytest.fixture
def bad_dynamic(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the dynamic file lose nine photos and any other none."""
    compared = [""]
    really = Reference.compare

    def noted(flatbuffer: bytes, card: ModelCard, *rest: Any) -> Rerun:
        compared[0] = card.format
        return rerun(flatbuffer, card, *rest)

    def worse(reference: Reference, scores: np.ndarray) -> Comparison:
        lost = 9 if compared[0] == "dynamic" else 0
        flips = Flips(lost, 0, 0.004, (ClassFlips("cross", 10, lost, 0),))
        return dataclasses.replace(really(reference, scores), flips=flips)

    monkeypatch.setattr("pocketlens.convert.conversion.rerun", noted)
    monkeypatch.setattr(Reference, "compare", worse)


@pytest.mark.usefixtures("bad_dynamic")
def test_a_file_beyond_the_limit_is_held_back(
    plain_run: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    formats = ["--format", "float32", "--format", "dynamic"]
    arguments = ["convert", str(plain_run), "--out", str(tmp_path), *formats, "--samples", "5"]
    assert run([*arguments, "--json", "-"]) == 1
    said = capfd.readouterr()
    for text in ("at most 1 points", "dynamic", "--force", "--max-drop"):
        assert text in said.err
    assert "float32" not in said.err
    float32, dynamic = json.loads(said.out)
    assert dynamic["held_back"]
    assert dynamic["drop_points"] > 1
    assert dynamic["hardest"]
    assert not float32["held_back"]
    assert [path.name for path in tmp_path.iterdir()] == ["plain_float32.tflite"]
    assert run([*arguments, "--overwrite", "--force"]) == 0
    assert (tmp_path / "plain_dynamic.tflite").is_file()
    assert "dynamic loses most photos of" in capfd.readouterr().out


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"formats": ["int4"]}, UsageError),
        ({"formats": []}, UsageError),
        ({"samples": 0}, UsageError),
        ({"name": "../evil"}, UsageError),
        ({"representative": Path("nowhere")}, UsageError),
    ],
    ids=str,
)
def test_bad_options(
    tiny_run: Path, tmp_path: Path, options: dict[str, object], error: type[Exception]
) -> None:
    with pytest.raises(error, match="Received"):
        convert(tiny_run, tmp_path / "out", **options)  # type: ignore[arg-type]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("limit", [-1.0, 101.0, float("nan")])
def test_limit_that_cannot_be(limit: float) -> None:
    with pytest.raises(UsageError, match="--max-drop"):
        Demands(max_drop=limit)


def test_no_run(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="pocketlens train"):
        convert(tmp_path, tmp_path / "out")


def test_photos_are_gone(tiny_run: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_run, tmp_path / "elsewhere" / "run")
    with pytest.raises(DataError, match="Move them back"):
        convert(tmp_path / "elsewhere" / "run", tmp_path / "out")


def test_damaged_model(tiny_run: Path, tiny_photos: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_photos, tmp_path / "photos")
    shutil.copytree(tiny_run, tmp_path / "run")
    path = tmp_path / "run" / "model.keras"
    path.write_bytes(path.read_bytes()[:10_000])
    with pytest.raises(ModelFileError, match="Expected a Keras model"):
        convert(tmp_path / "run", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_existing_files_are_not_replaced_unasked(tiny_run: Path, tmp_path: Path) -> None:
    taken = tmp_path / "tiny_int8.tflite"
    taken.write_text("precious")
    with pytest.raises(OutputExistsError, match="--overwrite"):
        convert(tiny_run, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["tiny_int8.tflite"]
    assert taken.read_text() == "precious"
