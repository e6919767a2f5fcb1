"""Watching for shift: which frames are looked at, what is found when, and when it ends."""

import numpy as np
import pytest
from timing import PATIENCE_S

from pocketlens.card import ModelCard
from pocketlens.choices import DARKER, GREY, SHIFT_KINDS
from pocketlens.errors import UsageError
from pocketlens.runtime.classifier import Category, Result
from pocketlens.runtime.live.capture.thread import ThreadCapture
from pocketlens.runtime.live.frames import CaptureLimits, ShiftState, Sink
from pocketlens.runtime.live.loop import classify_source
from pocketlens.runtime.live.shifts import DEFAULT_S, WINDOW, ShiftWatch, make_watch
from pocketlens.runtime.live.sources.fake import FakeCamera, frame_number
from pocketlens.runtime.shift import LEAST_PHOTOS, fit_shift

SIZE = 32
A = (Category("a", 0.9, 0),)
RESULT = Result(A, A)


def scene(seed):
    """A picture unlike the others, BGR."""
    random = np.random.default_rng(seed)
    base = random.uniform(60, 180) + random.normal(0, random.uniform(10, 60), (1, 1, 3))
    pixels = base + random.normal(0, random.uniform(5, 40), (SIZE, SIZE, 1))
    return np.clip(pixels, 0, 255).astype(np.uint8)


def dark(frame_bgr):
    return frame_bgr // 4


def grey(frame_bgr):
    return np.repeat(frame_bgr.mean(axis=2, keepdims=True).astype(np.uint8), 3, axis=2)


@pytest.fixture(scope="module")
def card():
    pictures = [scene(seed)[..., ::-1] for seed in range(200)]
    shift = fit_shift(pictures, np.ones((200, 1)), None)
    return ModelCard("m", ("a", "b"), (SIZE, SIZE), shift=shift)


def changes(watch, frames, every_s=1.0, start_s=0.0):
    """Return what a watch says of frames, by the frame's number."""
    found = {}
    for number, frame in enumerate(frames):
        came = watch.look(frame, RESULT, start_s + every_s * number)
        if came is not None:
            found[number] = came
    return found


def test_frames_like_the_photos_change_nothing(card):
    assert changes(ShiftWatch(card, 1.0), map(scene, range(1000, 1300))) == {}


def test_a_shift_begins_and_ends(card):
    watch = ShiftWatch(card, 1.0)
    frames = [scene(seed) for seed in range(1000, 1060)]
    frames += [dark(scene(seed)) for seed in range(2000, 2060)]
    frames += [scene(seed) for seed in range(3000, 3100)]
    found = changes(watch, frames)
    assert [entry.kind for entry in found.values()] == [DARKER, None]
    begins, ends = found
    assert 60 < begins < 60 + WINDOW
    assert 120 < ends < 120 + WINDOW
    assert found[begins] == ShiftState(DARKER, float(begins), WINDOW)
    assert watch.kind is None


def test_with_few_frames_it_finds_what_is_plain(card):
    (found,) = changes(ShiftWatch(card, 1.0), (dark(scene(seed)) for seed in range(50))).values()
    assert found.kind == DARKER
    assert 5 < found.samples < 20


def test_another_shift_takes_over_where_one_ends(card):
    frames = [dark(scene(seed)) for seed in range(60)]
    frames += [grey(scene(seed)) for seed in range(100, 200)]
    found = changes(ShiftWatch(card, 1.0), frames)
    assert [entry.kind for entry in found.values()] == [DARKER, GREY]


def test_one_frame_in_so_many_seconds_is_looked_at(card):
    watch = ShiftWatch(card, 10.0)
    looked = []
    watch.add = lambda numbers: looked.append(numbers)
    # 1 / 30 has no end, neither in decimals nor in bits.
    for number in range(3001):
        watch.look(scene(number), RESULT, number / 30)
    assert len(looked) == 11


def test_frames_have_any_size_and_are_resized_as_the_model_does(card):
    watch = ShiftWatch(card, 1.0)
    looked = []
    watch.add = lambda numbers: looked.append(numbers)
    frame = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), np.uint8)
    before = frame.copy()
    watch.look(frame, RESULT, 0.0)
    watch.look(np.repeat(np.repeat(frame, 4, 0), 4, 1), RESULT, 1.0)
    assert looked[0] == looked[1]
    assert (frame == before).all()


