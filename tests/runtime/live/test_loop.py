"""The pipeline: every frame of a file, the newest of a camera, errors and ends."""

import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from pocketlens.errors import OutputError, ScoresError, SourceError
from pocketlens.runtime.classifier import Category, Classifier, Result
from pocketlens.runtime.live.capture.thread import ThreadCapture
from pocketlens.runtime.live.frames import LIVE, STALE, CaptureLimits, RunInfo, Sink
from pocketlens.runtime.live.loop import UNUSABLE, classify_source
from pocketlens.runtime.live.sources.fake import ERROR, HANG, FakeCamera, frame_number


class FakeClassifier:
    """Names each frame by its number, and takes its time."""

    def __init__(self, seconds=0.0):
        self.seconds = seconds
        self.seen = []

    def classify(self, frame_bgr):
        number = frame_number(frame_bgr)
        self.seen.append(number)
        time.sleep(self.seconds)
        categories = (Category(str(number), 0.9, 0),)
        return Result(categories, categories)


class Calls(Sink):
    """A sink made of functions; those that record have a thread of their own."""

    def __init__(self, result=None, state=None, *, own_thread=False):
        self.own_thread = own_thread
        self._result, self._state = result, state

    def result(self, frame_bgr, result):
        if self._result:
            self._result(frame_bgr, result)

    def state(self, state):
        if self._state:
            self._state(state)


def recorder(result, state=None):
    return Calls(result, state, own_thread=True)


OPENED = []


def opened(source, **options):
    """Return a capture that ends with its test."""
    OPENED.append(ThreadCapture(source, **options))
    return OPENED[-1]


@pytest.fixture(autouse=True)
def _closed():
    yield
    while OPENED:
        OPENED.pop().close()


def run(source, classifier=None, *, silence_s=4.0, sinks=(), **options):
    results = []
    summary = classify_source(
        classifier or FakeClassifier(),
        opened(source, limits=CaptureLimits(silence_s=silence_s)),
        sinks=[Calls(lambda frame, result: results.append(result)), *sinks],
        **options,
    )
    return results, summary


@pytest.mark.parametrize(
    ("read_s", "classify_s"),
    [
        pytest.param(0.0, 0.0, id="fast"),
        pytest.param(0.0, 0.002, id="slow-classifier"),
        pytest.param(0.002, 0.0, id="slow-file"),
    ],
)
def test_every_frame_of_a_file_in_order(read_s, classify_s):
    source = FakeCamera(frames=60, interval_s=read_s, fps=20.0, live=False)
    recorded = []
    results, summary = run(
        source,
        FakeClassifier(classify_s),
        sinks=[recorder(lambda frame, got: recorded.append((frame_number(frame), got.number)))],
    )
    assert [result.number for result in results] == list(range(60))
    assert [result.categories[0].label for result in results] == [str(n) for n in range(60)]
    assert [result.time_s for result in results] == pytest.approx([n / 20 for n in range(60)])
    assert recorded == [(n, n) for n in range(60)]
    assert (summary.frames, summary.counts.dropped) == (60, 0)


def test_a_camera_that_is_too_fast_loses_old_frames_and_repeats_none():
    camera = FakeCamera(interval_s=0.001)
    classifier = FakeClassifier(0.02)
    results, summary = run(camera, classifier, max_frames=15)
    numbers = [result.number for result in results]
    assert classifier.seen == numbers
    assert numbers == sorted(set(numbers))
    assert summary.frames == 15
    assert summary.counts.dropped >= 15
    # All but those that came while the last was classified are accounted for.
    assert summary.counts.dropped >= numbers[-1] + 1 - 15


def test_the_newest_frame_is_taken():
    camera = FakeCamera(interval_s=0.01)
    ages_s = []

    def observe(frame, result):
        ages_s.append(time.perf_counter() - started_s - result.time_s)
        time.sleep(0.3)

    started_s = time.perf_counter()
    classify_source(FakeClassifier(), opened(camera), sinks=[Calls(observe)], max_frames=6)
    # A frame kept from before the pause would be 0.3 s old, a queue's ever older.
    assert np.median(ages_s[1:]) < 0.2


def test_a_slow_camera_is_waited_for_and_no_frame_is_repeated():
    # Far longer than a busy machine lets anybody wait for its turn.
    camera = FakeCamera(interval_s=0.2, frames=6)
    results, summary = run(camera)
    assert [result.number for result in results] == list(range(6))
    assert summary.counts.dropped == 0
    assert 3 < summary.fps < 7
    assert results[-1].capture_ms == pytest.approx(200, abs=150)


def test_a_camera_may_pause_for_less_than_the_limit():
    camera = FakeCamera(frames=4, delays_s={2: 0.3})
    assert run(camera, silence_s=2.0)[1].frames >= 2


def test_a_camera_that_hangs_ends_with_an_error_in_time():
    camera = FakeCamera(interval_s=0.01, faults={3: HANG})
    started_s = time.perf_counter()
    with pytest.raises(SourceError, match=r"within 0\.3 s"):
        run(camera, silence_s=0.3)
    assert time.perf_counter() - started_s < 3


