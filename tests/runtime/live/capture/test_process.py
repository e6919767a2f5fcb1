"""A live source in its own process: noticed, replaced, fresh again, and nothing left behind."""

import ast
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from pocketlens.errors import SourceError
from pocketlens.runtime.classifier import Category, Result
from pocketlens.runtime.live.capture import process as process_capture
from pocketlens.runtime.live.capture.file import ChildSource
from pocketlens.runtime.live.capture.process import ProcessCapture
from pocketlens.runtime.live.frames import LIVE, STALE, Captured, CaptureLimits, Sink, SourceState
from pocketlens.runtime.live.loop import classify_source
from pocketlens.runtime.live.sources.fake import (
    END,
    ERROR,
    EXCEPTION,
    HALF,
    HANG,
    KILL,
    REPEAT,
    FakeCamera,
    frame_number,
)

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows reads in a thread")

INTERVAL_S = 0.03
STALE_WITHIN_S = 2.0


def open_fake(*, limits=None, interval_s=INTERVAL_S, **script):
    """Open a fake camera; one that is to be opened again needs `since_s`, the time of frame 0."""
    opener = partial(FakeCamera, interval_s=interval_s, **script)
    return ProcessCapture(opener, name="fake", limits=limits)


def watch(capture, until, seconds=30):
    """Return (time, what came) until `until` says that it is enough."""
    stop = threading.Event()
    timer = threading.Timer(seconds, stop.set)
    timer.start()
    seen = []
    while (came := capture.next(stop)) is not None:
        seen.append((time.monotonic(), came))
        if until(came, seen):
            timer.cancel()
            return seen
    raise AssertionError(f"not within {seconds} s: {states_of(seen)}, {len(seen)} in all")


def frames_of(seen):
    return [(now_s, came) for now_s, came in seen if isinstance(came, Captured)]


def states_of(seen):
    return [(now_s, came) for now_s, came in seen if isinstance(came, SourceState)]


def some_frames_after(state, count=3):
    def enough(_, seen):
        states = states_of(seen)
        if not states or states[-1][1].state != state:
            return False
        return len([now for now, _ in frames_of(seen) if now >= states[-1][0]]) >= count

    return enough


def count_frames(count):
    return lambda _, seen: len(frames_of(seen)) >= count


def check_frames(seen):
    """No frame twice, none old, none made up, none torn."""
    frames = [came for _, came in frames_of(seen)]
    numbers = [frame_number(came.frame_bgr) for came in frames]
    assert numbers == sorted(set(numbers))
    assert [came.number for came in frames] == sorted({came.number for came in frames})
    for came, number in zip(frames, numbers, strict=True):
        values = np.unique(came.frame_bgr.reshape(-1, 3)[1:])
        assert values.tolist() == [40 + number * 7 % 160]


# The process takes about 20 frames to start, more where many do at a time.
FAULT_AT = 110
BACK_AT = 230
SCENARIOS = {
    "opening-hangs": {"faults": {FAULT_AT: END}, "hangs_on_open": range(FAULT_AT, BACK_AT)},
    "hang": {"faults": {FAULT_AT: HANG}},
    "away": {"away": range(FAULT_AT, BACK_AT)},
    "repeats": {"faults": dict.fromkeys(range(FAULT_AT, BACK_AT), REPEAT)},
    "end": {"faults": {FAULT_AT: END}},
    "error": {"faults": {FAULT_AT: ERROR}},
    "exception": {"faults": {FAULT_AT: EXCEPTION}},
    "killed": {"faults": {FAULT_AT: KILL}},
}


@pytest.fixture(scope="module")
def outcomes():
    """What comes until frames come again, for each scenario; they wait beside each other."""

    def play(script):
        since_s = time.monotonic()
        capture = open_fake(since_s=since_s, **script)
        try:
            seen = watch(capture, some_frames_after(LIVE))
            return since_s - capture.started_s, seen, capture.counts
        finally:
            capture.close()

    with ThreadPoolExecutor(4) as pool:
        yield {name: pool.submit(play, script) for name, script in SCENARIOS.items()}


