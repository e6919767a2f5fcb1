"""A live source in its own process: noticed, replaced, fresh again, and nothing left behind."""

import ast
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from fake_process import OPEN_S, START_S, FakeProcesses, SkippingCamera
from timing import PATIENCE_S, FakeClock, wait_for

from pocketlens.clock import CLOCK, Clock
from pocketlens.errors import SourceError
from pocketlens.runtime.classifier import Category, Result
from pocketlens.runtime.live.capture import link
from pocketlens.runtime.live.capture import process as process_capture
from pocketlens.runtime.live.capture.child import NEXT, OPEN, Failed, Frame, Opened, Ready
from pocketlens.runtime.live.capture.file import ChildSource
from pocketlens.runtime.live.capture.link import CaptureChild
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
# For tests with real processes that are not about time: however busy the machine is.
PATIENT = CaptureLimits(
    stale_s=PATIENCE_S, silence_s=PATIENCE_S, starting_s=PATIENCE_S, opening_s=PATIENCE_S
)
IMPATIENT = replace(PATIENT, stale_s=0.5, silence_s=1.0)


def open_fake(*, limits=PATIENT, interval_s=INTERVAL_S, **script):
    """Open a fake camera in a real process; to be opened again it needs `since_s`."""
    opener = partial(FakeCamera, interval_s=interval_s, **script)
    return ProcessCapture(opener, name="fake", limits=limits)


def watch(capture, until):
    """Return (time, what came) until `until` says that it is enough."""
    stop = threading.Event()
    timer = threading.Timer(PATIENCE_S, stop.set)
    timer.start()
    seen = []
    while (came := capture.next(stop)) is not None:
        seen.append((time.monotonic(), came))
        if until(came, seen):
            timer.cancel()
            return seen
    raise AssertionError(f"not in time: {states_of(seen)}, {len(seen)} in all")


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


FAULT_AT, BACK_AT = 80, 160
# The fake camera gives eight frames a second: 79 is the last, and 80 would come ten seconds on.
LAST_S, FAULT_S, BACK_S = 9.875, 10.0, 20.0
POLL_S, MOMENT_S = 0.1, 0.001


def play(camera, until_s, **options):
    """Capture by the fake clock for so long; returns the frames, the changes of state, the counts.

    Each is (time since the start, what came).
    """
    capture = ProcessCapture(
        lambda: None, name="fake", clock=camera.clock, start=camera.start, **options
    )
    seen = []
    while camera.now_s < until_s:
        came = capture.next(threading.Event())
        seen.append((camera.now_s, came))
    capture.close()
    assert camera.running == []
    return frames_of(seen), states_of(seen), capture.counts


@pytest.mark.parametrize(
    ("script", "stale_at_s", "reason", "live_at_s", "starts"),
    [
        # At once: it was read for more than five seconds.
        pytest.param({"faults": {FAULT_AT: END}}, FAULT_S, "end", 10.125, 1, id="end"),
        pytest.param({"faults": {FAULT_AT: ERROR}}, FAULT_S, "error", 10.125, 1, id="error"),
        # Half a second for another process, an eighth to open it.
        pytest.param({"faults": {FAULT_AT: KILL}}, FAULT_S, "SIGKILL", 10.625, 2, id="killed"),
        # Four seconds without a frame, and the tenth of one in which to look, cost the process.
        pytest.param({"faults": {FAULT_AT: HANG}}, 11.375, "for 1.5 s", 14.6, 2, id="hang"),
        pytest.param(
            {"faults": {FAULT_AT: HANG}, "outlives_s": 3.0},
            11.375,
            "for 1.5 s",
            17.6,
            2,
            id="zombie",
        ),
        # The first attempt hangs, for six seconds and that tenth.
        pytest.param(
            {"faults": {FAULT_AT: END}, "stuck": range(FAULT_AT, BACK_AT - 32)},
            *(FAULT_S, "end", 16.725, 2),
            id="opening-hangs",
        ),
        # Attempts are a second apart, and each takes an eighth.
        pytest.param({"away": range(FAULT_AT, BACK_AT)}, FAULT_S, "away", 20.25, 1, id="away"),
        pytest.param(
            {"faults": dict.fromkeys(range(FAULT_AT, BACK_AT), REPEAT)},
            *(11.375, "for 1.5 s", BACK_S, 3),
            id="repeats",
        ),
    ],
)
def test_a_fault_is_noticed_and_the_source_is_opened_again(
    clock, script, stale_at_s, reason, live_at_s, starts
):
    camera = FakeProcesses(clock, **script)
    frames, states, counts = play(camera, until_s=live_at_s + 2)
    (stale_s, stale), (live_s, live) = states
    assert (stale.state, live.state) == (STALE, LIVE)
    assert reason in stale.reason
    assert (stale_s, stale.time_s) == pytest.approx((stale_at_s, stale_at_s))
    assert (live_s, live.time_s) == pytest.approx((live_at_s, live_at_s))
    check_frames(frames)
    # Between the two there is nothing, before and after them no frame is missing.
    times_s = [came.time_s for _, came in frames]
    missing_s = np.diff(times_s) - 1 / 8
    assert times_s[int(missing_s.argmax())] == LAST_S
    assert np.count_nonzero(missing_s) == 1
    # Somebody waited all the time.
    assert (counts.stalls, counts.dropped) == (1, 0)
    assert counts.reconnects == live.reconnects == max(1, starts - 1)
    assert len(camera.starts_s) == starts
    assert (counts.repeated > 0) == (stale_at_s > FAULT_S and starts == 3)


