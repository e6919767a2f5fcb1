"""Which file is chosen, and what is said about it."""

import pytest

from pocketlens.benchmarks import find_verdict
from pocketlens.benchmarks.recommendation import accuracy_gap, as_fast, recommend
from pocketlens.benchmarks.report import explain

FLOAT32 = ("float32", 14, 904, {1: 7.0})


@pytest.mark.parametrize(
    ("files", "chosen", "threads"),
    [
        pytest.param([FLOAT32, ("int8", 4, 900, {1: 3.3})], "int8", 1, id="fast, within a point"),
        pytest.param([FLOAT32, ("int8", 4, 894, {1: 3.3})], "int8", 1, id="exactly one point"),
        pytest.param([FLOAT32, ("int8", 4, 893, {1: 3.3})], "float32", 1, id="loses too much"),
        pytest.param(
            [FLOAT32, ("int8", 4, 890, {1: 3.3}), ("dynamic", 4, 903, {1: 5.0})],
            "dynamic",
            1,
            id="second fastest",
        ),
        pytest.param(
            [FLOAT32, ("int8", 4, 900, {1: 3.3}), ("dynamic", 4, 920, {1: 5.0})],
            "dynamic",
            1,
            id="the best counts, not the reference",
        ),
        pytest.param(
            [FLOAT32, ("float16", 7, 904, {1: 7.2})], "float16", 1, id="same speed, smaller"
        ),
        pytest.param(
            [FLOAT32, ("float16", 7, 904, {1: 7.5})], "float32", 1, id="more than 5 % slower"
        ),
        pytest.param([("int8", 4, 900, {1: 3.3, 2: 2.0})], "int8", 2, id="more threads, faster"),
        pytest.param(
            [("int8", 4, 900, {1: 3.3, 4: 3.2})], "int8", 1, id="more threads for nothing"
        ),
        pytest.param(
            [("float32", 14, None, {1: 7.0}), ("int8", 4, None, {1: 3.3})],
            "int8",
            1,
            id="without data",
        ),
    ],
)
def test_rule(made_up, files, chosen, threads):
    verdict = find_verdict(made_up(*files))
    assert verdict.file.startswith(chosen)
    assert verdict.threads == threads


def test_one_photo_of_few_is_not_called_a_point(made_up):
    """Of 36 photos one is 2.8 points, and says nothing."""
    few = made_up(("float32", 14, 33, {1: 7.0}), ("int8", 3.5, 32, {1: 3.5}), photos=36)
    assert "the fastest of 2 files within 1 photo of the best" in find_verdict(few).sentence
    assert "within 1 photo of the best of them" in " ".join(explain(recommend(few)))


def test_sentence(made_up):
    verdict = find_verdict(made_up(FLOAT32, ("int8", 3.5, 902, {1: 3.5})))
    assert verdict.sentence == (
        "Use int81.tflite with 1 thread: at 3.5 ms per frame and 90.2 % accuracy it is the "
        "fastest of 2 files within 1 point of the best, 2.0 times as fast as float32 at 0.25 of "
        "its size, with 0.2 points less accuracy."
    )
    assert verdict.speed_up == pytest.approx(2.0)
    assert verdict.size_ratio == pytest.approx(0.25)
    assert verdict.accuracy_points == pytest.approx(-0.2)


@pytest.mark.parametrize(
    ("files", "said", "unsaid"),
    [
        pytest.param(
            [("int8", 4, 900, {2: 4.0})],
            ["Use int80.tflite with 2 threads", "up to 250 frames a second", "90.0 %"],
            ["times as fast", "of its size"],
            id="one file",
        ),
        pytest.param(
            [("float32", 14, None, {1: 7.0}), ("int8", 4, None, {1: 3.5})],
            ["2.0 times as fast as float32", "without --photos"],
            ["points", "accuracy it"],
            id="no data",
        ),
        pytest.param([("int8", 4, None, {1: 4.0})], ["without --photos"], ["%"], id="neither"),
        pytest.param(
            [FLOAT32, ("int8", 4, 700, {1: 3.0})],
            ["Use float320.tflite", "the only one within 1 point"],
            ["times as fast"],
            id="only the reference is good",
        ),
        pytest.param(
            [("dynamic", 4, 900, {1: 8.0}), ("int8", 4, 900, {1: 4.0})],
            ["as fast as dynamic0.tflite"],
            ["float32"],
            id="no float32",
        ),
        pytest.param(
            [FLOAT32, ("float16", 7, 904, {1: 7.1})],
            [
                "the smallest of the fastest among 2 files",
                "no measurable difference in accuracy (±0.0 points)",
            ],
            ["it is the fastest"],
            id="a tie",
        ),
    ],
)
def test_sentences_for_other_cases(made_up, files, said, unsaid):
    sentence = find_verdict(made_up(*files)).sentence
    assert all(text in sentence for text in said), sentence
    assert not any(text in sentence for text in unsaid), sentence
    assert sentence.endswith(".")


@pytest.mark.parametrize(("photos", "is_doubted"), [(10, True), (2000, False)])
def test_few_photos_are_mentioned(made_up, photos, is_doubted):
    result = made_up(("int8", 4, photos * 9 // 10, {1: 3.0}), photos=photos)
    assert (
        f"; on {photos} photos this is only known to" in find_verdict(result).sentence
    ) is is_doubted


@pytest.mark.parametrize(
    ("ratio", "words"),
    [
        (0.5, "2.0 times as fast as float32"),
        (0.98, "as fast as float32"),
        (1.16, "slower than float32 (1.16 times as long)"),
    ],
)
def test_speed_in_words(ratio, words):
    assert as_fast(ratio, "float32") == words


@pytest.mark.parametrize(
    ("points", "is_noise", "words"),
    [
        (1.12, False, "1.1 points more accuracy"),
        (-1.12, False, "1.1 points less accuracy"),
        (-1.12, True, "no measurable difference in accuracy (−1.1 points)"),
        (-0.04, False, "no measurable difference in accuracy (±0.0 points)"),
    ],
)
def test_accuracy_in_words(points, is_noise, words):
    assert accuracy_gap(points, is_noise=is_noise) == words