@pytest.mark.parametrize(
    ("name", "back_at", "fresh_within_s", "reason"),
    [
        pytest.param("hang", FAULT_AT, 10, "no new frame", id="hang"),
        pytest.param("opening-hangs", FAULT_AT, 10, "end of the stream", id="opening-hangs"),
        pytest.param("away", BACK_AT, 5, "Expected frame 110", id="away"),
        pytest.param("repeats", BACK_AT, 5, "no new frame", id="repeats"),
        pytest.param("end", FAULT_AT, 5, "end of the stream", id="end"),
        pytest.param("error", FAULT_AT, 5, "Expected frame 110", id="error"),
        pytest.param("exception", FAULT_AT, 5, "RuntimeError: frame 110", id="exception"),
        pytest.param("killed", FAULT_AT, 5, "killed by SIGKILL", id="killed"),
    ],
)
def test_a_fault_is_noticed_and_the_source_is_opened_again(
    outcomes, name, back_at, fresh_within_s, reason
):
    since_s, seen, counts = outcomes[name].result()
    check_frames(seen)
    (stale_at_s, stale), (live_at_s, live) = states_of(seen)
    assert (stale.state, live.state) == (STALE, LIVE)
    assert reason in stale.reason
    # By the capture's own clock: when the test's thread gets its turn is no part of it.
    last = [came for now, came in frames_of(seen) if now < stale_at_s][-1]
    assert stale.time_s - last.time_s <= STALE_WITHIN_S
    assert live.time_s - (since_s + back_at * INTERVAL_S) <= fresh_within_s
    # Between the two there is nothing.
    assert not [now for now, _ in frames_of(seen) if stale_at_s <= now < live_at_s]
    assert counts.stalls == 1
    assert counts.reconnects == live.reconnects
    assert live.reconnects >= 1 or name == "repeats"
    assert (counts.repeated > 0) == (name == "repeats")


@pytest.mark.parametrize(
    ("script", "words"),
    [
        pytest.param({"hangs_on_open": range(1000)}, "to open in time", id="hangs"),
        pytest.param({"away": range(1000)}, "it is away", id="away"),
    ],
)
def test_the_first_opening_must_succeed(script, words):
    with pytest.raises(SourceError, match=words):
        open_fake(limits=CaptureLimits(opening_s=0.5), **script)
    assert children_of(os.getpid()) == []


def test_what_cannot_be_sent_or_called_is_an_error():
    with pytest.raises(SourceError, match="TypeError"):
        ProcessCapture(partial(FakeCamera, nonsense=1), name="fake")
    with pytest.raises(Exception, match=r"pickle|local object"):
        ProcessCapture(lambda: FakeCamera(), name="fake")
    assert children_of(os.getpid()) == []


def test_an_interpreter_that_does_not_start_is_an_error(monkeypatch):
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(SourceError, match="start a process"):
        open_fake()


def test_stop_ends_the_wait_for_the_first_opening():
    stop = threading.Event()
    threading.Timer(0.3, stop.set).start()
    capture = ProcessCapture(
        partial(FakeCamera, hangs_on_open=range(9), interval_s=1), name="fake", stop=stop
    )
    assert capture.next(stop) is None
    capture.close()
    assert children_of(os.getpid()) == []


def test_repeated_frames_are_counted_and_never_handed_out():
    faults = dict.fromkeys(range(15, 30), REPEAT)
    capture = open_fake(faults=faults)
    try:
        last = 0

        def beyond(came, _):
            nonlocal last
            if isinstance(came, Captured):
                last = frame_number(came.frame_bgr)
            return last >= 33

        seen = watch(capture, beyond)
    finally:
        capture.close()
    check_frames(seen)
    assert not {frame_number(came.frame_bgr) for _, came in frames_of(seen)} & set(faults)
    assert 1 <= capture.counts.repeated <= 15


def test_damaged_frames_are_counted_and_survived():
    faults = dict.fromkeys(range(1, 2000, 2), HALF)
    capture = open_fake(faults=faults)
    try:
        seen = watch(capture, count_frames(10))
    finally:
        capture.close()
    check_frames(seen)
    assert capture.counts.damaged >= 9
    assert capture.counts.reconnects == 0


def test_damaged_frames_alone_are_counted_while_it_is_stale():
    faults = dict.fromkeys(range(5000), HALF)
    capture = open_fake(faults=faults, limits=CaptureLimits(stale_s=0.5))
    try:
        watch(capture, lambda came, _: isinstance(came, SourceState))
        assert capture.counts.damaged >= 3
    finally:
        capture.close()