def test_a_camera_that_is_away_is_tried_with_pauses_that_double_up_to_a_second(clock):
    camera = FakeProcesses(clock, away=range(FAULT_AT, 4 * FAULT_AT))
    _, states, counts = play(camera, until_s=45)
    assert [(now_s, came.state) for now_s, came in states] == [(FAULT_S, STALE), (40.5, LIVE)]
    # An attempt takes an eighth; the first comes at once, since it was read for ten seconds.
    pauses_s = np.diff(camera.opens_s[1:]) - OPEN_S
    assert pauses_s == pytest.approx([0, 0.25, 0.5, *[1.0] * (len(pauses_s) - 3)])
    assert (counts.stalls, counts.reconnects, len(camera.starts_s)) == (1, 1, 1)


def test_a_camera_that_fails_soon_again_and_again_is_not_opened_without_pauses(clock):
    camera = FakeProcesses(clock, faults=dict.fromkeys(range(12, 200, 8), END))
    _, states, _ = play(camera, until_s=20)
    # It comes back and fails in turn, once a second; a pause does not begin anew with each.
    fails_s = [now_s for now_s, came in states if came.state == STALE]
    waits_s = [
        min(open_s for open_s in camera.opens_s if open_s >= fail_s - 1e-6) - fail_s
        for fail_s in fails_s[:-1]
    ]
    assert waits_s == pytest.approx([0, 0.25, 0.5, *[1.0] * (len(waits_s) - 3)])


@pytest.mark.parametrize(
    ("limits", "words", "seconds"),
    [
        pytest.param(CaptureLimits(), "to open in time", START_S + 6.0, id="opening"),
        pytest.param(CaptureLimits(starting_s=0.25), "to open in time", 0.25, id="starting"),
    ],
)
def test_the_first_opening_has_its_time(clock, limits, words, seconds):
    camera = FakeProcesses(clock, stuck=range(1000))
    with pytest.raises(SourceError, match=words):
        play(camera, until_s=60, limits=limits)
    assert seconds < camera.now_s < seconds + POLL_S + MOMENT_S
    assert camera.running == []


def test_a_frame_that_was_not_fetched_in_time_is_not_handed_out(clock):
    camera = FakeProcesses(clock, faults={20: HANG})
    capture = ProcessCapture(lambda: None, name="fake", clock=clock, start=camera.start)
    stop = threading.Event()
    assert capture.next(stop).time_s == START_S + OPEN_S
    # The last frame comes at 2.375 s, then the source hangs, and nobody asks for it meanwhile.
    clock.sleep(2.375 + 1.5 + MOMENT_S - camera.now_s)
    came = capture.next(stop)
    # It had a moment to answer.
    assert (came.state, came.time_s) == (STALE, pytest.approx(2.375 + 1.5 + MOMENT_S + 0.3))
    assert capture.counts.dropped == 14


def test_who_was_busy_gets_the_newest_frame_and_no_stall(clock):
    camera = FakeProcesses(clock)
    capture = ProcessCapture(lambda: None, name="fake", clock=clock, start=camera.start)
    seen = []
    for _ in range(5):
        clock.sleep(2.5)
        came = capture.next(threading.Event())
        seen.append((camera.now_s, came))
    check_frames(seen)
    assert [now_s - came.time_s for now_s, came in seen] == [0] * 5
    assert capture.counts.dropped == seen[-1][1].number + 1 - 5 == 96
    assert (capture.counts.stalls, len(camera.starts_s)) == (0, 1)


