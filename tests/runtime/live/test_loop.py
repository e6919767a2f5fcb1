"""The pipeline: every frame of a file, the newest of a camera, errors and ends."""

import subprocess
import sys
import threading
import time
from itertools import pairwise

import numpy as np
import pytest
from timing import PATIENCE_S, FakeClock, wait_for

from pocketlens.errors import OutputError, ScoresError, SourceError
from pocketlens.runtime.classifier import Category, Classifier, Result
from pocketlens.runtime.live.capture.thread import ThreadCapture
from pocketlens.runtime.live.frames import LIVE, STALE, CaptureLimits, RunInfo, Sink
from pocketlens.runtime.live.loop import UNUSABLE, classify_source
from pocketlens.runtime.live.sources.fake import ERROR, FakeCamera, frame_number


class FakeClassifier:
    """Names each frame by its number; `work` is called with it meanwhile."""

    def __init__(self, work=lambda number: None):
        self.work = work
        self.seen = []

    def classify(self, frame_bgr):
        number = frame_number(frame_bgr)
        self.seen.append(number)
        self.work(number)
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


def run(source, classifier=None, *, sinks=(), **options):
    results = []
    summary = classify_source(
        classifier or FakeClassifier(),
        opened(source, limits=CaptureLimits(silence_s=PATIENCE_S)),
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
        FakeClassifier(lambda _: time.sleep(classify_s)),
        sinks=[recorder(lambda frame, got: recorded.append((frame_number(frame), got.number)))],
    )
    assert [result.number for result in results] == list(range(60))
    assert [result.categories[0].label for result in results] == [str(n) for n in range(60)]
    assert [result.time_s for result in results] == pytest.approx([n / 20 for n in range(60)])
    assert recorded == [(n, n) for n in range(60)]
    assert (summary.frames, summary.counts.dropped) == (60, 0)


def test_a_camera_that_is_too_fast_loses_old_frames_and_repeats_none():
    camera = FakeCamera(interval_s=0.001)
    classifier = FakeClassifier(lambda _: time.sleep(0.02))
    results, summary = run(camera, classifier, max_frames=15)
    numbers = [result.number for result in results]
    assert classifier.seen == numbers
    assert numbers == sorted(set(numbers))
    assert summary.frames == 15
    # All but those that came while the last was classified are accounted for.
    assert summary.counts.dropped >= numbers[-1] + 1 - 15


class Stepped(FakeCamera):
    """A camera that gives a frame, or what its script has in place of it, when it is told to."""

    def __init__(self, **script):
        super().__init__(**script)
        self._steps = threading.Semaphore(0)
        self._read = threading.Semaphore(0)

    def read(self):
        self._steps.acquire()
        if self.closed:
            return None
        try:
            return super().read()
        finally:
            self._read.release()

    def give(self, count=1):
        """Let so many frames come, and return when all but the last are with the capture."""
        for _ in range(count):
            self._steps.release()
            assert self._read.acquire(timeout=PATIENCE_S)

    def close(self):
        super().close()
        self._steps.release()


def test_the_newest_frame_is_taken():
    camera, capture = Stepped(), None

    def observe(frame, result):
        before = capture.counts.dropped
        # While this one is looked at ten others come; the last of them is what is wanted next.
        camera.give(10)
        wait_for(lambda: capture.counts.dropped >= before + 9)

    results = []
    capture = opened(camera, limits=CaptureLimits(silence_s=PATIENCE_S))
    camera.give()
    classify_source(
        FakeClassifier(),
        capture,
        sinks=[Calls(lambda _, result: results.append(result.number)), Calls(observe)],
        max_frames=5,
    )
    assert results[0] == 0
    # The tenth may still be on its way when it is asked for, and then it comes next.
    assert all(9 <= after - before <= 11 for before, after in pairwise(results))
    camera.close()


def test_a_slow_camera_is_waited_for_and_no_frame_is_repeated():
    camera, numbers = Stepped(frames=6), []

    def observe(frame, result):
        numbers.append(result.number)
        camera.give()

    capture = opened(camera, limits=CaptureLimits(silence_s=PATIENCE_S))
    camera.give()
    summary = classify_source(FakeClassifier(), capture, sinks=[Calls(observe)])
    assert numbers == list(range(6))
    assert summary.counts.dropped == 0


