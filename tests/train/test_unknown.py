"""The label for photos that show none of the classes: trained, converted, told from the known."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from small_training import SMALL_TRAINING

from pocketlens.cli.main import run
from pocketlens.errors import DataError, UsageError
from pocketlens.evaluation import evaluate_model
from pocketlens.evaluation.unknown import without_unknown
from pocketlens.runtime import Classifier
from pocketlens.runtime.photos import find_pictures
from pocketlens.runtime.runs import read_run

pytest.importorskip("tensorflow", reason="training needs the train extra")

import keras

from pocketlens.train import Settings, train
from pocketlens.train.unknown import Head, Outside, counter_class, fit_unknown

# Like `plain_run`.
UNKNOWN = Settings(**SMALL_TRAINING | {"unknown": "auto"})


def test_one_more_label_and_the_others_as_they_were(
    unknown_run: Path, plain_run: Path, tiny_photos: Path
) -> None:
    from pocketlens.evaluation.scorers import open_scorer
    from pocketlens.runtime.pictures import decode, resize

    card, plain = read_run(unknown_run).card, read_run(plain_run).card
    assert card.labels == (*plain.labels, "unknown")
    assert (card.unknown, plain.unknown) == ("unknown", "")
    pixels = [resize(decode(path), (32, 32)) for path in sorted(find_pictures(tiny_photos))[:12]]
    scores = [np.stack(open_scorer(folder).crew[0](pixels)) for folder in (unknown_run, plain_run)]
    assert scores[0].sum(axis=1) == pytest.approx(1, abs=1e-5)
    assert without_unknown(scores[0], len(plain.labels)) == pytest.approx(scores[1], abs=1e-3)
    for name in ("val_accuracy", "test_accuracy"):
        assert card.metrics[name] == plain.metrics[name]
    assert card.metrics["val_known_kept"] >= 0.85


def test_every_format_says_the_same(
    unknown_run: Path, unknown_models: dict[str, Path], tiny_photos: Path
) -> None:
    photos = sorted(find_pictures(tiny_photos))[::3]
    said = {}
    for entry, path in unknown_models.items():
        with Classifier(path) as classifier:
            assert classifier.card.unknown == classifier.labels[-1] == "unknown"
            results = [classifier.classify_photo(photo) for photo in photos]
        said[entry] = [result.top.label for result in results]
        assert [result.is_unknown for result in results] == [
            label == "unknown" for label in said[entry]
        ]
    for entry, labels in said.items():
        same = np.mean([a == b for a, b in zip(labels, said["float32"], strict=True)])
        assert same >= (0.85 if entry == "int8" else 0.9), entry


def test_strangers_on_the_command_line(
    unknown_models: dict[str, Path], tiny_tflite: Path, tiny_photos: Path, tmp_path: Path
) -> None:
    strangers = tmp_path / "strangers"
    strangers.mkdir()
    for number, photo in enumerate(sorted(find_pictures(tiny_photos))[:5]):
        shutil.copy(photo, strangers / f"{number}{photo.suffix}")
    target = tmp_path / "figures.json"
    command = ["evaluate", str(unknown_models["float32"]), str(tiny_photos)]
    assert run([*command, "--strangers", str(strangers), "--json", str(target)]) == 0
    found = json.loads(target.read_text())["refusals"]
    assert (found["label"], found["strangers"]) == ("unknown", 5)
    # They are known photos, so what is accepted of them is what is kept.
    assert found["accepted"] >= 3
    assert 0 <= found["auroc"] <= 1
    with pytest.raises(UsageError, match="--unknown auto"):
        evaluate_model(tiny_tflite, tiny_photos, strangers=strangers)


def test_counter_examples_are_a_label_and_no_class(tiny_photos: Path, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    shutil.copytree(tiny_photos, photos)
    first = sorted(folder for folder in photos.iterdir() if folder.is_dir())[0]
    first.rename(photos / "None")
    training = train(photos, tmp_path / "run", UNKNOWN)
    card, refusals = training.card, training.refusals
    assert card.unknown == "None"
    assert card.labels == tuple(sorted(path.name for path in photos.iterdir()))
    assert "None" not in [entry.label for entry in training.result.classes]
    assert refusals is not None
    assert refusals.strangers > 0
    assert card.metrics["test_strangers_count"] == refusals.strangers
    shutil.copytree(photos / "None", photos / "other")
    with pytest.raises(DataError, match=r"'None', 'other'\. Put their photos into one"):
        train(photos, tmp_path / "two", UNKNOWN)


@pytest.mark.parametrize(
    ("labels", "index"),
    [
        (("daisy", "tulip"), None),
        (("background", "tulip"), 0),
        (("Nothing", "daisy", "tulip"), 0),
        (("another", "daisy"), None),
    ],
)
def test_which_class_has_counter_examples(labels: tuple[str, ...], index: int | None) -> None:
    assert counter_class(labels) == index


def photos_of_classes(rng: np.random.Generator, count: int) -> np.ndarray:
    """Return features (count, 128) near a subspace of 8 dimensions, each photo a little off it."""
    basis = np.random.default_rng(0).normal(size=(8, 128))
    return np.abs(rng.normal(3, 1, (count, 8))) @ basis + rng.normal(0, 3, (count, 128))


def refused(outside: Outside, head: Head, features: np.ndarray) -> float:
    """Return the share of photos for which `unknown` is ahead of the classes."""
    logit = np.asarray(outside.logit(keras.ops.convert_to_tensor(features, "float32")))
    return float((logit[:, 0] > (features @ head.kernel + head.bias).max(axis=1)).mean())


def test_few_photos_neither_accept_strangers_nor_refuse_the_known() -> None:
    lost = []
    for seed in range(5):
        rng = np.random.default_rng(seed)
        known, held_back, new = (photos_of_classes(rng, count) for count in (32, 8, 400))
        # One of the eight is like nothing else, which says little about the others.
        held_back[0] = rng.normal(0, 12, 128)
        head = Head(rng.normal(0, 0.02, (128, 3)).astype(np.float32), np.zeros(3, np.float32))
        outside = fit_unknown(known, held_back, head, 0.95)
        assert refused(outside, head, rng.normal(0, 30, (400, 128))) >= 0.98
        lost.append(refused(outside, head, new))
    assert np.mean(lost) <= 0.15


def test_few_photos_do_not_undo_what_counter_examples_have_taught() -> None:
    rng = np.random.default_rng(0)
    known, held_back = (photos_of_classes(rng, count) for count in (32, 8))
    # A network that takes the photos for counter-examples: a limit that keeps them is far below 0.
    kernel = rng.normal(0, 0.02, (128, 3)).astype(np.float32)
    head = Head(kernel, np.array([0, 0, 100], np.float32), counter=2)
    assert fit_unknown(known, held_back, head, 0.95).offset == 0


def test_many_photos_keep_the_promised_share() -> None:
    rng = np.random.default_rng(0)
    known, held_back, new = (photos_of_classes(rng, count) for count in (300, 200, 2000))
    head = Head(rng.normal(0, 0.02, (128, 3)).astype(np.float32), np.zeros(3, np.float32))
    outside = fit_unknown(known, held_back, head, 0.9)
    assert refused(outside, head, new) == pytest.approx(0.1, abs=0.05)


def test_multiclass_models_have_the_label_if_nothing_else_is_said() -> None:
    assert Settings().wants_unknown
    assert not Settings(unknown="off").wants_unknown


@pytest.mark.parametrize("share", [0.3, 1.0])
def test_a_share_that_cannot_be_promised(share: float) -> None:
    with pytest.raises(UsageError, match="--known-kept"):
        Settings(known_kept=share)
