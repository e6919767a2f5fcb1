"""Faster, slower or the same, against an earlier benchmark."""

import json

import numpy as np
import pytest

from pocketlens.benchmarks import benchmark
from pocketlens.benchmarks.latency import Settings
from pocketlens.benchmarks.payload import parse_benchmark, to_payload
from pocketlens.benchmarks.processes import time_files
from pocketlens.benchmarks.regressions import find_changes, find_gaps, refuse_regressions
from pocketlens.cli.main import run
from pocketlens.errors import PocketlensError
from pocketlens.runtime.interpreters import load_interpreter

# Runs for just as many processes as an interval needs.
TIMING = Settings(num_runs=25, min_secs=0.1, warmup_runs=5)


@pytest.mark.parametrize(
    ("now_ms", "word", "fails"),
    [
        pytest.param(7.0, "the same", False, id="equal"),
        pytest.param(7.15, "the same", False, id="noise"),
        pytest.param(7.35, "slower", False, id="slower, but less than 5 %"),
        pytest.param(8.0, "slower", True, id="slower"),
        pytest.param(6.0, "faster", False, id="faster"),
    ],
)
def test_words(made_up, now_ms, word, fails):
    record = parse_benchmark(to_payload(made_up(("int8", 4, None, {1: 7.0}))))
    changes = find_changes(record, made_up(("int8", 4, None, {1: now_ms})))
    assert [change.word for change in changes] == [word]
    assert changes[0].ratio == pytest.approx(now_ms / 7)
    assert changes[0].interval[0] < changes[0].ratio < changes[0].interval[1]
    if fails:
        with pytest.raises(PocketlensError, match=r"more than 5 % slower\. Received: int80"):
            refuse_regressions(changes, 5)
    else:
        refuse_regressions(changes, 5)


@pytest.mark.parametrize(
    ("short", "said"),
    [
        pytest.param((True, False), "the earlier benchmark has too few runs", id="then"),
        pytest.param((False, True), "too few runs before --max-secs; raise it", id="now"),
        pytest.param((True, True), "the earlier benchmark has too few runs", id="both"),
    ],
)
def test_which_of_the_two_was_too_short_is_said(made_up, short, said):
    payloads = [to_payload(made_up(("int8", 4, None, {1: 7.0}))) for _ in short]
    for payload, is_short in zip(payloads, short, strict=True):
        if is_short:
            payload["files"][0]["latencies"][0]["yardstick"]["interval"] = None
    then, now = map(parse_benchmark, payloads)
    assert find_changes(then, now) == []
    (gap,) = find_gaps(then, now)
    assert gap.startswith("int80.tflite, 1 thread: not compared, since ")
    assert said in gap
    with pytest.raises(PocketlensError, match=said):
        refuse_regressions([], 5, [gap])


def test_other_numbers_of_threads_are_not_compared(made_up):
    then, now = (made_up(("int8", 4, None, {threads: 7.0})) for threads in (1, 2))
    assert "same number of threads" in find_gaps(then, now)[0]
    assert find_gaps(then, then) == []


@pytest.mark.real_time
def test_same_file_is_never_a_regression_and_a_slower_one_is(elsewhere_model, monkeypatch):
    record = parse_benchmark(to_payload(benchmark([elsewhere_model], settings=TIMING)))
    for _ in range(3):
        refuse_regressions(find_changes(record, benchmark([elsewhere_model], settings=TIMING)), 5)
    # An extra block: the same network once more in each inference.
    extra = load_interpreter(elsewhere_model.read_bytes())

    def slowed(candidates, threads, settings, on_round):
        with candidates[0].load() as classifier:
            own = classifier.interpreter.invoke
            monkeypatch.setattr(classifier.interpreter, "invoke", lambda: (own(), extra.invoke()))
            return time_files({(0, 1): classifier}, settings, on_round)

    monkeypatch.setattr("pocketlens.benchmarks.processes.time_in_process", slowed)
    changes = find_changes(record, benchmark([elsewhere_model], settings=TIMING))
    with pytest.raises(PocketlensError, match="slower"):
        refuse_regressions(changes, 5)
    assert np.isclose(changes[0].ratio, 2, rtol=0.4)


