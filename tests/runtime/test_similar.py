import numpy as np
import pytest

from pocketlens.demo.video import write_video
from pocketlens.runtime.inbox import fingerprint, near_copy
from pocketlens.runtime.similar import GROUP_S, MAX_GROUP_BITS, near_pairs, similar_groups


def bits(*places):
    return sum(1 << place for place in places)


def test_near_pairs_are_those_of_near_copy():
    rng = np.random.default_rng(0)
    some = [int(value) for value in rng.integers(0, 1 << 63, 60)]
    found = [*some]
    for value in some:
        flips = rng.choice(64, rng.integers(0, 9), replace=False)
        found.append(value ^ bits(*map(int, flips)))
    expected = [
        (one, two)
        for one in range(len(found))
        for two in range(one + 1, len(found))
        if near_copy(found[one], found[two])
    ]
    assert len(expected) > 10
    assert list(near_pairs(found)) == expected
    assert list(near_pairs([])) == list(near_pairs([1])) == []


def test_they_are_the_same_with_a_numpy_that_counts_no_bits(monkeypatch):
    rng = np.random.default_rng(1)
    some = [int(value) for value in rng.integers(0, 1 << 63, 40)]
    found = [*some, *(value ^ bits(20, 30) for value in some)]
    expected = list(near_pairs(found))
    assert len(expected) == 40
    monkeypatch.delattr(np, "bitwise_count", raising=False)
    assert list(near_pairs(found)) == expected


def group(fingerprints, times_s, answers=None):
    return list(similar_groups(fingerprints, times_s, answers or [""] * len(fingerprints)))


def test_frames_that_follow_each_other_and_look_alike_are_a_group():
    moved = [bits(*range(16, 16 + MAX_GROUP_BITS * step)) for step in range(4)]
    assert group(moved, [0, 10, 20, 30]) == [0, 0, 0, 0]
    # Given in any order of time.
    assert group(moved[::-1], [30, 20, 10, 0]) == [0, 0, 0, 0]
    # A pause parts them, unless they are near copies.
    assert group(moved, [0, 10, 11 + GROUP_S, 12 + GROUP_S]) == [0, 0, 2, 2]
    assert group([5, 5], [0, 10 * GROUP_S]) == [0, 0]
    # So does more that differs.
    assert group([0, bits(*range(16, 17 + MAX_GROUP_BITS))], [0, 1]) == [0, 1]


def test_what_a_model_tells_apart_is_no_group():
    assert group([5, 5, 5], [0, 1, 2], ["mug", "plate", "mug"]) == [0, 1, 0]
    # One of which it is not sure is in one of both.
    assert group([5, 5, 5], [0, 1, 2], ["mug", "", "plate"]) == [0, 0, 2]
    assert group([5, 5, 5], [0, 1, 2], ["", "mug", ""]) == [0, 0, 0]


def test_pictures_without_a_fingerprint_are_alone():
    assert group([None, None, 5, 5], [0, 0, 1, 2]) == [0, 1, 2, 2]
    assert group([], []) == []


@pytest.mark.parametrize("seed", [11, 12])
def test_frames_of_a_video_are_grouped_by_what_is_seen(tmp_path, seed):
    import cv2

    path = tmp_path / "cards.mp4"
    labels = write_video(path, seed, seconds=20, fps=10)
    capture = cv2.VideoCapture(str(path))
    found = []
    for number, label in enumerate(labels):
        _, frame = capture.read()
        if label and number % 5 == 0:
            found.append((fingerprint(frame), number / 10, label))
    capture.release()
    groups = group([entry[0] for entry in found], [entry[1] for entry in found])
    for number in set(groups):
        of = {entry[2] for entry, each in zip(found, groups, strict=True) if each == number}
        assert len(of) == 1
    assert len(set(groups)) < 0.8 * len(found)