def test_a_changed_size_arrives_whole():
    sizes = {10: (1280, 720), 15: (32, 24), 20: (1920, 1080)}
    capture = open_fake(sizes_wh=sizes)
    try:
        seen = watch(capture, lambda came, _: came.frame_bgr.shape == (1080, 1920, 3))
    finally:
        capture.close()
    check_frames(seen)
    for _, came in frames_of(seen):
        number = frame_number(came.frame_bgr)
        wanted = next((sizes[entry] for entry in (20, 15, 10) if number >= entry), (64, 48))
        assert came.frame_bgr.shape[1::-1] == wanted


def test_a_source_ten_times_too_fast_gives_whole_frames_and_the_newest():
    capture = open_fake(interval_s=0.003, size_wh=(1280, 720))
    seen = []
    try:
        for _ in range(25):
            seen += watch(capture, count_frames(1))
            time.sleep(0.03)
    finally:
        capture.close()
    check_frames(seen)
    assert capture.counts.dropped >= 25


def test_a_consumer_ten_times_too_slow_gets_fresh_frames():
    capture = open_fake()
    ages_s, seen = [], []
    stop = threading.Event()
    opened_s = time.monotonic()
    try:
        for _ in range(5):
            time.sleep(10 * INTERVAL_S)
            came = capture.next(stop)
            seen.append((time.monotonic(), came))
            ages_s.append(time.monotonic() - capture.started_s - came.time_s)
    finally:
        capture.close()
    check_frames(seen)
    # Frames of a queue would be older each time.
    assert np.median(ages_s) < 5 * INTERVAL_S
    assert capture.counts.dropped >= 5
    assert time.monotonic() - opened_s < 30


def test_a_frame_that_was_not_fetched_in_time_is_not_handed_out():
    capture = open_fake(faults={20: HANG}, limits=CaptureLimits(stale_s=0.5))
    try:
        watch(capture, count_frames(1))
        # The last frame comes, then the source hangs, and nobody asked for it meanwhile.
        time.sleep(20 * INTERVAL_S + 2.0)
        came = capture.next(threading.Event())
        assert isinstance(came, SourceState)
        assert came.state == STALE
    finally:
        capture.close()


def test_a_static_scene_is_no_stall():
    capture = open_fake(still=True)
    try:
        end_s = time.monotonic() + 2.0
        seen = watch(capture, lambda _, __: time.monotonic() > end_s)
    finally:
        capture.close()
    assert len({came.frame_bgr.tobytes() for _, came in frames_of(seen)}) == 1
    assert len(frames_of(seen)) > 20
    assert (capture.counts.stalls, capture.counts.repeated) == (0, 0)


def test_a_slow_rate_that_is_declared_is_no_stall():
    capture = open_fake(interval_s=0.3, fps=2.0, limits=CaptureLimits(stale_s=0.2, silence_s=0.3))
    try:
        seen = watch(capture, count_frames(4))
    finally:
        capture.close()
    assert states_of(seen) == []
    assert capture.fps == 2.0


# They tell people and other machines when something was; nothing here waits for it.
STAMPS = ("frames.py", "feed.py")


def test_the_wall_clock_is_never_asked(monkeypatch):
    def back():
        raise AssertionError("the wall clock may jump")

    monkeypatch.setattr(time, "time", back)
    capture = open_fake()
    try:
        watch(capture, count_frames(3))
    finally:
        capture.close()
    folder = Path(process_capture.__file__).parent.parent
    for path in (path for path in folder.rglob("*.py") if path.name not in STAMPS):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                assert (node.value.id, node.attr) != ("time", "time"), path
                assert node.value.id != "datetime", path


def test_a_stopped_process_is_replaced():
    capture = open_fake(limits=CaptureLimits(stale_s=0.5, silence_s=1.0))
    try:
        watch(capture, count_frames(3))
        os.kill(children_of(os.getpid())[0], signal.SIGSTOP)
        watch(capture, some_frames_after(LIVE))
        assert len(children_of(os.getpid())) == 1
    finally:
        capture.close()


def test_closing_does_not_wait_for_a_hanging_read():
    capture = open_fake(faults={30: HANG})
    watch(capture, count_frames(3))
    time.sleep(30 * INTERVAL_S)
    started_s = time.monotonic()
    capture.close()
    capture.close()
    assert time.monotonic() - started_s < 4
    assert children_of(os.getpid()) == []


