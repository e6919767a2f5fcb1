"""Frames that are kept for labelling: which, as what, and that nothing stops what is live."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from kept_frames import LABELS, NOON_S, PLENTY, RUN, STRANGE, TORN, opened, result, scene, settled
from timing import FakeClock, wait_for

from pocketlens.choices import CHANGED, RANDOM, SHIFTED, UNKNOWN, UNSURE
from pocketlens.errors import OutputError, UsageError
from pocketlens.runtime import inbox
from pocketlens.runtime.live.frames import STALE, ShiftState, SourceState
from pocketlens.runtime.live.sinks import SinkRequest, make_sinks
from pocketlens.runtime.live.sinks.keep import Keep
from pocketlens.runtime.live.sinks.keep_folder import Room
from pocketlens.runtime.photos import find_pictures


def show(keep, frames):
    """Give frames one after the other, each when those before it were dealt with."""
    for count, (frame_bgr, entry) in enumerate(frames, 1):
        keep.result(frame_bgr, entry)
        settled(keep, count)


def found(folder):
    return [entry.info for entry in inbox.entries(folder)]


def test_each_reason_with_what_is_known_of_the_frame(tmp_path):
    with opened(tmp_path) as keep:
        keep.result(scene(0), result(0, changed=True))
        frames = [
            (scene(1), result(10, TORN)),
            (scene(2), result(20, STRANGE)),
            (scene(3), result(30, changed=True)),
        ]
        show(keep, frames)
        keep.shift(ShiftState("darker", 35.0, 50))
        keep.result(scene(4), result(40))
        settled(keep, 4)
        keep.shift(ShiftState(None, 45.0, 50))
        keep.result(scene(5), result(50))
    assert [entry.reason for entry in found(tmp_path)] == [UNSURE, UNKNOWN, CHANGED, SHIFTED]
    info = found(tmp_path)[1]
    assert info.at_s == pytest.approx(NOON_S + 20, abs=1e-3)
    assert (info.source, info.size_wh) == ("rtsp://***@camera/1", (160, 120))
    assert info.scores == pytest.approx(dict(zip(LABELS, STRANGE, strict=True)), abs=1e-6)
    assert (info.model, info.model_hash) == ("zoo_int8.tflite", "ab" * 32)
    assert (info.decision, info.novelty) == ("unknown", pytest.approx(0.95))
    assert info.fingerprint == inbox.to_hex(inbox.fingerprint(scene(2)))
    assert keep.counts() == {"kept_frames": 4, "kept_frames_lost": 0}


def test_the_picture_is_the_frame_as_the_source_gave_it(tmp_path):
    frame_bgr = scene(1, (640, 480))
    with opened(tmp_path) as keep:
        keep.result(frame_bgr, result(0, TORN))
        # What draws on it next does so after it was copied.
        frame_bgr[:] = 0
    (path,) = find_pictures(tmp_path)
    assert path.read_bytes() == inbox.encode_jpeg(scene(1, (640, 480)))


def test_the_fingerprint_of_a_large_frame_is_that_of_its_picture(tmp_path, shared):
    photos = sorted((shared / "data" / "flowers" / "roses").iterdir())[:5]
    with opened(tmp_path, live=False) as keep:
        for number, path in enumerate(photos):
            frame_bgr = cv2.resize(cv2.imread(str(path)), (1280, 720))
            keep.result(frame_bgr, result(10.0 * number, TORN))
    assert len(inbox.entries(tmp_path)) > 2
    for entry in inbox.entries(tmp_path):
        whole = inbox.fingerprint(cv2.imread(str(entry.path)))
        assert inbox.near_copy(whole, int(entry.info.fingerprint, 16))


def test_of_pictures_the_file_is_named(tmp_path):
    with opened(tmp_path, live=False) as keep:
        keep.result(scene(1), result(0, TORN, file="garden\n1.jpg"))
    assert found(tmp_path)[0].extra == {"file": "garden\\n1.jpg"}


def test_near_copies_are_left_out_but_random_ones_are_what_they_are(tmp_path):
    noise = np.random.default_rng(5)

    def again():
        frame = scene(1).astype(np.int16) + noise.normal(0, 4, (120, 160, 3)).astype(np.int16)
        return np.clip(frame, 0, 255).astype(np.uint8)

    hour = [(again(), result(60.0 * n, TORN)) for n in range(60)]
    with opened(tmp_path, random_a_day=48) as keep:
        show(keep, hour)
        counts = keep.keeping()
    assert counts.kept == {UNSURE: 1, UNKNOWN: 0, CHANGED: 0, SHIFTED: 0, RANDOM: 2}
    assert counts.near_copies == 57
    # After a restart it knows them.
    with opened(tmp_path) as keep:
        show(keep, hour[:3])
    assert keep.counts()["kept_frames"] == 0
    assert len(found(tmp_path)) == 3


@pytest.mark.parametrize("photo", [3, 70])
def test_an_hour_of_a_still_scene(tmp_path, shared, photo):
    """6,000 frames of a photo with noise, as light goes up and down by a quarter in the hour.

    The model is unsure of all of them, and all are looked at, as if they were those of a file.
    """
    folder = shared / "data" / "flowers" / ("roses", "tulips", "daisy", "dandelion")[photo % 4]
    picture = cv2.imread(str(sorted(folder.iterdir())[photo]))
    picture = cv2.resize(picture, (160, 120)).astype(np.float32)
    rng = np.random.default_rng(photo)
    # The 60 minutes' light, each with noise of its own, eight times.
    lights = 1 + 0.25 * np.sin(np.linspace(0, 2 * np.pi, 60, endpoint=False))
    minutes = [
        [np.clip(light * picture + rng.normal(0, 5, picture.shape), 0, 255) for _ in range(8)]
        for light in lights
    ]
    with opened(tmp_path, live=False) as keep:
        for number in range(6000):
            frame_bgr = minutes[number // 100][number % 8].astype(np.uint8)
            margin = 0.1 + 0.05 * np.sin(number / 500) + rng.normal(0, 0.02)
            scores = (0.5 + margin / 2, 0.5 - margin / 2, 0.0)
            keep.result(frame_bgr, result(0.6 * number, scores))
    counts = keep.keeping()
    assert sum(counts.kept.values()) + counts.near_copies > 5900
    assert sum(counts.kept.values()) <= 5


def test_while_a_frame_is_being_written_others_are_dropped_but_random_ones_wait(tmp_path):
    hold, asked = threading.Event(), threading.Event()

    def room(_):
        asked.set()
        hold.wait(60)
        return PLENTY

    with opened(tmp_path, room=room, random_a_day=48 * 60) as keep:
        keep.result(scene(0), result(0, TORN))
        asked.wait(60)
        for n in range(1, 5):
            keep.result(scene(n), result(2.0 * n, TORN))
        # A random one in each half of a minute.
        for n in range(10, 60):
            keep.result(scene(n), result(float(n)))
        hold.set()
    counts = keep.keeping()
    assert counts.kept[UNSURE] == 1
    assert counts.kept[RANDOM] == 2
    # One of the four may be a random one.
    assert 3 <= counts.dropped <= 4


def test_a_file_waits_and_loses_no_frame(tmp_path):
    with opened(tmp_path, live=False) as keep:
        for n in range(8):
            keep.result(scene(n), result(0.5 * n, TORN))
    assert keep.counts()["kept_frames"] == 8


def test_the_same_file_again_gives_nothing_twice(tmp_path):
    def play():
        with opened(tmp_path, live=False, random_a_day=300) as keep:
            for n in range(20):
                keep.result(scene(n), result(0.5 * n, TORN))

    play()
    first = set(tmp_path.iterdir())
    assert len(first) > 20
    play()
    assert set(tmp_path.iterdir()) >= first
    digests = [path.stem.rpartition("-")[2] for path in tmp_path.glob("*.jpg")]
    assert len(digests) == len(set(digests))


def test_random_frames_of_what_stands_still_are_all_kept(tmp_path):
    with opened(tmp_path, live=False, random_a_day=60) as keep:
        for n in range(100):
            keep.result(scene(1), result(float(n)))
    assert keep.keeping().kept[RANDOM] == 10


def test_after_frames_stayed_away_none_is_random_for_what_was_missed(tmp_path):
    with opened(tmp_path, random_a_day=24) as keep:
        keep.result(scene(0), result(0))
        keep.state(SourceState(STALE, 1.0, "the cable is loose", 0))
        keep.result(scene(1), result(80_000.0))
    assert found(tmp_path) == []


def test_a_full_disk_is_said_once_and_costs_only_what_is_not_kept(tmp_path, caplog):
    rooms = [PLENTY]
    with opened(tmp_path, room=lambda _: rooms[0]) as keep:
        show(keep, [(scene(0), result(0, TORN))])
        rooms[0] = Room(10**6, 10**9, 4096)
        keep.result(scene(1), result(10, TORN))
        keep.result(scene(2), result(20, TORN))
        wait_for(lambda: keep.keeping().lost >= 1)
        settled(keep, 2)
        full = keep.keeping()
        rooms[0] = PLENTY
        wait_for(lambda: not keep.result(scene(3), result(600, TORN)) and keep.keeping())
        settled(keep, 3)
    assert full.trouble.startswith("Little room is left on the disk")
    counts = keep.keeping()
    assert counts.trouble == ""
    assert counts.kept[UNSURE] == 2
    said = [entry.message for entry in caplog.records if "kept" in entry.message]
    assert said[0].startswith("Frames are not kept: Little room is left")
    assert said[1:] == [f"Frames are kept again; {counts.lost} lost."]
    assert keep.counts()["kept_frames_lost"] == counts.lost >= 1


def test_a_folder_that_goes_is_made_again(tmp_path):
    folder = tmp_path / "keep"
    with opened(folder) as keep:
        show(keep, [(scene(0), result(0, TORN))])
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()
        keep.result(scene(1), result(10, TORN))
        settled(keep, 2)
        assert len(found(folder)) == 1


def test_what_cannot_be_encoded_stops_nothing(tmp_path):
    with opened(tmp_path) as keep:
        frames = [
            (np.zeros((1, 70_000, 3), np.uint8), result(0, TORN)),
            (scene(1), result(10, TORN)),
        ]
        show(keep, frames)
    assert keep.counts() == {"kept_frames": 1, "kept_frames_lost": 1}


def test_a_folder_that_is_a_file_is_an_error(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OutputError, match="Cannot write "):
        Keep(tmp_path / "file").opened(RUN)


def test_the_end_waits_for_a_disk_that_hangs_only_for_a_moment(tmp_path):
    hold, clock = threading.Event(), FakeClock()

    def room(_):
        hold.wait(60)
        return PLENTY

    keep = Keep(tmp_path, room=room, clock=clock)
    keep.opened(RUN)
    keep.result(scene(0), result(0, TORN))
    ending = threading.Thread(target=keep.closed)
    ending.start()
    assert clock.end_wait() <= 2
    ending.join(60)
    assert not ending.is_alive()
    hold.set()


def test_options_make_the_sink(tmp_path):
    (sink,) = make_sinks(SinkRequest(keep=str(tmp_path / "in"), quiet=True))
    assert isinstance(sink, Keep)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(UsageError, match="Expected --keep DIR beside --keep-to"):
        make_sinks(SinkRequest(keep_to="http://host/", quiet=True))
    with pytest.raises(UsageError, match="Expected --keep-to as an address") as error:
        make_sinks(SinkRequest(keep="x", keep_to="ftp://hunter2/", quiet=True))
    assert "hunter2" not in str(error.value)
    wrong = SinkRequest(keep="x", keep_to="http://h/", keep_token="two words", quiet=True)
    with pytest.raises(UsageError, match=r"Expected a token .* for --keep-token"):
        make_sinks(wrong)
    assert "hunter2" not in repr(SinkRequest(keep_to="http://hunter2/", keep_token="hunter2"))


PROGRAM = """
import sys
sys.path[:0] = sys.argv[2:]
from pathlib import Path
from kept_frames import PLENTY, RUN, TORN, result, scene
from pocketlens.runtime.live.sinks.keep import Keep
from dataclasses import replace
keep = Keep(Path(sys.argv[1]), limit_bytes=400_000, random_a_day=0, room=lambda _: PLENTY)
keep.opened(replace(RUN, live=False))
print("go", flush=True)
for n in range(100_000):
    keep.result(scene(n), result(40.0 * n, TORN))
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
def test_a_kill_at_any_moment_leaves_whole_pictures_and_none_twice(tmp_path):
    folder = tmp_path / "keep"
    helpers = str(Path(__file__).parents[3] / "helpers")
    for attempt in range(4):
        with subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(folder), helpers], stdout=subprocess.PIPE
        ) as child:
            assert child.stdout.readline() == b"go\n"
            wait_for(lambda: list(folder.glob("*.jpg")))
            time.sleep(0.05 * attempt)
            child.send_signal(signal.SIGKILL)
        for entry in inbox.entries(folder):
            assert entry.info is not None
            assert cv2.imdecode(np.fromfile(entry.path, np.uint8), cv2.IMREAD_COLOR) is not None
        sizes = sum(-(-path.stat().st_size // 4096) * 4096 for path in folder.iterdir())
        # A picture that was being written, and its .json, come on top.
        assert sizes <= 400_000 + 60_000
    with opened(folder, limit_bytes=400_000) as keep:
        keep.result(scene(10**6), result(1e6, TORN))
        settled(keep, 1)
    digests = [path.stem.rpartition("-")[2] for path in folder.glob("*.jpg")]
    assert len(digests) == len(set(digests))
    assert not [path for path in folder.iterdir() if "partial" in path.name]
    json.loads(next(folder.glob("*.json")).read_text())
