"""Pictures without a label: what is kept of them, and that a kill leaves no half of one."""

import itertools
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from timing import FakeClock

from pocketlens.choices import KEEP_REASONS
from pocketlens.demo.video import UNSURE, write_video
from pocketlens.errors import DataError, OutputError, PictureError
from pocketlens.files import write_bytes
from pocketlens.runtime import inbox
from pocketlens.runtime.inbox import FrameInfo, NearCopies, fingerprint, near_copy
from pocketlens.runtime.photos import find_others, find_pictures

INFO = FrameInfo(1764524701.1234, "rtsp://camera/1", (160, 120), "unsure", {"a": 0.75, "b": 0.25})


def a_frame(seed: int = 1) -> np.ndarray:
    small = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), np.uint8)
    return cv2.resize(small, (160, 120), interpolation=cv2.INTER_CUBIC)


def test_a_picture_comes_back_as_it_was_added(tmp_path: Path) -> None:
    jpeg = inbox.encode_jpeg(a_frame())
    info = FrameInfo(
        INFO.at_s,
        "0",
        (160, 120),
        "unknown",
        {"ä": 1.0},
        "m.tflite",
        "ab" * 32,
        "ä 1.0",
        0.5,
        "0f" * 8,
    )
    added = inbox.add(tmp_path / "inbox", jpeg, info)
    assert added.path.name.startswith("20251130T174501.123Z-")
    assert added.path.read_bytes() == jpeg
    (found,) = inbox.entries(tmp_path / "inbox")
    assert found == added
    assert found.info is not None
    assert found.info.at_s == pytest.approx(1764524701.123, abs=1e-6)
    assert found.info.novelty == 0.5
    assert found.info.scores == {"ä": 1.0}
    decoded = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert np.abs(decoded.astype(int) - a_frame()).mean() < 4


def test_the_same_again_is_there_once(tmp_path: Path) -> None:
    one, other = inbox.encode_jpeg(a_frame(1)), inbox.encode_jpeg(a_frame(2))
    first = inbox.add(tmp_path, one, INFO)
    assert inbox.add(tmp_path, one, INFO) == first
    inbox.add(tmp_path, other, INFO)
    assert len(inbox.entries(tmp_path)) == 2


def test_another_file_of_that_name_stays(tmp_path: Path) -> None:
    jpeg = inbox.encode_jpeg(a_frame())
    taken = inbox.add(tmp_path, jpeg, INFO).path
    taken.write_bytes(b"the user's own")
    added = inbox.add(tmp_path, jpeg, INFO)
    assert taken.read_bytes() == b"the user's own"
    assert added.path.read_bytes() == jpeg
    assert added.path != taken


def test_names_are_in_the_order_of_time(tmp_path: Path) -> None:
    for seed, at_s in enumerate((1e9, 5.0, 1764524701.999, 1764524702.0)):
        inbox.add(
            tmp_path, inbox.encode_jpeg(a_frame(seed)), FrameInfo(at_s, "0", (1, 1), "random")
        )
    times = [entry.info.at_s for entry in inbox.entries(tmp_path) if entry.info]
    assert times == sorted(times)
    assert len(times) == 4


def test_what_a_later_version_wrote_is_kept() -> None:
    values = {**json.loads(INFO.to_json()), "version": 7, "weather": {"rain": True}}
    again = json.loads(FrameInfo.from_json(json.dumps(values)).to_json())
    assert again == values
    assert json.loads(FrameInfo.from_json(INFO.to_json()).to_json()) == json.loads(INFO.to_json())


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", "null", "[" * 100_000, '{"version": 1, "size": [1], "at": "x"}', "\udce9"],
)
def test_a_damaged_json_costs_the_picture_nothing(tmp_path: Path, text: str) -> None:
    with pytest.raises(DataError):
        FrameInfo.from_json(text)
    path = inbox.add(tmp_path, inbox.encode_jpeg(a_frame()), INFO).path
    path.with_suffix(".json").write_text(text, "utf-8", "surrogateescape")
    assert inbox.entries(tmp_path) == [inbox.InboxEntry(path, None)]


def test_json_is_no_problem_for_names_and_numbers(tmp_path: Path) -> None:
    odd = FrameInfo(
        INFO.at_s, "caf\udce9\x1b[0m", (1, 1), "unsure", decision="\u202e", novelty=float("nan")
    )
    path = inbox.add(tmp_path, inbox.encode_jpeg(a_frame()), odd).path
    values = json.loads(path.with_suffix(".json").read_bytes(), parse_constant=pytest.fail)
    assert values["source"] == "caf\udce9\x1b[0m"
    assert values["novelty"] is None