def test_what_makes_a_watch(card):
    bare = ModelCard("m", ("a", "b"), (SIZE, SIZE))
    assert make_watch(card, 0, "m.tflite") is None
    assert make_watch(bare, 0, "m.tflite") is None
    assert make_watch(bare, None, "m.tflite") is None
    for every_s, frames in ((None, 1), (DEFAULT_S, 1), (1.0, 60)):
        watch = make_watch(card, every_s, "m.tflite")
        looked = []
        watch.add = lambda numbers, looked=looked: looked.append(numbers)
        for number in range(60):
            watch.look(scene(0), RESULT, float(number))
        assert len(looked) == frames
    with pytest.raises(
        UsageError, match=r"m\.tflite does not say .* needs at least 10\."
    ) as raised:
        make_watch(bare, 60.0, "m.tflite")
    assert str(LEAST_PHOTOS) in str(raised.value)


@pytest.mark.parametrize("every_s", [-1.0, float("nan"), float("inf")])
def test_seconds_that_cannot_be(card, every_s):
    with pytest.raises(UsageError, match="Expected --watch-shift as seconds"):
        make_watch(card, every_s, "m.tflite")


class Dusk(FakeCamera):
    """A camera whose pictures are dark from the sixtieth on."""

    def read(self):
        frame = super().read()
        if frame is None:
            return None
        number = frame_number(frame)
        return dark(scene(number)) if number >= 60 else scene(number)


class Heard(Sink):
    def __init__(self, own_thread):
        self.own_thread = own_thread
        self.watched, self.heard = False, []

    def opened(self, run):
        self.watched = run.watches_shift

    def result(self, frame_bgr, result):
        self.heard.append(result.number)
        if self.own_thread:
            # As what draws on it does.
            frame_bgr[:] = 0

    def shift(self, shift):
        self.heard.append(shift)


class Always:
    def classify(self, frame_bgr):
        return RESULT


@pytest.mark.parametrize("own_thread", [False, True])
def test_sinks_hear_of_a_shift_after_the_frame_that_shows_it(card, clock, caplog, own_thread):
    sink = Heard(own_thread)
    camera = Dusk(frames=120, fps=1.0, live=False)
    capture = ThreadCapture(camera, limits=CaptureLimits(silence_s=PATIENCE_S))
    summary = classify_source(
        Always(), capture, sinks=[sink], shifts=ShiftWatch(card, 1.0), clock=clock
    )
    capture.close()
    (shift,) = [entry for entry in sink.heard if isinstance(entry, ShiftState)]
    assert (shift.kind, shift.at_s) == (DARKER, clock.wall_s())
    assert 60 < shift.time_s < 110
    assert sink.heard[sink.heard.index(shift) - 1] == shift.time_s
    assert sink.watched
    assert (summary.shifts, summary.to_dict()["shifts"]) == (1, 1)
    assert "1 shift" in summary.line({})
    (line,) = [entry.message for entry in caplog.records if entry.levelname == "WARNING"]
    assert line == f"{shift.text} (frame {shift.time_s:.0f})"


def test_without_a_watch_there_is_none(clock):
    sink = Heard(own_thread=False)
    capture = ThreadCapture(Dusk(frames=80, fps=1.0, live=False))
    summary = classify_source(Always(), capture, sinks=[sink], clock=clock)
    capture.close()
    assert sink.heard == list(range(80))
    assert not sink.watched
    assert "shift" not in summary.line({})


def test_every_kind_has_a_sentence():
    for kind in (*SHIFT_KINDS, None):
        entry = ShiftState(kind, 61.0, 50, 0.25).to_dict()
        assert entry["shift"] == kind
        assert entry["text"].endswith(".")
        assert entry["at"] == "1970-01-01T00:00:00.250+00:00"
        assert (entry["time_s"], entry["samples"]) == (61.0, 50)
    assert len({ShiftState(kind, 0.0, 1).text for kind in (*SHIFT_KINDS, None)}) == 6