@pytest.mark.parametrize("fps", [30.0, 0.5])
def test_a_camera_may_be_silent_for_its_time_and_no_longer(clock, fps):
    camera, failed = Stepped(fps=fps), []
    silence_s = max(4.0, 5 / fps)

    def look():
        with pytest.raises(SourceError, match=f"within {silence_s:g} s"):
            classify_source(FakeClassifier(), capture, sinks=[Calls(observe)])
        failed.append(clock.now_s())

    def observe(frame, result):
        times_s.append(result.time_s)

    times_s = []
    capture = opened(camera, clock=clock)
    looking = threading.Thread(target=look, daemon=True)
    looking.start()
    for count in range(1, 4):
        clock.waiting()
        clock.advance(silence_s)
        camera.give()
        wait_for(lambda count=count: len(times_s) == count)
    assert times_s == [silence_s, 2 * silence_s, 3 * silence_s]
    clock.waiting()
    clock.advance(silence_s)
    assert not failed
    clock.waiting()
    # Whoever waits looks ten times a second.
    clock.advance(0.1)
    looking.join(PATIENCE_S)
    camera.close()
    assert failed == [pytest.approx(1000 + 4 * silence_s + 0.1)]


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
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=2 * PATIENCE_S
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
    recorded, seen, over = [], [], threading.Event()

    def record(frame, result):
        # Its first frame takes it longer than all others take to come.
        assert over.wait(PATIENCE_S)
        recorded.append(result.number)

    def observe(frame, result):
        seen.append(result.number)
        if len(seen) == 40:
            over.set()

    run(FakeCamera(interval_s=0.01), sinks=[recorder(record), Calls(observe)], max_frames=40)
    assert 0 < len(recorded) < 40
    assert recorded == sorted(set(recorded))


def test_the_three_stages_overlap():
    meeting = threading.Barrier(3, timeout=PATIENCE_S)

    class Source(FakeCamera):
        def read(self):
            frame_bgr = super().read()
            if frame_bgr is not None and frame_number(frame_bgr) == 9:
                meeting.wait()
            return frame_bgr

    # While one frame is read, an earlier one is classified and one before that recorded.
    run(
        Source(frames=20, live=False),
        FakeClassifier(lambda number: meeting.wait() if number == 7 else None),
        sinks=[recorder(lambda _, result: meeting.wait() if result.number == 5 else None)],
    )
    assert not meeting.broken


def test_a_source_without_frames_has_an_empty_summary():
    _, summary = run(FakeCamera(frames=0))
    assert summary.frames == 0
    assert summary.to_dict()["latency_ms"]["classify"] == {"median": 0.0, "p95": 0.0}


def test_latencies_and_rates_are_the_measured_ones(clock):
    begun, room, results = [], threading.Semaphore(1), []

    class Slow(FakeCamera):
        def read(self):
            # Begun while the frame before is classified, and done after that: the clock is moved
            # by one at a time.
            begun.append(clock.now_s())
            room.acquire()
            clock.sleep(0.25)
            return super().read()

    def work(number):
        wait_for(lambda: len(begun) == number + 2)
        clock.sleep(0.5 if number == 4 else 0.125)

    def observe(frame, result):
        results.append(result)
        room.release()

    capture = opened(Slow(frames=5, live=False, clock=clock), clock=clock)
    summary = classify_source(
        FakeClassifier(work), capture, sinks=[Calls(observe)], clock=clock, max_frames=5
    )
    assert [result.classify_ms for result in results] == [125, 125, 125, 125, 500]
    assert [result.capture_ms for result in results] == [250, 375, 375, 375, 375]
    assert (summary.classify.median_ms, summary.classify.p95_ms) == pytest.approx((125, 425))
    # From the first answer to the last: three of 0.375 s and one of 0.75 s.
    assert summary.fps == 4 / 1.875
    # A frame came at 1000.25 s, while the clock is the day's, too.
    assert [result.at_s for result in results] == [1000.25, 1000.625, 1001.0, 1001.375, 1001.75]


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
    class Day(FakeClock):
        days = map(float, range(1000, 2000))

        def wall_s(self):
            return next(self.days)

    results, _ = run(FakeCamera(frames=3, live=False), clock=Day())
    assert [result.at_s for result in results] == [1000.0, 1001.0, 1002.0]
    assert results[0].to_dict()["at"] == "1970-01-01T00:16:40.000+00:00"