@pytest.mark.real_time
def test_a_real_int8_file_with_an_extra_block_is_found(tmp_path):
    keras = pytest.importorskip("keras", reason="networks are built with the train extra")
    tf = pytest.importorskip("tensorflow", reason="networks are built with the train extra")

    def write(blocks):
        x = pixels = keras.Input((64, 64, 3), batch_size=1)
        x = keras.layers.Conv2D(32, 3, strides=2, activation="relu")(x)
        for _ in range(blocks):
            y = keras.layers.Conv2D(96, 1, activation="relu")(x)
            y = keras.layers.DepthwiseConv2D(3, padding="same", activation="relu")(y)
            x = keras.layers.Add()([x, keras.layers.Conv2D(32, 1)(y)])
        x = keras.layers.GlobalAveragePooling2D()(x)
        network = keras.Model(pixels, keras.layers.Dense(3, activation="softmax")(x))
        converter = tf.lite.TFLiteConverter.from_keras_model(network)
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        noise = np.random.default_rng(0).random((4, 1, 64, 64, 3), np.float32)
        converter.representative_dataset = lambda: ([entry] for entry in noise)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.uint8
        path = tmp_path / str(blocks) / "model.tflite"
        path.parent.mkdir()
        path.write_bytes(converter.convert())
        return path

    three, four = write(3), write(4)
    # Where other programs make an interval too wide to be sure, it is measured again.
    for _ in range(4):
        record = parse_benchmark(to_payload(benchmark([three], settings=TIMING)))
        (same,) = find_changes(record, benchmark([three], settings=TIMING))
        assert not same.is_slower_by(5)
        (change,) = find_changes(record, benchmark([four], settings=TIMING))
        if change.is_slower_by(5):
            break
    assert change.word == "slower"
    assert 1.05 < change.ratio < 1.7
    with pytest.raises(PocketlensError, match="more than 5 % slower"):
        refuse_regressions([change], 5)


@pytest.mark.real_time
def test_command(elsewhere_model, tmp_path, capsys):
    old = tmp_path / "old.json"
    quick = [str(elsewhere_model), "--num-runs", "30", "--min-secs", "0"]
    assert run(["benchmark", *quick, "--json", str(old)]) == 0
    capsys.readouterr()
    assert run(["benchmark", *quick, "--compare", str(old), "--fail-on-regression", "900"]) == 0
    last = capsys.readouterr().out.strip().splitlines()[-1]
    assert "times as long as before" in last
    record = json.loads(old.read_text())
    yardstick = record["files"][0]["latencies"][0]["yardstick"]
    for key in ("ratio", "shortest_ratio"):
        yardstick[key] /= 20
    yardstick["interval"] = [value / 20 for value in yardstick["interval"]]
    old.write_text(json.dumps(record))
    assert run(["benchmark", *quick, "--compare", str(old), "--fail-on-regression", "5"]) == 1
    assert "more than 5 % slower" in capsys.readouterr().err
    other = {**record["files"][0], "name": "other.tflite"}
    for spoilt, said in (
        ({"machine": {**record["machine"], "cpu": "Z80"}}, "Z80"),
        ({"files": []}, "nothing usable at files"),
        ({"files": [other], "reference": "other.tflite"}, "one of these files"),
    ):
        old.write_text(json.dumps({**record, **spoilt}))
        assert run(["benchmark", *quick, "--compare", str(old)]) == 2
        assert said in capsys.readouterr().err
    assert run(["benchmark", *quick, "--fail-on-regression", "5"]) == 2
    assert "--compare" in capsys.readouterr().err
