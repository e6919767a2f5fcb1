"""`Classifier(sets=...)`: the labels that a result may be, and who has none."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pocketlens.errors import UsageError
from pocketlens.runtime import Classifier
from pocketlens.runtime.hints import ModelHints
from pocketlens.runtime.pictures import decode

SETS = {"0.8": 0.5, "0.9": 0.2, "0.95": 0.0}


@pytest.fixture
def model(tiny_models: dict[str, Path], tmp_path: Path, with_card: Callable[..., Path]) -> Path:
    return with_card(tiny_models["float32"], tmp_path / "sets.tflite", sets=SETS)


def test_labels_are_the_first_of_the_categories(model: Path) -> None:
    scores = np.array([0.3, 0.6, 0.1], np.float32)
    for level, labels in (
        (0.8, ("cross",)),
        (0.9, ("cross", "circle")),
        (0.95, ("cross", "circle", "stripes")),
    ):
        with Classifier(model, sets=level, top_k=1) as classifier:
            result = classifier.best(scores)
        assert result.label_set == labels
        assert tuple(entry.label for entry in result.categories) == labels
        assert [entry.label for entry in result.answers] == ["cross"]
    with Classifier(model, sets=0.8) as classifier:
        assert classifier.best(np.array([0.3, 0.4, 0.3], np.float32)).label_set == ("cross",)
    with Classifier(model) as classifier:
        assert classifier.best(scores).label_set == ()


def test_a_score_on_the_limit_is_in(model: Path, with_card: Callable[..., Path]) -> None:
    """JSON keeps the score to the last bit, so that the photo it was taken from is in its set."""
    scores = np.array([0.3, 0.6, 0.1], np.float32)
    card_path = with_card(model, model.with_name("limit.tflite"), sets={"0.9": float(scores[2])})
    with Classifier(card_path, sets=0.9) as classifier:
        assert classifier.best(scores).label_set == ("cross", "circle", "stripes")
        below = np.array([0.3, 0.6, np.nextafter(scores[2], np.float32(0))], np.float32)
        assert classifier.best(below).label_set == ("cross", "circle")


def test_frame_and_photo_have_the_same(model: Path, tiny_photos: Path) -> None:
    path = next((tiny_photos / "cross").iterdir())
    with Classifier(model, sets=0.9) as classifier:
        result = classifier.classify(np.ascontiguousarray(decode(path)[..., ::-1]))
        assert result == classifier.classify_photo(path)
    assert result.label_set
    assert dataclasses.replace(result, label_set=()) != result


@pytest.mark.parametrize(
    ("level", "words"),
    [
        (0.85, r"0\.8, 0\.9\. Received: 0\.85\. Choose one of these"),
        (95, r"0\.8, 0\.9\. Received: 95\. Choose one of these"),
        (0.95, r"0\.8, 0\.9\. Received: 0\.95\. Choose one of these, or train with 19 "),
        (float("nan"), r"Received: nan"),
    ],
    ids=str,
)
def test_another_level_is_one_sentence(
    model: Path, with_card: Callable[..., Path], level: float, words: str
) -> None:
    few = with_card(model, model.with_name("few.tflite"), sets={"0.8": 0.5, "0.9": 0.2})
    with pytest.raises(UsageError, match=words):
        Classifier(few, sets=level)


def test_a_card_without_sets_is_one_sentence(model: Path, with_card: Callable[..., Path]) -> None:
    bare = with_card(model, model.with_name("bare.tflite"), sets={})
    with pytest.raises(UsageError, match="Convert its run again, without --photos"):
        Classifier(bare, sets=0.9)


@pytest.mark.parametrize(
    ("task", "instead"), [("binary", "Use its score"), ("multilabel", "Use its answers")]
)
def test_other_tasks_say_what_to_use(
    task_models: dict[str, dict[str, Path]], task: str, instead: str
) -> None:
    with pytest.raises(UsageError, match=f"a {task} one. {instead}"):
        Classifier(task_models[task]["float32"], sets=0.95)


def test_third_party_files_have_none(elsewhere_model: Path) -> None:
    with pytest.raises(UsageError, match="has no label sets"):
        Classifier(elsewhere_model, sets=0.95, hints=ModelHints())