def test_a_hanging_read_does_not_keep_the_process_alive():
    program = (
        "from pocketlens.runtime.live.sources.fake import ERROR, HANG, FakeCamera\n"
        "from pocketlens.runtime.live.loop import classify_source\n"
        "from pocketlens.runtime.live.capture.thread import ThreadCapture\n"
        "from pocketlens.runtime.live.frames import CaptureLimits\n"
        "limits = CaptureLimits(silence_s=0.1)\n"
        "capture = ThreadCapture(FakeCamera(faults={0: HANG}), limits=limits)\n"
        "classify_source(None, capture)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 1
    assert "SourceError" in done.stderr


@pytest.mark.parametrize("live", [True, False], ids=["camera", "file"])
def test_an_error_while_capturing_is_raised_in_the_caller(live):
    source = FakeCamera(interval_s=0.005, faults={3: ERROR}, live=live)
    with pytest.raises(SourceError, match="Expected frame 3"):
        run(source)


@pytest.mark.parametrize("at", [0, 5, 19], ids=["first", "middle", "last"])
def test_an_error_while_recording_is_raised_in_the_caller(at):
    def record(frame, result):
        if result.number == at:
            raise OutputError("disk full")

    with pytest.raises(OutputError, match="disk full"):
        run(FakeCamera(frames=20, live=False), sinks=[recorder(record)])


def test_an_error_of_a_sink_wins_and_a_sink_in_its_own_thread_still_finishes():
    recorded = []

    def observe(frame, result):
        if result.number == 4:
            raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        classify_source(
            FakeClassifier(),
            opened(FakeCamera(frames=20, live=False)),
            sinks=[recorder(lambda frame, got: recorded.append(got.number)), Calls(observe)],
        )
    assert recorded == [0, 1, 2, 3]


def test_stop_ends_a_camera_and_everything_handed_over_is_recorded():
    stop = threading.Event()
    recorded = []
    results = []

    def observe(frame, result):
        results.append(result.number)
        if len(results) == 5:
            stop.set()

    summary = classify_source(
        FakeClassifier(),
        opened(FakeCamera(interval_s=0.01)),
        sinks=[recorder(lambda frame, got: recorded.append(got.number)), Calls(observe)],
        stop=stop,
    )
    assert summary.frames == 5
    assert recorded == results


def test_a_slow_recorder_does_not_hold_up_a_camera():
    recorded = []

    def record(frame, result):
        time.sleep(0.2)
        recorded.append(result.number)

    _, summary = run(FakeCamera(interval_s=0.01), sinks=[recorder(record)], max_frames=40)
    # Waiting for the recorder would take 8 s.
    assert summary.seconds < 4
    assert 0 < len(recorded) < 40
    assert recorded == sorted(set(recorded))


def test_the_three_stages_overlap():
    source = FakeCamera(frames=20, interval_s=0.05, live=False)
    started_s = time.perf_counter()
    run(source, FakeClassifier(0.05), sinks=[recorder(lambda *_: time.sleep(0.05))])
    # One after the other they would take 3 s, two of them at once 2 s, all three little over 1 s.
    assert time.perf_counter() - started_s < 1.9


def test_a_source_without_frames_has_an_empty_summary():
    _, summary = run(FakeCamera(frames=0))
    assert summary.frames == 0
    assert summary.to_dict()["latency_ms"]["classify"] == {"median": 0.0, "p95": 0.0}


def test_latencies_are_the_measured_ones():
    results, summary = run(FakeCamera(frames=5, live=False), FakeClassifier(0.01))
    values = [result.classify_ms for result in results]
    assert min(values) >= 10
    assert np.median(values) < 60
    assert summary.classify.median_ms == pytest.approx(np.median(values))
    assert summary.classify.p95_ms == pytest.approx(np.percentile(values, 95))


class UnusableClassifier(FakeClassifier):
    """Gives NaN scores for some frames."""

    def __init__(self, numbers):
        super().__init__()
        self.numbers = numbers

    def classify(self, frame_bgr):
        if frame_number(frame_bgr) in self.numbers:
            raise ScoresError("Expected scores. Received: NaN.")
        return super().classify(frame_bgr)


def test_nan_scores_are_counted_and_stale_and_give_no_result():
    happened = []
    summary = classify_source(
        UnusableClassifier({3, 4, 8}),
        opened(FakeCamera(frames=10, fps=10.0, live=False)),
        sinks=[
            Calls(
                lambda frame, got: happened.append((got.number, got.decision.changed)),
                lambda state: happened.append((state.state, state.time_s, state.reason)),
            )
        ],
    )
    stale, live = (STALE, 0.3, UNUSABLE), (LIVE, 0.5, "")
    # Labels are the frames' numbers with one index: only after a state an answer is an event.
    assert happened == [
        (0, True),
        (1, False),
        (2, False),
        stale,
        live,
        (5, True),
        (6, False),
        (7, False),
        (STALE, 0.8, UNUSABLE),
        (LIVE, 0.9, ""),
        (9, True),
    ]
    assert (summary.frames, summary.unusable, summary.events) == (7, 3, 3)
    assert summary.to_dict()["unusable"] == 3


def test_unusable_frames_count_as_frames_to_the_end():
    classifier = UnusableClassifier(range(1000))
    _, summary = run(FakeCamera(interval_s=0.001), classifier, max_frames=5)
    assert (summary.frames, summary.unusable) == (0, 5)


def test_a_sink_in_its_own_thread_gets_states_in_order_with_its_frames():
    recorded = []
    classify_source(
        UnusableClassifier({2}),
        opened(FakeCamera(frames=5, live=False)),
        sinks=[
            recorder(
                lambda frame, got: recorded.append(got.number),
                lambda state: recorded.append(state.state),
            )
        ],
    )
    assert recorded == [0, 1, STALE, LIVE, 3, 4]


def test_the_parts_of_a_latency_are_in_the_result_and_the_summary(tiny_tflite):
    with Classifier(tiny_tflite) as classifier:
        results, summary = run(FakeCamera(frames=8, live=False), classifier)
    for result in results:
        latencies_ms = result.to_dict()["latency_ms"]
        assert list(latencies_ms) == ["capture", "resize", "invoke", "post", "classify"]
        parts_ms = sum(latencies_ms[name] for name in ("resize", "invoke", "post"))
        assert 0 < parts_ms <= latencies_ms["classify"] + 0.01
    values = [result.timing.invoke_ms for result in results]
    assert summary.invoke.median_ms == pytest.approx(np.median(values))
    assert set(summary.to_dict()["latency_ms"]) == set(latencies_ms)


class Life(Sink):
    """Notes when it is opened and closed; `fails` names where it raises."""

    def __init__(self, name, log, fails=(), *, own_thread=False):
        self.name, self.log, self.fails, self.own_thread = name, log, fails, own_thread

    def note(self, what):
        self.log.append(f"{what} {self.name}")
        if what in self.fails:
            raise OutputError(f"{self.name} fails when {what}")

    def opened(self, run):
        self.note("opened")

    def result(self, frame_bgr, result):
        self.note("result")

    def closed(self):
        self.note("closed")


ALL_CLOSED = [
    *("opened record", "opened window", "opened service"),
    *("closed service", "closed window", "closed record"),
]


def lives(log, fails):
    return [Life("record", log, fails.get("record", ()), own_thread=True)] + [
        Life(name, log, fails.get(name, ())) for name in ("window", "service")
    ]


@pytest.mark.parametrize(
    ("fails", "words", "order"),
    [
        pytest.param(
            {},
            None,
            ALL_CLOSED,
            id="good",
        ),
        pytest.param(
            {"window": ["opened"]},
            "window fails when opened",
            ["opened record", "opened window", "closed record"],
            id="opening",
        ),
        pytest.param(
            {"window": ["result", "closed"], "service": ["closed"]},
            "window fails when result",
            ALL_CLOSED,
            id="a-result-before-the-end",
        ),
        pytest.param(
            {"record": ["result", "closed"]},
            "record fails when result",
            ALL_CLOSED,
            id="in-its-own-thread",
        ),
        pytest.param(
            {"record": ["closed"]},
            "record fails when closed",
            ALL_CLOSED,
            id="closing",
        ),
    ],
)
def test_sinks_are_closed_in_reverse_whatever_fails_and_the_first_error_counts(fails, words, order):
    log = []
    source = FakeCamera(frames=1, live=False)
    if words is None:
        run(source, sinks=lives(log, fails))
    else:
        with pytest.raises(OutputError, match=words):
            run(source, sinks=lives(log, fails))
    assert [entry for entry in log if "result" not in entry] == order


def test_two_sinks_in_own_threads_draw_on_frames_of_their_own():
    painted = {}

    def paint(name, value):
        def result(frame_bgr, result):
            painted.setdefault(name, []).append(frame_bgr.max())
            frame_bgr[:] = value

        return recorder(result)

    seen = []
    watching = Calls(lambda frame, result: seen.append(frame.max()))
    sinks = [paint("first", 250), paint("second", 251), watching]
    run(FakeCamera(frames=20, live=False), sinks=sinks)
    assert painted["first"] == painted["second"] == seen
    assert max(seen) < 250


def test_a_sink_is_told_of_its_run():
    told = []

    class Told(Sink):
        def opened(self, run):
            told.append(run)

    names = RunInfo(model="m.tflite", labels=("a", "b"), source="camera")
    camera = FakeCamera(interval_s=0.01, fps=12.0, frames=3)
    run(camera, sinks=[Told()], run=names)
    (info,) = told
    assert (info.model, info.labels, info.source) == ("m.tflite", ("a", "b"), "camera")
    assert (info.live, info.fps) == (True, 12.0)
    assert info.counts().dropped >= 0


def test_results_carry_the_wall_clocks_time_of_their_frame():
    clock = map(float, range(1000, 2000)).__next__
    results, _ = run(FakeCamera(frames=3, live=False), clock=clock)
    assert [result.at_s for result in results] == [1000.0, 1001.0, 1002.0]
    assert results[0].to_dict()["at"] == "1970-01-01T00:16:40.000+00:00"