def test_odd_names_are_entries_too(tmp_path: Path) -> None:
    names = [b"caf\xe9.jpg", b"a:b\n.PNG", "u\u0308.jpeg".encode()]
    for name in (*names, b".hidden.jpg", b"notes.txt"):
        with open(os.path.join(os.fsencode(tmp_path), name), "wb") as stream:
            stream.write(b"x")
    (tmp_path / "folder.jpg").mkdir()
    assert {os.fsencode(entry.path.name) for entry in inbox.entries(tmp_path)} == set(names)
    assert inbox.entries(tmp_path / "missing") == []


def test_the_json_beside_a_picture_is_no_file_that_nothing_uses(tmp_path: Path) -> None:
    path = inbox.add(tmp_path, inbox.encode_jpeg(a_frame()), INFO).path
    (tmp_path / "other.json").write_text("{}")
    assert list(find_pictures(tmp_path)) == [path]
    assert list(find_others(tmp_path)) == [tmp_path / "other.json"]


def test_removing_takes_both_and_can_be_done_again(tmp_path: Path) -> None:
    entry = inbox.add(tmp_path, inbox.encode_jpeg(a_frame()), INFO)
    inbox.remove(entry)
    inbox.remove(entry)
    assert list(tmp_path.iterdir()) == []


def test_litter_goes_when_its_picture_can_no_longer_come(tmp_path: Path) -> None:
    clock = FakeClock()
    whole = inbox.add(tmp_path, inbox.encode_jpeg(a_frame()), INFO).path
    for name, text in (("a.json", INFO.to_json()), ("mine.json", '{"mine": 1}')):
        (tmp_path / name).write_text(text)
        os.utime(tmp_path / name, (1000, 1000))
    os.utime(whole.with_suffix(".json"), (1000, 1000))
    assert inbox.remove_litter(tmp_path, clock) == 0
    clock.advance(4000)
    assert inbox.remove_litter(tmp_path, clock) == 1
    assert {path.name for path in tmp_path.iterdir()} == {
        whole.name,
        whole.with_suffix(".json").name,
        "mine.json",
    }


def test_a_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_args: object, **_more: object) -> None:
        raise OSError(28, "No space left on device")

    # The .json still has room.
    monkeypatch.setattr("pocketlens.files.rename_new", full)
    with pytest.raises(OutputError, match="No space left"):
        inbox.add(tmp_path, inbox.encode_jpeg(a_frame()), INFO)
    assert list(tmp_path.iterdir()) == []


ADD_UNTIL_KILLED = """
import sys
from pathlib import Path
from pocketlens.runtime import inbox
folder = Path(sys.argv[1])
for number in range(100000):
    jpeg = b"\\xff\\xd8 %d" % number
    inbox.add(folder, jpeg, inbox.FrameInfo(1e9 + number, "0", (1, 1), "random"))
    print(number, flush=True)
"""


def test_a_kill_leaves_each_picture_whole_and_with_its_json(tmp_path: Path) -> None:
    confirmed = []
    for round_number in range(2):
        folder = tmp_path / str(round_number)
        child = subprocess.Popen(
            [sys.executable, "-c", ADD_UNTIL_KILLED, str(folder)], stdout=subprocess.PIPE, text=True
        )
        assert child.stdout is not None
        for _ in range(3 + 7 * round_number):
            child.stdout.readline()
        child.send_signal(signal.SIGKILL)
        rest = child.stdout.read().split()
        child.wait()
        found = inbox.entries(folder)
        assert all(entry.info is not None for entry in found)
        numbers = [int(entry.path.read_bytes()[3:]) for entry in found]
        assert numbers == list(range(len(numbers)))
        assert len(numbers) >= 3 + 7 * round_number + len(rest)
        # The same again finds them there.
        before = len(found)
        inbox.add(folder, found[0].path.read_bytes(), found[0].info or INFO)
        assert len(inbox.entries(folder)) == before
        confirmed.append(before)
    assert len(confirmed) == 2


def test_frames_that_no_jpeg_holds_are_refused() -> None:
    for shape in ((0, 5, 3), (1, 70_000, 3)):
        with pytest.raises(PictureError, match="65,535"):
            inbox.encode_jpeg(np.zeros(shape, np.uint8))