@pytest.mark.parametrize(("fps", "silent_s"), [(None, 4.0), (8.0, 4.0), (1.0, 5.0), (0.25, 20.0)])
def test_a_slow_rate_that_is_declared_is_no_stall(clock, fps, silent_s):
    interval_s = 1 / fps if fps else 1.25
    camera = FakeProcesses(clock, interval_s=interval_s, fps=fps, faults={10: HANG})
    frames, states, _ = play(camera, until_s=11 * interval_s + silent_s)
    last_s = 9 * interval_s
    stale_s = states[0][0]
    assert [now_s for now_s, _ in frames if now_s < stale_s][-1] == last_s
    assert stale_s == pytest.approx(last_s + max(1.5, 2.5 / (fps or 8)))
    # Whoever polls sees a moment later that it hangs.
    assert last_s + silent_s - 1e-6 <= camera.starts_s[1] <= last_s + silent_s + POLL_S + 1e-6


@pytest.mark.parametrize(
    ("script", "limits", "words"),
    [
        pytest.param(
            {"hangs_on_open": range(1000)},
            replace(PATIENT, opening_s=0.5),
            "to open in time",
            id="hangs",
        ),
        pytest.param({"away": range(1000)}, PATIENT, "it is away", id="away"),
    ],
)
def test_the_first_opening_must_succeed(script, limits, words):
    with pytest.raises(SourceError, match=words):
        open_fake(limits=limits, **script)
    assert children_of(os.getpid()) == []


@pytest.mark.parametrize(
    ("script", "words"),
    [
        pytest.param({"faults": {3: END}}, "The stream has ended.", id="end"),
        pytest.param({"faults": {3: ERROR}}, "Expected frame 3", id="error"),
        pytest.param({"faults": {3: EXCEPTION}}, "RuntimeError: frame 3", id="exception"),
        pytest.param({"away": range(3, 9)}, "Expected frame 3", id="away"),
    ],
)
def test_a_process_says_what_ended_the_frames_and_opens_the_source_again(script, words):
    child = CaptureChild(partial(FakeCamera, interval_s=0.001, **script))
    try:
        assert isinstance(hear(child), Ready)
        for _ in range(2):
            child.send(OPEN)
            assert isinstance(hear(child), Opened)
            child.send(NEXT)
            while isinstance(said := hear(child), Frame):
                child.send(NEXT)
            assert isinstance(said, Failed)
            assert words in str(said.error)
    finally:
        child.close()


def test_frames_that_a_driver_skipped_count_as_frames_of_the_source():
    child = CaptureChild(partial(SkippingCamera, interval_s=0.001, faults={3: END}))
    shown, before = 0, SkippingCamera.skipped
    try:
        assert isinstance(hear(child), Ready)
        while shown < 2:
            child.send(OPEN)
            assert isinstance(hear(child), Opened)
            child.send(NEXT)
            came = False
            while isinstance(said := hear(child), Frame):
                came = True
                assert said.number - frame_number(child.frame(said.offset, said.shape)) == before
                child.send(NEXT)
            # All three may be over before the first is asked for.
            shown += came
            before += 3 + SkippingCamera.skipped
    finally:
        child.close()


def hear(child):
    """Return the next thing that a process says."""
    return wait_for(lambda: child.receive(0.1))


def test_what_cannot_be_sent_or_called_is_an_error():
    with pytest.raises(SourceError, match="TypeError"):
        ProcessCapture(partial(FakeCamera, nonsense=1), name="fake")
    with pytest.raises(Exception, match=r"pickle|local object"):
        ProcessCapture(lambda: FakeCamera(), name="fake")
    assert children_of(os.getpid()) == []


def test_an_interpreter_that_does_not_start_is_an_error(monkeypatch):
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(SourceError, match="could be started"):
        open_fake()


def test_stop_ends_the_wait_for_the_first_opening():
    stop = threading.Event()
    clock = FakeClock()
    camera = FakeProcesses(clock, stuck=range(99))
    clock.after(2.0, stop.set)
    capture = ProcessCapture(lambda: None, name="fake", stop=stop, clock=clock, start=camera.start)
    assert capture.next(stop) is None
    assert camera.now_s == pytest.approx(2.0)


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
    capture = open_fake(faults=faults, limits=replace(PATIENT, stale_s=0.5))
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
            before = capture.counts.dropped
            # Frames that nobody fetches are dropped, however long it takes until there are some.
            while capture.counts.dropped == before:
                seen += watch(capture, count_frames(1))
                time.sleep(INTERVAL_S)
    finally:
        capture.close()
    check_frames(seen)


def test_a_static_scene_is_no_stall():
    capture = open_fake(still=True)
    try:
        seen = watch(capture, count_frames(30))
    finally:
        capture.close()
    assert len({came.frame_bgr.tobytes() for _, came in frames_of(seen)}) == 1
    assert (capture.counts.stalls, capture.counts.repeated) == (0, 0)


