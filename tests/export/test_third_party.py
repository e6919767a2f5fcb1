"""Third-party files for apps: the same scores from raw pixels, with a card."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pocketlens.cli.main import run
from pocketlens.errors import ModelFileError, UsageError
from pocketlens.export.models import as_files
from pocketlens.runtime import Classifier
from pocketlens.runtime.hints import ModelHints
from pocketlens.runtime.metadata import read_metadata

tf = pytest.importorskip("tensorflow", reason="needs the train extra")

LABELS = ("rose", "tulip", "lily")
PIXELS = np.random.default_rng(5).integers(0, 256, (3, 40, 40, 3), np.uint8)


def tflite(path: Path, kind: str, end=tf.nn.softmax, channels: int = 3) -> Path:
    """Write a small network with an open batch; an 8-bit one takes and gives `kind`."""
    rng = np.random.default_rng(1)
    kernel = tf.constant(rng.normal(0, 0.01, (3, 3, channels, 8)), tf.float32)
    dense = tf.constant(rng.normal(0, 2, (8, 3)), tf.float32)

    @tf.function(input_signature=[tf.TensorSpec((None, 40, 40, channels), tf.float32)])
    def function(pixels):
        values = tf.nn.relu(tf.nn.conv2d(pixels, kernel, 2, "SAME"))
        return end(tf.matmul(tf.reduce_mean(values, axis=(1, 2)), dense))

    converter = tf.lite.TFLiteConverter.from_concrete_functions([function.get_concrete_function()])
    if kind != "float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if kind in ("uint8", "int8"):
        converter.representative_dataset = lambda: (
            [np.full((1, 40, 40, channels), level, np.float32)] for level in range(0, 256, 15)
        )
        converter.inference_input_type = converter.inference_output_type = getattr(tf, kind)
    path.write_bytes(converter.convert())
    return path


@pytest.mark.parametrize("end", [tf.nn.softmax, tf.identity], ids=["scores", "logits"])
@pytest.mark.parametrize(
    ("kind", "name", "hints"),
    [
        ("float32", "float32", {"mean": 0, "std": 1}),
        ("float32", "float32", {"mean": 127.5, "std": 64}),
        ("dynamic", "float32", {"mean": 0, "std": 255, "resize_mode": "crop"}),
        ("uint8", "int8", {}),
        ("int8", "int8", {}),
    ],
)
def test_scores_stay_the_same(kind, name, hints, end, tmp_path):
    path = tflite(tmp_path / "flowers.tflite", kind, end)
    said = ModelHints(LABELS, **hints)
    with as_files([path], (), said) as (own,), Classifier(own) as ours:
        card, signature = ours.model.card, ours.signature
        assert card is not None
        assert (card.name, card.labels, card.format) == ("flowers", LABELS, name)
        assert (card.activation, card.resize_mode) == ("none", hints.get("resize_mode", "stretch"))
        assert signature.input.dtype == (np.float32 if name == "float32" else np.uint8)
        metadata = read_metadata(ours.model.flatbuffer)
        assert metadata is not None
        assert metadata.labels_file == "labels.txt"
        with Classifier(path, hints=said) as theirs:
            for pixels in PIXELS:
                np.testing.assert_allclose(ours.scores(pixels), theirs.scores(pixels), atol=1e-4)


def test_what_the_options_leave_open_is_asked_for(tmp_path):
    path = tflite(tmp_path / "flowers.tflite", "float32")
    for hints, text in (
        (ModelHints(LABELS), "--mean and --std"),
        (ModelHints(mean=0, std=1), "--labels"),
    ):
        with pytest.raises(UsageError, match=text), as_files([path], (), hints):
            pass
    grey = tflite(tmp_path / "grey.tflite", "float32", channels=1)
    hints = ModelHints(LABELS, 0, 1)
    with pytest.raises(ModelFileError, match="RGB pixels"), as_files([grey], (), hints):
        pass


def test_hints_beside_a_card_are_refused(tiny_tflite):
    with (
        pytest.raises(UsageError, match="what its card says"),
        as_files([tiny_tflite], (), ModelHints(mean=0, std=1)),
    ):
        pass


@pytest.mark.parametrize("target", ["android", "ios", "web", "c"])
def test_every_target_takes_it(target, tmp_path):
    path = tflite(tmp_path / "flowers.tflite", "float32", tf.identity)
    (tmp_path / "names.txt").write_text("rose\ntulip\nlily\n")
    options = ["--mean", "0", "--std", "255", "--labels", str(tmp_path / "names.txt")]
    out = tmp_path / "out"
    assert run(["export", str(path), "--target", target, "--out", str(out), *options]) == 0
    if target == "c":
        assert "FLOWERS_SCORES 3" in (out / "flowers_model.h").read_text()
    else:
        golden = json.loads((out / "golden.json").read_text())
        assert golden["labels"] == list(LABELS)
        for scores in golden["models"]["flowers.tflite"]["scores"]:
            assert sum(scores) == pytest.approx(1, abs=1e-4)


def test_a_calibration_that_is_left_out_is_said(shared, tmp_path):
    """In a process of its own, where TensorFlow writes its log when it is imported."""
    path = shared / "models" / "elsewhere" / "mobilenet_calibrated.tflite"
    command = [sys.executable, "-m", "pocketlens", "export", str(path), "--target", "c"]
    command += ["--out", str(tmp_path / "out")]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stderr.splitlines()
    assert len(said) == 2
    assert said[0].startswith(f"The score calibration in the metadata of {path} is left out: ")
    assert said[1].startswith("Labels that appear more than once are numbered: ")
