"""The overlay: inside the frame, readable, never a crash."""

import numpy as np
import pytest

from pocketlens.runtime.classifier import Category
from pocketlens.runtime.live.frames import Decision
from pocketlens.runtime.live.sinks.overlay import draw_categories, draw_decision

SIZES = [(64, 48), (160, 120), (640, 480), (720, 1280), (1280, 720), (3840, 2160)]
LONG = "a very long label that is wider than any frame " * 20


def drawn(size_wh, labels, grey=128):
    frame = np.full((size_wh[1], size_wh[0], 3), grey, np.uint8)
    scores = np.linspace(0.9, 0.01, len(labels))
    draw_categories(frame, [Category(n, float(s), 0) for n, s in zip(labels, scores, strict=True)])
    return frame


def is_text(frame):
    return frame.min(axis=2) > 220


@pytest.mark.parametrize("size_wh", SIZES, ids=lambda s: f"{s[0]}x{s[1]}")
@pytest.mark.parametrize("labels", [["tulips"], [LONG], ["x", LONG, "z"]], ids=["1", "long", "3"])
@pytest.mark.parametrize("grey", [0, 128, 255], ids=["on-black", "on-grey", "on-white"])
def test_text_is_bright_on_dark_at_any_size(size_wh, labels, grey):
    frame = drawn(size_wh, labels, grey)
    changed = np.argwhere((frame != grey).any(axis=2))
    top, left = changed.min(axis=0)
    bottom, right = changed.max(axis=0) + 1
    box = frame[top:bottom, left:right]
    assert is_text(box).any()
    # The bulk of the box is dark, whatever was there before.
    assert np.median(box) < 130
    # Nothing touches the frame's sides, so nothing is cut off there.
    assert left > 0
    assert right < size_wh[0]


@pytest.mark.parametrize("size_wh", SIZES, ids=lambda s: f"{s[0]}x{s[1]}")
def test_text_is_as_high_as_the_frame_asks(size_wh):
    # Thin strokes of small text are grey.
    rows = np.flatnonzero((drawn(size_wh, ["HI"], grey=0).min(axis=2) > 120).any(axis=1))
    share = (rows[-1] - rows[0] + 1) / min(size_wh)
    assert 0.03 < share < 0.25


def test_the_other_labels_of_a_set_are_as_large_as_the_decided_one():
    best = [Category("HI", 0.9, 0), Category("HI", 0.8, 1), Category("HI", 0.1, 2)]

    def rows(alternatives):
        frame = np.zeros((480, 640, 3), np.uint8)
        draw_decision(frame, Decision(tuple(best[:1]), False), best, alternatives)
        found = np.flatnonzero((frame.min(axis=2) > 120).any(axis=1))
        return [len(run) for run in np.split(found, np.flatnonzero(np.diff(found) > 3) + 1)]

    alone, pair = rows(()), rows(best[1:2])
    assert len(alone) == len(pair) == 3
    assert alone[1] < pair[0] == pair[1] > pair[2] == alone[2]


def test_every_answer_is_large():
    def heights(answers):
        frame = np.zeros((480, 640, 3), np.uint8)
        draw_categories(frame, [Category("HI", 0.9, 0), Category("HI", 0.8, 1)], answers)
        rows = np.flatnonzero((frame.min(axis=2) > 120).any(axis=1))
        return [len(run) for run in np.split(rows, np.flatnonzero(np.diff(rows) > 3) + 1)]

    none, one, both = heights(0), heights(1), heights(2)
    assert none[0] == none[1] == one[1] < one[0] == both[0] == both[1]


def test_several_answers_have_bars_as_long_as_their_scores():
    frame = np.full((480, 640, 3), 128, np.uint8)
    draw_categories(frame, [Category("", score, 0) for score in (1.0, 0.5, 0.0)])
    # The bars are blue, the box is grey.
    blue = (frame[..., 0].astype(int) - frame[..., 2]) > 50
    lengths = sorted({int(n) for n in blue.sum(axis=1) if n}, reverse=True)
    assert lengths[-1] == pytest.approx(lengths[0] / 2, rel=0.2)
    assert not blue[-100:].any()


@pytest.mark.parametrize(
    "label",
    ["Grünkohl", "собака", "猫", "قط", "🌷", "a\nb", "\x00", "", " ", "e\u0301"],
    ids=["accent", "cyrillic", "cjk", "arabic", "emoji", "newline", "nul", "empty", "blank", "nfd"],
)
def test_any_label_can_be_drawn(label):
    assert is_text(drawn((320, 240), [label])).any()


def test_a_long_label_leaves_room_for_its_score():
    def score_columns(label):
        frame = drawn((320, 240), [label])
        columns = np.flatnonzero((frame != 128).any(axis=(0, 2)))
        right = columns[-1]
        return is_text(frame)[:, right - 45 : right + 1].sum()

    assert score_columns(LONG) == pytest.approx(score_columns("i" * 40), rel=0.5)
    assert score_columns(LONG) > 0


@pytest.mark.parametrize("size_wh", [(1, 1), (5, 200), (200, 5), (16, 16)], ids=str)
def test_tiny_frames_do_not_fail(size_wh):
    assert drawn(size_wh, ["label"] * 3).shape == (size_wh[1], size_wh[0], 3)


@pytest.mark.parametrize("score", [float("nan"), -1.0, 7.0, float("inf")], ids=str)
def test_odd_scores_do_not_fail(score):
    frame = np.zeros((120, 160, 3), np.uint8)
    draw_categories(frame, [Category("a", score, 0), Category("b", score, 1)])
    assert is_text(frame).any()


def test_rows_without_room_are_left_out():
    few, many = drawn((64, 48), ["a"] * 20), drawn((64, 48), ["a"] * 40)
    assert few.shape == many.shape == (48, 64, 3)


def test_no_answers_draw_nothing():
    assert (drawn((64, 48), []) == 128).all()
