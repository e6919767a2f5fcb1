"""Every metric against scikit-learn's, on random answers with ties and missing classes."""

from typing import Any

import numpy as np
import pytest

from pocketlens.evaluation.answers import to_answers
from pocketlens.evaluation.metrics import evaluate, precision_recall_curve, roc_auc, roc_curve

metrics = pytest.importorskip("sklearn.metrics", reason="scikit-learn is in the dev extra")

PHOTOS = 90

CASES = {
    "many classes": {"classes": 12},
    "two classes": {"classes": 2},
    "a class without photos": {"classes": 6, "without": 3},
    "a class never predicted": {"classes": 6, "unsaid": 5},
    "photos of one class only": {"classes": 4, "only": 1},
    "one photo": {"classes": 3, "photos": 1},
}


def softmax_case(
    seed: int,
    classes: int,
    photos: int = PHOTOS,
    without: int | None = None,
    unsaid: int | None = None,
    only: int | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    # Of 8 bits, so that many scores are equal, as those of an int8 file are.
    scores = np.round(rng.dirichlet(np.ones(classes), photos) * 8) / 8
    truth = rng.integers(0, classes, photos)
    if without is not None:
        truth[truth == without] = 0
    if unsaid is not None:
        scores[:, unsaid] = 0
    if only is not None:
        truth[:] = only
    return scores.astype(np.float32), truth


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
@pytest.mark.parametrize("seed", [0, 1])
def test_multiclass(case: dict[str, int], seed: int) -> None:
    scores, truth = softmax_case(seed, **case)
    classes = scores.shape[1]
    labels = tuple(f"class {index}" for index in range(classes))
    found = evaluate(to_answers(scores, truth, labels))
    said = scores.argmax(axis=1)
    check_classes(found, one_hot(truth, classes), one_hot(said, classes), scores)
    expected = metrics.confusion_matrix(truth, said, labels=range(classes))
    np.testing.assert_array_equal(found.confusion, expected)
    assert found.accuracy == pytest.approx(metrics.accuracy_score(truth, said))
    if classes >= 10:
        # scikit-learn breaks ties otherwise: a little less for each later class tells them apart.
        apart = scores - np.arange(classes) * 1e-6
        expected = metrics.top_k_accuracy_score(truth, apart, k=5, labels=range(classes))
        assert found.top5 == pytest.approx(expected)
    shares = np.maximum(scores[np.arange(len(truth)), truth], np.finfo(np.float32).eps)
    assert found.reliability.log_loss == pytest.approx(-np.log(shares).mean(), rel=1e-6)


@pytest.mark.parametrize("threshold", [0.25, 0.5, 0.875])
@pytest.mark.parametrize("share", [0.0, 0.3, 1.0], ids=["none", "some", "all"])
def test_binary(threshold: float, share: float) -> None:
    rng = np.random.default_rng(3)
    scores = (np.round(rng.random((PHOTOS, 1)) * 8) / 8).astype(np.float32)
    truth = (rng.random(PHOTOS) < share).astype(np.int64)
    found = evaluate(to_answers(scores, truth, ("no", "yes"), "binary", threshold))
    said = (scores[:, 0] >= threshold).astype(np.int64)
    both = np.hstack([1 - scores, scores])
    check_classes(found, one_hot(truth, 2), one_hot(said, 2), both)
    np.testing.assert_array_equal(
        found.confusion, metrics.confusion_matrix(truth, said, labels=(0, 1))
    )
    assert found.accuracy == pytest.approx(metrics.accuracy_score(truth, said))
    inside = both.clip(np.finfo(np.float32).eps, 1)
    assert found.reliability.log_loss == pytest.approx(
        -np.log(inside[np.arange(PHOTOS), truth]).mean(), rel=1e-6
    )


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0], ids=["no labels", "some", "all labels"])
def test_multilabel(share: float) -> None:
    rng = np.random.default_rng(4)
    scores = (np.round(rng.random((PHOTOS, 5)) * 8) / 8).astype(np.float32)
    truth = rng.random((PHOTOS, 5)) < share
    truth[:, 2] = False
    found = evaluate(
        to_answers(scores, truth.astype(np.float32), tuple("abcde"), "multilabel", 0.5)
    )
    said = scores >= 0.5
    check_classes(found, truth, said, scores)
    assert found.accuracy == pytest.approx(metrics.accuracy_score(truth, said))
    assert found.label_accuracy == pytest.approx(1 - metrics.hamming_loss(truth, said))


def one_hot(indices: np.ndarray, classes: int) -> np.ndarray:
    return indices[:, None] == np.arange(classes)


def check_classes(found: Any, truth: np.ndarray, said: np.ndarray, scores: np.ndarray) -> None:
    """Compare what every task has: F1 of all kinds, and each class by itself."""
    each = metrics.precision_recall_fscore_support(
        truth.astype(int), said.astype(int), zero_division=0
    )
    for name, values in zip(("precision", "recall", "f1", "support"), each, strict=True):
        own = [getattr(entry, name) for entry in found.classes]
        np.testing.assert_allclose(own, values, err_msg=name)
    there = truth.any(axis=0)
    assert found.macro_f1 == pytest.approx(each[2][there].mean() if there.any() else 0)
    for average in ("weighted", "micro"):
        expected = metrics.f1_score(
            truth.astype(int), said.astype(int), average=average, zero_division=0
        )
        assert getattr(found, f"{average}_f1") == pytest.approx(expected), average
    aucs = []
    for index, entry in enumerate(found.classes):
        if truth[:, index].all() or not truth[:, index].any():
            assert entry.auc is None
            continue
        aucs.append(metrics.roc_auc_score(truth[:, index], scores[:, index]))
        assert entry.auc == pytest.approx(aucs[-1])
    assert found.macro_auc == (pytest.approx(np.mean(aucs)) if aucs else None)


@pytest.mark.parametrize("levels", [2, 8, 1_000_000], ids=["many ties", "ties", "no ties"])
def test_curves(levels: int) -> None:
    rng = np.random.default_rng(levels)
    scores = np.round(rng.random(PHOTOS) * levels) / levels
    truth = rng.random(PHOTOS) < 0.4
    for own, expected in (
        (roc_curve(truth, scores), metrics.roc_curve(truth, scores, drop_intermediate=False)),
        (precision_recall_curve(truth, scores), metrics.precision_recall_curve(truth, scores)),
    ):
        for one, other in zip(own, expected, strict=True):
            np.testing.assert_allclose(one, other)
    assert roc_auc(truth, scores) == pytest.approx(metrics.roc_auc_score(truth, scores))