def test_time_is_asked_of_a_clock_alone():
    folder = Path(process_capture.__file__).parent.parent
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                assert "time" not in [entry.name for entry in node.names], path
            if isinstance(node, ast.Attribute):
                assert node.attr not in ("now", "utcnow", "today"), path


def test_the_wall_clock_is_never_asked(monkeypatch):
    def back(_):
        raise AssertionError("the wall clock may jump")

    monkeypatch.setattr(Clock, "wall_s", back)
    capture = open_fake()
    try:
        watch(capture, count_frames(3))
    finally:
        capture.close()


@pytest.mark.real_time
def test_a_stopped_process_is_replaced():
    capture = open_fake(limits=IMPATIENT)
    try:
        watch(capture, count_frames(3))
        os.kill(children_of(os.getpid())[0], signal.SIGSTOP)
        watch(capture, some_frames_after(LIVE))
        assert len(children_of(os.getpid())) == 1
    finally:
        capture.close()


@pytest.mark.real_time
def test_closing_does_not_wait_for_a_hanging_read():
    capture = open_fake(faults={30: HANG}, limits=replace(PATIENT, stale_s=0.5))
    watch(capture, lambda came, _: isinstance(came, SourceState))
    started_s = time.monotonic()
    capture.close()
    capture.close()
    # It has 1.5 seconds to end by itself, and as many to be gone when it is killed.
    assert time.monotonic() - started_s < 20
    assert children_of(os.getpid()) == []


@pytest.mark.real_time
@pytest.mark.parametrize("fault", [HANG, None], ids=["hanging", "reading"])
def test_a_killed_parent_leaves_nothing_behind(fault):
    program = (
        "import sys, threading\n"
        "from functools import partial\n"
        "from pocketlens.runtime.live.sources.fake import FakeCamera\n"
        "from pocketlens.runtime.live.capture.process import ProcessCapture\n"
        f"faults = {{5: {fault!r}}}\n"
        "capture = ProcessCapture(partial(FakeCamera, interval_s=0.02, faults=faults), name='f')\n"
        "for _ in range(2):\n"
        "    capture.next(threading.Event())\n"
        "print(capture._child._process.pid, flush=True)\n"
        "threading.Event().wait()\n"
    )
    before = shared_memory()
    parent = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    child = int(parent.stdout.readline())
    parent.kill()
    _, errors = parent.communicate(timeout=PATIENCE_S)
    wait_for(lambda: not is_running(child))
    assert errors == ""
    assert shared_memory() <= before


@pytest.mark.real_time
def test_a_parent_killed_while_a_file_opens_leaves_nothing_behind():
    program = (
        "import time\n"
        "from functools import partial\n"
        "from pocketlens.runtime.live.capture.link import CaptureChild\n"
        "child = CaptureChild(partial(time.sleep, 600), in_order=True)\n"
        "child.receive(20)\n"
        "print(child._process.pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    child = int(parent.stdout.readline())
    parent.kill()
    parent.communicate(timeout=PATIENCE_S)
    wait_for(lambda: not is_running(child))


def test_the_process_of_a_file_ends_by_itself_and_at_once(monkeypatch):
    # One that hangs would be given an hour to end, and then be killed.
    program = (
        "import sys\nfrom pocketlens.runtime.live.capture import child\n"
        "child._GRACE_S = 3600\nchild.main(*sys.argv[1:])\n"
    )

    def start(_, *arguments, **options):
        processes.append(subprocess.Popen([sys.executable, "-c", program, *arguments], **options))
        return processes[0]

    processes = []
    monkeypatch.setattr(link, "start_child", start)
    monkeypatch.setattr(link, "_END_S", PATIENCE_S)
    source = ChildSource(partial(FakeCamera, live=False), "v.mp4")
    assert source.read() is not None
    source.close()
    assert processes[0].returncode == 0


def test_opening_and_closing_leaves_no_process_descriptor_or_thread():
    def cycle():
        capture = open_fake()
        watch(capture, count_frames(1))
        capture.close()

    cycle()
    before, threads = (descriptors(), shared_memory()), set(threading.enumerate())
    for _ in range(4):
        cycle()
    assert (descriptors(), shared_memory()) == before
    # One of an earlier test may have ended meanwhile.
    assert set(threading.enumerate()) <= threads
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


@pytest.mark.real_time
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
    # The process starts in about 20 frames; if it is too late for a kill, it meets the next.
    capture = open_fake(since_s=CLOCK.now_s(), faults=dict.fromkeys((150, 600, 2400), KILL))
    try:
        summary = classify_source(
            Numbers(),
            capture,
            sinks=[Log()],
            stop=stop,
            max_frames=4000,
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