@pytest.mark.parametrize("fault", [HANG, None], ids=["hanging", "reading"])
def test_a_killed_parent_leaves_nothing_behind(fault):
    program = (
        "import sys, threading\n"
        "from functools import partial\n"
        "from pocketlens.runtime.live.sources.fake import FakeCamera\n"
        "from pocketlens.runtime.live.capture.process import ProcessCapture\n"
        f"faults = {{5: {fault!r}}}\n"
        "capture = ProcessCapture(partial(FakeCamera, interval_s=0.02, faults=faults), name='f')\n"
        "capture.next(threading.Event())\n"
        "print(capture._child._process.pid, flush=True)\n"
        "threading.Event().wait()\n"
    )
    before = shared_memory()
    parent = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    child = int(parent.stdout.readline())
    time.sleep(0.3)
    parent.kill()
    _, errors = parent.communicate(timeout=20)
    deadline_s = time.monotonic() + 20
    while is_running(child):
        assert time.monotonic() < deadline_s
        time.sleep(0.05)
    assert errors == ""
    assert shared_memory() <= before


def test_a_parent_killed_while_a_file_opens_leaves_nothing_behind():
    program = (
        "import time\n"
        "from functools import partial\n"
        "from pocketlens.runtime.live.capture.link import CaptureChild\n"
        "child = CaptureChild(partial(time.sleep, 60), in_order=True)\n"
        "child.receive(20)\n"
        "print(child._process.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    child = int(parent.stdout.readline())
    parent.kill()
    parent.communicate(timeout=20)
    deadline_s = time.monotonic() + 20
    while is_running(child):
        assert time.monotonic() < deadline_s
        time.sleep(0.05)


def test_the_process_of_a_file_ends_at_once():
    source = ChildSource(partial(FakeCamera, live=False), "v.mp4")
    assert source.read() is not None
    # All that was asked for is there, so that it waits.
    time.sleep(0.3)
    started_s = time.monotonic()
    source.close()
    assert time.monotonic() - started_s < 0.8


def test_opening_and_closing_leaves_no_process_descriptor_or_thread():
    def cycle():
        capture = open_fake()
        watch(capture, count_frames(1))
        capture.close()

    cycle()
    before = descriptors(), threading.active_count(), shared_memory()
    for _ in range(4):
        cycle()
    assert (descriptors(), threading.active_count(), shared_memory()) == before
    assert children_of(os.getpid()) == []


def test_the_process_loads_no_interpreter():
    program = (
        "import pocketlens.runtime.live.capture.child, pocketlens.runtime.live.sources.mjpeg\n"
        "import pocketlens.runtime.live.sources.camera, sys\n"
        "print(*(name for name in ('ai_edge_litert', 'tflite_runtime', 'tensorflow', 'rich',\n"
        "    'click') if name in sys.modules))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.stdout.strip(), done.stderr) == ("", "")


def test_a_run_publishes_nothing_while_the_source_is_stale(caplog):
    caplog.set_level("INFO", "pocketlens")

    class Numbers:
        def classify(self, frame_bgr):
            categories = (Category(str(frame_number(frame_bgr)), 0.9, 0),)
            return Result(categories, categories)

    class Log(Sink):
        def result(self, frame_bgr, result):
            log.append(result)
            if len(log) > 2 and isinstance(log[-3], SourceState) and log[-3].state == LIVE:
                stop.set()

        def state(self, state):
            log.append(state)

    log, stop = [], threading.Event()
    capture = open_fake(since_s=time.monotonic(), faults={70: KILL})
    try:
        summary = classify_source(
            Numbers(),
            capture,
            sinks=[Log()],
            stop=stop,
            max_frames=500,
        )
    finally:
        capture.close()
    places = [index for index, entry in enumerate(log) if isinstance(entry, SourceState)]
    assert [log[index].state for index in places] == [STALE, LIVE]
    assert places[1] == places[0] + 1
    labels = [int(entry.categories[0].label) for entry in log if not isinstance(entry, SourceState)]
    assert labels == sorted(set(labels))
    assert summary.to_dict()["stalls"] == 1
    assert log[places[0]].to_dict()["state"] == STALE
    stale, live = caplog.messages
    assert stale.startswith("fake is stale: ")
    assert live.startswith("fake is live again after ")


def children_of(pid):
    listed = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for path in listed for child in path.read_text().split()]


def is_running(pid):
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def descriptors():
    return len(os.listdir("/proc/self/fd"))


def shared_memory():
    return set(os.listdir("/dev/shm"))
