"""What a user says of a third-party model, and what its scores mean then."""

import math
from pathlib import Path

import pytest

import pocketlens
from pocketlens.card import ModelCard
from pocketlens.errors import LabelsError, ModelFileError, UsageError
from pocketlens.runtime.answers import describe, require_labels
from pocketlens.runtime.hints import ModelHints

CARD = ModelCard("own", ("no", "yes"), (8, 8), task="binary", threshold=0.7, resize_mode="crop")


def test_it_is_at_the_top() -> None:
    assert pocketlens.ModelHints is ModelHints


@pytest.mark.parametrize(
    "values",
    [
        {"mean": 1.0},
        {"std": 1.0},
        {"mean": 0.0, "std": 0.0},
        {"mean": 0.0, "std": -1.0},
        {"mean": math.nan, "std": 1.0},
        {"mean": 0.0, "std": math.inf},
        {"task": "detection"},
        {"resize_mode": "tile"},
        {"threshold": 0.0},
        {"threshold": 1.1},
        {"threshold": math.nan},
        {"image_size": 0},
    ],
    ids=str,
)
def test_values_that_no_model_could_have(values: dict[str, object]) -> None:
    with pytest.raises(UsageError, match=r"Expected .* Received: "):
        ModelHints(**values)  # type: ignore[arg-type]


def test_labels_are_names_or_a_file_of_them(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("a\n\nb\n")
    assert ModelHints(labels=["a", "b"]).read_labels() == ("a", "b")
    assert ModelHints(labels=tmp_path / "names.txt").read_labels() == ("a", "b")
    assert ModelHints(labels=str(tmp_path / "names.txt")).read_labels() == ("a", "b")
    assert ModelHints().read_labels() is None
    with pytest.raises(UsageError, match="a file with labels"):
        ModelHints(labels="nowhere.txt").read_labels()


@pytest.mark.parametrize(
    ("outputs", "hints", "task", "threshold", "labels"),
    [
        (2, ModelHints(), "multiclass", 0.0, ("class 0", "class 1")),
        (1, ModelHints(), "binary", 0.5, ("class 0", "class 1")),
        (1, ModelHints(labels=("n", "p"), threshold=0.2), "binary", 0.2, ("n", "p")),
        (1, ModelHints(labels=("only",), task="multiclass"), "multiclass", 0.0, ("only",)),
        (2, ModelHints(task="multilabel"), "multilabel", 0.5, ("class 0", "class 1")),
        (1, ModelHints(task="multilabel", threshold=0.9), "multilabel", 0.9, ("class 0",)),
    ],
    ids=["several", "one", "named", "one class", "multilabel", "one label"],
)
def test_third_party_model(
    outputs: int, hints: ModelHints, task: str, threshold: float, labels: tuple[str, ...]
) -> None:
    card = describe("a/net.tflite", (8, 6), outputs, hints=hints)
    assert (card.task, card.threshold, card.labels) == (task, threshold, labels)
    assert (card.name, card.input_size_wh, card.resize_mode) == ("net", (8, 6), "stretch")


def test_labels_of_the_user_come_first() -> None:
    card = describe("m", (8, 8), 2, labels=("x", "y"), hints=ModelHints(labels=("a", "b")))
    assert card.labels == ("a", "b")
    assert describe("m", (8, 8), 2, labels=("x", "y"), hints=ModelHints()).labels == ("x", "y")


@pytest.mark.parametrize(
    ("outputs", "hints", "error", "text"),
    [
        (3, ModelHints(labels=("a", "b")), LabelsError, "Expected 3 labels"),
        (1, ModelHints(labels=("a",)), LabelsError, "Expected 2 labels"),
        (3, ModelHints(task="binary"), ModelFileError, "Expected one score"),
        (3, ModelHints(threshold=0.5), UsageError, "--threshold"),
    ],
    ids=["labels", "one label", "binary", "threshold"],
)
def test_hints_that_do_not_go_with_the_model(
    outputs: int, hints: ModelHints, error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        describe("m", (8, 8), outputs, hints=hints)


def test_a_card_takes_new_labels_and_nothing_else() -> None:
    assert describe("m", (8, 8), 1, card=CARD, hints=ModelHints(backend="tf.lite")) == CARD
    renamed = describe("m", (8, 8), 1, card=CARD, hints=ModelHints(labels=("nein", "ja")))
    assert (renamed.labels, renamed.threshold) == (("nein", "ja"), 0.7)
    said = ModelHints(mean=1.0, std=2.0, resize_mode="pad", task="binary", threshold=0.7)
    with pytest.raises(UsageError, match=r"--mean 1.0, --std 2.0, --task .*--resize pad"):
        describe("m", (8, 8), 1, card=CARD, hints=said)
    with pytest.raises(ModelFileError, match="Expected one score"):
        describe("m", (8, 8), 2, card=CARD)


def test_models_whose_labels_nobody_knows() -> None:
    assert require_labels("m", ["a"]) == ("a",)
    with pytest.raises(UsageError, match="Add --labels"):
        require_labels("m", None)


@pytest.mark.parametrize(("task", "threshold"), [("binary", 0.5), ("multilabel", 0.5)])
def test_cards_without_a_threshold_have_the_default(task: str, threshold: float) -> None:
    text = ModelCard("m", ("a", "b"), (8, 8), task=task).to_json()
    older = text.replace(f'"threshold": {threshold}', '"threshold": 0.0')
    assert older != text
    assert ModelCard.from_json(older).threshold == threshold
