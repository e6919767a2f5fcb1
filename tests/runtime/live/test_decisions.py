"""Decisions: steady where frames flicker, and the frame's own answer where nothing is asked for."""

import math

import numpy as np
import pytest

from pocketlens.errors import UsageError
from pocketlens.runtime import Classifier
from pocketlens.runtime.classifier import Result
from pocketlens.runtime.live.decisions import Decider, DecisionSettings, FrameAnswers

LABELS = ("cat", "dog", "fox")
TASK_THRESHOLDS = {"multiclass": 0.0, "binary": 0.5, "multilabel": 0.5}


def decider(task="multiclass", **settings):
    labels = LABELS[:2] if task == "binary" else LABELS
    return Decider(labels, task, TASK_THRESHOLDS[task], DecisionSettings(**settings))


def decide(decisions, rows, interval_s=0.1):
    """Return each row's decision as its labels, with a * where it is an event."""
    said = []
    for number, row in enumerate(rows):
        result = Result((), (), scores=np.array(row, np.float32))
        decision = decisions.decide(result, number * interval_s)
        said.append(decision.text + "*" * decision.changed)
    return said


CAT, DOG, FOX = (0.8, 0.1, 0.1), (0.1, 0.8, 0.1), (0.1, 0.1, 0.8)


def test_each_frames_answer_is_the_decision_where_nothing_is_asked_for():
    assert decide(decider(), [CAT, CAT, DOG, CAT]) == ["cat*", "cat", "dog*", "cat*"]


@pytest.mark.parametrize(
    ("confirm", "expected"),
    [
        pytest.param((1, 1), "CDCDDDC", id="1/1"),
        pytest.param((2, 2), "----DD" + "D", id="2/2"),
        pytest.param((2, 3), "--CDDDD", id="2/3"),
        pytest.param((3, 5), "----DDD", id="3/5"),
        pytest.param((5, 5), "-------", id="5/5"),
    ],
)
def test_an_answer_is_confirmed_by_n_of_m_frames(confirm, expected):
    rows = [{"C": CAT, "D": DOG}[letter] for letter in "CDCDDDC"]
    names = {"-": "unknown", "C": "cat", "D": "dog"}
    said = decide(decider(confirm=confirm), rows)
    assert [entry.rstrip("*") for entry in said] == [names[letter] for letter in expected]
    before = "-"
    for letter, entry in zip(expected, said, strict=True):
        assert entry.endswith("*") == (letter != before)
        before = letter


def test_the_first_confirmed_answer_is_an_event_also_when_nothing_is_known():
    low = (0.4, 0.3, 0.3)
    assert decide(decider(threshold=0.5, confirm=(2, 2)), [low, low, low]) == [
        "unknown",
        "unknown*",
        "unknown",
    ]


def test_below_the_threshold_nothing_is_known():
    rows = [(0.7, 0.2, 0.1), (0.59, 0.31, 0.1), (0.2, 0.61, 0.19)]
    assert decide(decider(threshold=0.6), rows) == ["cat*", "unknown*", "dog*"]


def test_hysteresis_keeps_what_is_decided_near_the_threshold_and_near_another_label():
    rows = [
        (0.55, 0.25, 0.2),  # Too low to begin with.
        (0.62, 0.20, 0.18),
        (0.52, 0.30, 0.18),  # Low, but not by more than the margin.
        (0.49, 0.31, 0.2),
        (0.55, 0.25, 0.2),
        (0.60, 0.20, 0.2),
    ]
    assert decide(decider(threshold=0.6, hysteresis=0.1), rows) == [
        "unknown*",
        "cat*",
        "cat",
        "unknown*",
        "unknown",
        "cat*",
    ]
    rows = [(0.5, 0.4, 0.1), (0.44, 0.46, 0.1), (0.40, 0.49, 0.11), (0.35, 0.55, 0.1)]
    assert decide(decider(hysteresis=0.1), rows) == ["cat*", "cat", "cat", "dog*"]


@pytest.mark.parametrize("fps", [2, 10, 100])
def test_smoothing_follows_a_step_at_the_same_pace_at_any_frame_rate(fps):
    decisions = decider(smooth_s=1.0)
    for number in range(fps + 1):
        scores = np.array([1.0, 0, 0] if number == 0 else [0.5, 0.25, 0.25], np.float32)
        decision = decisions.decide(Result((), (), scores=scores), number / fps)
    # A time constant after the step 63 % of it is done.
    assert decision.categories[0].score == pytest.approx(0.5 * (1 + math.exp(-1)), abs=1e-5)


def test_a_flicker_of_one_frame_is_smoothed_away():
    rows = [CAT] * 10 + [DOG] + [CAT] * 10 + [DOG] * 10
    said = decide(decider(smooth_s=0.3), rows)
    assert said[0] == "cat*"
    assert said[1:21] == ["cat"] * 20
    assert said[-1] == "dog"
    assert sum(entry.endswith("*") for entry in said) == 2


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        pytest.param({"allow": ("cat", "fox")}, ["cat*", "unknown*", "fox*"], id="allow"),
        pytest.param({"deny": ("dog",)}, ["cat*", "unknown*", "fox*"], id="deny"),
        pytest.param(
            {"allow": ("cat", "dog"), "deny": ("fox",)}, ["cat*", "dog*", "unknown*"], id="both"
        ),
    ],
)
def test_labels_that_are_not_allowed_are_unknown(settings, expected):
    assert decide(decider(**settings), [CAT, DOG, FOX]) == expected


