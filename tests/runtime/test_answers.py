"""From scores to answers, task by task, by hand."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocketlens.card import unpack
from pocketlens.errors import LabelsError
from pocketlens.runtime import Classifier
from pocketlens.runtime.answers import (
    answer_of,
    best_scores,
    label_scores,
)
from pocketlens.runtime.hints import ModelHints
from pocketlens.runtime.pictures import decode


@pytest.mark.parametrize(
    ("task", "scores", "threshold", "answer"),
    [
        ("multiclass", [0.2, 0.5, 0.3], 0.0, (1,)),
        ("multiclass", [0.5, 0.5], 0.9, (0,)),
        ("binary", [0.5], 0.5, (1,)),
        ("binary", [0.49], 0.5, (0,)),
        ("binary", [0.3], 0.2, (1,)),
        ("multilabel", [0.9, 0.1, 0.5], 0.5, (0, 2)),
        ("multilabel", [0.4, 0.1, 0.2], 0.5, ()),
    ],
    ids=str,
)
def test_answer(task: str, scores: list[float], threshold: float, answer: tuple) -> None:
    assert answer_of(np.array(scores, np.float32), task, threshold) == answer


def test_scores_of_both_labels() -> None:
    scores = np.array([0.25], np.float32)
    assert label_scores(scores, "binary").tolist() == [0.75, 0.25]
    assert label_scores(scores, "multilabel").tolist() == [0.25]


@pytest.mark.parametrize("score", [0.1, 0.3, 0.5, 0.9])
def test_binary_result(task_models: dict[str, dict[str, Path]], score: float) -> None:
    with Classifier(task_models["binary"]["int8"], top_k=1) as classifier:
        classifier.threshold = 0.3
        result = classifier.best(np.array([score], np.float32))
        assert len(result.categories) == 1
        assert result.answers == (result.top,)
        label, shown = ("circle", score) if score >= 0.3 else ("cross", 1 - score)
        assert result.top.label == label
        assert result.top.score == pytest.approx(shown)
    with Classifier(task_models["binary"]["int8"]) as classifier:
        both = classifier.best(np.array([score], np.float32)).categories
    assert {c.label: c.index for c in both} == {"cross": 0, "circle": 1}
    assert sum(c.score for c in both) == pytest.approx(1)


@pytest.mark.parametrize(
    ("scores", "top_k", "answers", "shown"),
    [
        ([0.9, 0.1, 0.6], 1, ["circle", "stripes"], 2),
        ([0.9, 0.1, 0.6], 3, ["circle", "stripes"], 3),
        ([0.2, 0.1, 0.3], 1, [], 1),
    ],
    ids=["more than top_k", "all", "none"],
)
def test_multilabel_result(
    task_models: dict[str, dict[str, Path]],
    scores: list[float],
    top_k: int,
    answers: list[str],
    shown: int,
) -> None:
    with Classifier(task_models["multilabel"]["float16"], top_k=top_k) as classifier:
        result = classifier.best(np.array(scores, np.float32))
    assert [entry.label for entry in result.answers] == answers
    assert result.categories[: len(answers)] == result.answers
    assert len(result.categories) == shown
    assert result.top.score == pytest.approx(max(scores))


def test_one_score_of_a_third_party_file_is_binary(
    task_models: dict[str, dict[str, Path]], tiny_photos: Path, tmp_path: Path
) -> None:
    known = task_models["binary"]["int8"]
    plain = tmp_path / "plain.tflite"
    # Its standard metadata under another name, where nobody looks for it and the labels.
    flatbuffer = unpack(known.read_bytes()).flatbuffer
    plain.write_bytes(flatbuffer.replace(b"TFLITE_METADATA", b"UNKNOWN_RECORDS"))
    path = next((tiny_photos / "cross").iterdir())
    hints = ModelHints(labels=["cross", "circle"])
    with Classifier(plain, hints=hints) as one, Classifier(known) as other:
        assert (one.task, one.threshold) == ("binary", 0.5)
        assert one.classify_photo(path) == other.classify_photo(path)
    with Classifier(plain) as nameless:
        assert (nameless.task, nameless.threshold) == ("binary", 0.5)
        assert nameless.labels == ("class 0", "class 1")
    with pytest.raises(LabelsError, match="Expected 2 labels"):
        Classifier(plain, hints=ModelHints(labels=["circle"]))


def test_frame_and_photo_of_a_binary_model(
    task_models: dict[str, dict[str, Path]], tiny_photos: Path
) -> None:
    path = next((tiny_photos / "cross").iterdir())
    with Classifier(task_models["binary"]["float32"]) as classifier:
        frame_bgr = np.ascontiguousarray(decode(path)[..., ::-1])
        assert classifier.classify(frame_bgr) == classifier.classify_photo(path)


@given(
    # Few values, as those of 8-bit scores, so that many are equal.
    values=st.lists(st.integers(0, 6), min_size=1, max_size=90),
    count=st.integers(1, 100),
)
def test_best_scores_are_those_of_a_stable_sort(values: list[int], count: int) -> None:
    scores = np.array(values, np.float32) / 7
    order = np.argsort(-scores, kind="stable")[:count]
    expected = [(int(index), float(scores[index])) for index in order]
    assert best_scores(scores, count) == expected
