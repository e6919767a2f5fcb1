"""What is recommended within which limits, and what is said of it."""

import io
import json
import math
import re
from dataclasses import replace
from pathlib import Path

import pytest

from pocketlens.benchmarks.payload import parse_recommendation, recommendation_payload
from pocketlens.benchmarks.recommendation import Limits, recommend
from pocketlens.benchmarks.report import explain, nothing_fits, print_recommendation
from pocketlens.errors import UsageError
from pocketlens.evaluation.agreement import Flips

FILES = [
    ("float32", 14, 904, {1: 7.0, 2: 4.2}),
    ("float16", 7, 905, {1: 7.1, 2: 4.3}),
    ("dynamic", 3.8, 901, {1: 4.9, 2: 3.4}),
    ("int8", 4, 890, {1: 3.3, 2: 2.0}),
]


@pytest.mark.parametrize(
    ("limits", "taken", "runner_up"),
    [
        pytest.param({}, ("dynamic", 2), ("float16", 2), id="none: within a point"),
        pytest.param({"max_drop": 2}, ("int8", 2), ("dynamic", 2), id="more loss"),
        pytest.param({"max_drop": 0}, ("float16", 2), None, id="no loss at all"),
        pytest.param({"max_drop": 0.1}, ("float16", 2), ("float32", 2), id="to the best"),
        pytest.param(
            {"max_latency_ms": 3}, ("int8", 2), None, id="of those in time the most accurate"
        ),
        pytest.param({"max_latency_ms": 3.5}, ("dynamic", 2), ("int8", 2), id="in time"),
        pytest.param({"max_size_mb": 3.9}, ("dynamic", 2), None, id="size"),
        pytest.param({"max_size_mb": 4, "max_drop": 5}, ("int8", 2), ("dynamic", 2), id="two"),
    ],
)
def test_choice(made_up, limits, taken, runner_up):
    found = recommend(made_up(*FILES), Limits(**limits))
    assert (found.take.row[0].format, found.take.threads) == taken
    other = found.runner_up
    assert (other and (other.row[0].format, other.threads)) == runner_up
    assert found.take.on_front
    assert not found.take.misses


def test_front(made_up):
    found = recommend(made_up(*FILES))
    front = {(option.row[0].format, option.threads) for option in found.options if option.on_front}
    # float32 with one thread is 0.1 ms faster than float16, which is better in all the rest.
    assert front == {(kind, count) for kind, *_ in FILES for count in (1, 2)}
    beaten = [*FILES, ("weights8", 4, 890, {1: 7.2, 2: 4.4})]
    found = recommend(made_up(*beaten))
    assert [option.on_front for option in found.options[-2:]] == [False, False]


def test_more_threads_that_gain_nothing_are_not_taken(made_up):
    found = recommend(made_up(("int8", 4, 900, {1: 3.3, 2: 3.2, 4: 3.25})))
    assert found.take.threads == 1
    assert found.runner_up is None


@pytest.mark.parametrize(
    ("limits", "nearest", "said"),
    [
        pytest.param(
            {"max_latency_ms": 0.001},
            ("int8", 2),
            "within 0.001 ms. Received: none; the nearest is int83.tflite with 2 threads, 2.0 ms",
            id="time",
        ),
        pytest.param({"max_size_mb": 0.1}, ("dynamic", 1), "3.8 MB and 90.1 % top-1", id="size"),
        pytest.param(
            {"max_latency_ms": 2.5, "max_drop": 1},
            ("int8", 2),
            "within 2.5 ms and 1 point of the most accurate. Received: none; the nearest is int83"
            ".tflite with 2 threads, 2.0 ms from a frame to labels, 4.0 MB and 89.0 % top-1, 1.5 "
            "points below the most accurate. Allow as much",
            id="a little accuracy rather than much time",
        ),
    ],
)
def test_nothing_fits(made_up, limits, nearest, said):
    found = recommend(made_up(*FILES), Limits(**limits))
    assert found.take is None
    assert (found.nearest.row[0].format, found.nearest.threads) == nearest
    assert said in nothing_fits(found)
    assert nothing_fits(found).startswith("Expected a file within ")
    payload = json.loads(json.dumps(recommendation_payload(found), allow_nan=False))
    assert parse_recommendation(payload, "old.json") == found


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        ({"max_drop": -1}, "--max-drop"),
        ({"max_drop": 101}, "--max-drop"),
        ({"max_drop": math.nan}, "--max-drop"),
        ({"max_latency_ms": 0}, "--max-latency"),
        ({"max_latency_ms": -5}, "--max-latency"),
        ({"max_latency_ms": math.nan}, "--max-latency"),
        ({"max_size_mb": 0}, "--max-size"),
        ({"max_size_mb": math.inf}, "--max-size"),
    ],
    ids=str,
)
def test_limits_that_cannot_be(limits, said):
    with pytest.raises(UsageError, match=r"Expected .* Received: ") as caught:
        Limits(**limits)
    assert said in str(caught.value)