def noisy(frame: np.ndarray, level: float, rng: np.random.Generator) -> np.ndarray:
    return np.clip(frame + rng.normal(0, level, frame.shape), 0, 255).astype(np.uint8)


def test_copies_of_photos_are_near_and_other_photos_are_not(shared: Path) -> None:
    rng = np.random.default_rng(3)
    paths = sorted((shared / "data" / "flowers").rglob("*.jpg"))[::12]
    frames = [cv2.imread(str(path)) for path in paths]
    prints = [fingerprint(frame) for frame in frames]
    again = {
        "noise": [noisy(frame, 8, rng) for frame in frames],
        "half": [cv2.resize(frame, None, fx=0.5, fy=0.5) for frame in frames],
        "jpeg": [cv2.imdecode(cv2.imencode(".jpg", f, (1, 50))[1], 1) for f in frames],
    }
    for name, copies in again.items():
        near = [near_copy(one, fingerprint(copy)) for one, copy in zip(prints, copies, strict=True)]
        assert np.mean(near) >= 0.97, name
    assert not any(near_copy(one, other) for one, other in itertools.combinations(prints, 2))
    swapped = [
        near_copy(p, fingerprint(f[..., ::-1].copy())) for p, f in zip(prints, frames, strict=True)
    ]
    assert np.mean(swapped) < 0.1


@pytest.mark.parametrize("level", [0, 20, 128, 250])
def test_a_plain_wall_is_a_copy_of_itself(level: int) -> None:
    rng = np.random.default_rng(level)
    wall = np.full((240, 320, 3), level, np.float32)
    one, *others = (fingerprint(noisy(wall, 8, rng)) for _ in range(20))
    assert all(near_copy(one, other) for other in others)


def test_frames_of_the_demo_with_other_labels_are_no_copies(tmp_path: Path) -> None:
    labels = write_video(tmp_path / "v.mp4", 4, seconds=6, fps=12, size_wh=(320, 240))
    video = cv2.VideoCapture(str(tmp_path / "v.mp4"))
    prints = [fingerprint(video.read()[1]) for _ in labels]
    pairs = [(a, b) for a, b in itertools.combinations(range(len(labels)), 2)]
    near = {(labels[a], labels[b]) for a, b in pairs if near_copy(prints[a], prints[b])}
    assert near
    assert all(one == other for one, other in near if UNSURE not in (one, other))
    kept = NearCopies()
    for value in prints:
        if not kept.is_copy(value):
            kept.remember(value)
    assert sum(not kept.is_copy(value) for value in prints) == 0


def test_a_still_scene_keeps_one_frame_and_answers_that_change_more() -> None:
    rng = np.random.default_rng(5)
    copies, kept = NearCopies(remembered=10), 0
    scene = a_frame().astype(np.float32)
    for number in range(200):
        # The light goes up and down by 10 %, as through a day with clouds.
        value = fingerprint(noisy(scene * (1 + 0.1 * np.sin(number / 15)), 5, rng))
        if not copies.is_copy(value, {"a": 0.9, "b": 0.1}):
            copies.remember(value, {"a": 0.9, "b": 0.1})
            kept += 1
    assert kept <= 3
    assert not copies.is_copy(value, {"a": 0.5, "b": 0.5})
    assert copies.is_copy(value)


def test_what_was_kept_last_is_known_after_a_restart_and_can_be_forgotten(tmp_path: Path) -> None:
    values = [fingerprint(a_frame(seed)) for seed in range(3)]
    for seed, value in enumerate(values):
        info = FrameInfo(1e9 + seed, "0", (160, 120), "unsure", fingerprint=inbox.to_hex(value))
        inbox.add(tmp_path, inbox.encode_jpeg(a_frame(seed)), info)
    copies = NearCopies(remembered=2)
    copies.recall(tmp_path)
    assert [copies.is_copy(value) for value in values] == [False, True, True]
    copies.forget(values[2])
    assert [copies.is_copy(value) for value in values] == [False, True, False]


def test_reasons_are_those_that_can_be_chosen() -> None:
    assert KEEP_REASONS == ("collected", "unsure", "unknown", "changed", "shift", "random")


def test_a_partial_file_is_no_entry(tmp_path: Path) -> None:
    write_bytes(tmp_path / "a.jpg", b"1")
    (tmp_path / ".a.0123456789abcdef.partial.jpg").write_bytes(b"1")
    assert [entry.path.name for entry in inbox.entries(tmp_path)] == ["a.jpg"]