def test_a_binary_model_has_one_threshold_between_two_answers():
    rows = [(1 - score, score) for score in (0.4, 0.5, 0.45, 0.39, 0.45, 0.9)]
    assert decide(decider("binary"), rows) == ["cat*", "dog*", "cat*", "cat", "cat", "dog*"]
    assert decide(decider("binary", hysteresis=0.1), rows) == [
        "cat*",
        "dog*",
        "dog",
        "cat*",
        "cat",
        "dog*",
    ]
    assert decide(decider("binary", threshold=0.8), rows)[-3:] == ["cat", "cat", "dog*"]
    assert decide(decider("binary", deny=("cat",)), rows)[:2] == ["unknown*", "dog*"]
    result = Result((), (), scores=np.array([0.7, 0.3], np.float32))
    (category,) = decider("binary").decide(result, 0.0).categories
    assert (category.label, category.index) == ("cat", 0)
    assert category.score == pytest.approx(0.7)


def test_labels_of_a_multilabel_model_are_decided_one_by_one():
    rows = [(0.9, 0.1, 0.6), (0.45, 0.7, 0.6), (0.35, 0.7, 0.1), (0, 0, 0)]
    assert decide(decider("multilabel"), rows) == ["cat, fox*", "dog, fox*", "dog*", "nothing*"]
    assert decide(decider("multilabel", hysteresis=0.1), rows) == [
        "cat, fox*",
        "dog, fox, cat*",
        "dog*",
        "nothing*",
    ]
    assert decide(decider("multilabel", deny=("fox",)), rows) == ["cat*", "dog*", "dog", "nothing*"]


def test_labels_of_a_multilabel_model_are_confirmed_one_by_one():
    on = {"c": (0.9, 0, 0), "cd": (0.8, 0.9, 0), "": (0, 0, 0)}
    rows = [on[key] for key in ("c", "cd", "c", "cd", "", "c", "", "")]
    assert decide(decider("multilabel", confirm=(2, 3)), rows) == [
        "nothing",
        "cat*",
        "cat",
        "dog, cat*",
        "cat*",
        "cat",
        "nothing*",
        "nothing",
    ]
    rows = [on[""]] * 3
    assert decide(decider("multilabel", confirm=(2, 3)), rows) == ["nothing", "nothing*", "nothing"]


@pytest.mark.parametrize("task", TASK_THRESHOLDS)
def test_forgetting_begins_anew(task):
    row = (0.1, 0.9) if task == "binary" else (0.9, 0.3, 0.1)
    decisions = decider(task, smooth_s=100.0, confirm=(2, 3), hysteresis=0.1)
    first = decide(decisions, [row, row, row])
    assert first[0] in ("unknown", "nothing")
    assert first[1].endswith("*")
    decisions.forget()
    assert decide(decisions, [row, row, row]) == first


def test_what_it_is_given_is_not_kept():
    # A classifier may use one array for all its frames.
    decisions = decider(smooth_s=1.0)
    scores = np.array(CAT, np.float32)
    decisions.decide(Result((), (), scores=scores), 0.0)
    scores[:] = DOG
    decision = decisions.decide(Result((), (), scores=scores), 0.1)
    assert decision.categories[0].label == "cat"


@pytest.mark.parametrize("task", ["multiclass", "binary", "multilabel"])
def test_without_settings_it_says_what_the_classifier_says(task, tiny_tflite, task_models):
    model = tiny_tflite if task == "multiclass" else task_models[task]["float32"]
    rng = np.random.default_rng(3)
    with Classifier(model) as classifier:
        decisions = Decider(
            classifier.labels, classifier.task, classifier.threshold, DecisionSettings()
        )
        plain = FrameAnswers()
        outputs = len(classifier.labels) - (task == "binary")
        for number in range(200):
            result = classifier.best(rng.random(outputs, dtype=np.float32))
            decision = decisions.decide(result, number / 10)
            assert decision.categories == result.answers
            assert decision.changed == plain.decide(result, number / 10).changed
        frame = np.full((90, 120, 3), 128, np.uint8)
        assert classifier.classify(frame).scores.shape == (len(classifier.labels),)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        pytest.param({"smooth_s": -1.0}, "--smooth", id="negative-time"),
        pytest.param({"smooth_s": math.nan}, "--smooth", id="no-time"),
        pytest.param({"smooth_s": math.inf}, "--smooth", id="endless-time"),
        pytest.param({"confirm": (4, 3)}, "4/3", id="more-than-there-are"),
        pytest.param({"confirm": (0, 3)}, "0/3", id="none"),
        pytest.param({"confirm": (1, 10**6)}, "up to 1000", id="a-window-of-a-day"),
        pytest.param({"hysteresis": -0.1}, "--hysteresis in 0 to 1", id="negative-margin"),
        pytest.param({"hysteresis": math.nan}, "--hysteresis", id="no-margin"),
        pytest.param({"threshold": 60.0}, "--threshold in 0 to 1", id="percent"),
        pytest.param({"threshold": math.nan}, "--threshold", id="no-threshold"),
        pytest.param({"threshold": 0.2, "hysteresis": 0.3}, "threshold of 0.2", id="never-dropped"),
        pytest.param({"allow": ("foxes",)}, "nearest are: fox", id="unknown-label"),
        pytest.param({"deny": ("🦊",)}, "They are: cat, dog, fox", id="unlike-any-label"),
        pytest.param({"allow": ("fox",), "deny": ("fox", "cat")}, "both for fox", id="both"),
        pytest.param({"deny": LABELS}, "all denied", id="all-denied"),
    ],
)
def test_nonsense_is_one_sentence(settings, words):
    with pytest.raises(UsageError, match=words):
        decider(**settings)


def test_labels_of_options_are_in_the_form_of_all_labels() -> None:
    settings = DecisionSettings(allow=(" cafe\N{COMBINING ACUTE ACCENT}",), deny=("red\n",))
    assert (settings.allow, settings.deny) == (("café",), ("red",))