def test_sentences(made_up):
    flips = Flips(19, 5, 0.0066)
    found = recommend(made_up(*FILES, flips=flips), Limits(max_drop=2, max_latency_ms=4))
    take, reason, runner_up = explain(found)
    assert take == (
        "Use int83.tflite with 2 threads: 2.0 ms from a frame to labels, 4.0 MB and 89.0 % top-1."
    )
    assert reason == (
        "It is the fastest of the 2 files within 4 ms and 2 points of the most accurate; beside "
        "float32 with as many threads it is 2.1 times as fast at 0.29 of the size and is 1.4 "
        "points below float32 (19 photos lost, 5 won, p = 0.007): that is more than chance."
    )
    assert runner_up == (
        "The runner-up, dynamic2.tflite with 2 threads, takes 1.70 times as long and has 0.95 "
        "times the size, with 1.1 points more accuracy."
    )


@pytest.mark.parametrize(
    ("files", "limits", "said"),
    [
        pytest.param(FILES[3:], {}, ["the only file", "There is no other file."], id="one file"),
        pytest.param(
            FILES[:2],
            {},
            [
                "Of the 2 files to choose from and within 1 point of the best of them, 2 are",
                "2 are within 5 % of the fastest, and it is the smallest of them",
                "is as fast at",
                "takes as long and has",
            ],
            id="a tie",
        ),
        pytest.param(FILES[:1] + FILES[3:], {}, ["that the others were compared"], id="float32"),
        pytest.param(
            FILES, {"max_size_mb": 3.9}, ["no other file within 3.9 MB."], id="alone in the limits"
        ),
    ],
)
def test_sentences_for_other_cases(made_up, files, limits, said):
    text = " ".join(explain(recommend(made_up(*files), Limits(**limits))))
    assert all(part in text for part in said), text


def test_both_ratios_of_a_time_are_of_calls_in_turn(made_up):
    found = made_up(FILES[0], FILES[3])
    # A busy machine: medians of calls at different times are further apart than calls in turn.
    slow, fast = found.files
    latencies = tuple(replace(entry, classify_ratio=0.5) for entry in fast.latencies)
    found = replace(found, files=(slow, replace(fast, latencies=latencies)))
    text = " ".join(explain(recommend(found, Limits(max_drop=5))))
    assert "it is 2.0 times as fast" in text
    assert "takes 2.00 times as long" in text


def test_printed(made_up):
    stream = io.StringIO()
    found = recommend(made_up(*FILES), Limits(max_latency_ms=4.25, max_size_mb=8, max_drop=1))
    print_recommendation(found, Path("runs/flowers"), stream)
    text = stream.getvalue()
    rows = {tuple(line.split()[:2]): line for line in text.splitlines()}
    assert rows["dynamic2.tflite", "2"].rstrip().endswith("take")
    assert rows["float320.tflite", "1"].rstrip().endswith("too slow, too large")
    assert rows["float320.tflite", "2"].rstrip().endswith("too large")
    assert rows["int83.tflite", "2"].rstrip().endswith("loses too much")
    assert "Make it: pocketlens convert runs/flowers --format dynamic --out models" in text
    assert max(map(len, text.splitlines())) <= 100


def test_json_is_documented(made_up):
    document = Path(__file__).parents[2] / "docs" / "reference" / "recommend-json.md"
    if not document.is_file():
        pytest.skip("not run from a checkout")
    documented = re.findall(r"^\| `([^`]+)` \|", document.read_text("utf-8"), re.MULTILINE)
    payload = recommendation_payload(recommend(made_up(*FILES)))
    written = {f"limits.{key}" for key in payload["limits"]} | (
        set(payload) - {"limits", "options"}
    )
    written |= {f"options[].{key}" for key in payload["options"][0]}
    assert written == set(documented)
    assert set(payload["take"]) == set(payload["options"][0])
