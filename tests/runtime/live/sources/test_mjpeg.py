"""HTTP streams of JPEGs, from a real server on loopback that behaves badly on purpose."""

import contextlib
import re
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

import cv2
import numpy as np
import pytest
from timing import PATIENCE_S, wait_for

from pocketlens.clock import CLOCK
from pocketlens.errors import PictureError, SourceError
from pocketlens.runtime.live.capture.opening import open_capture
from pocketlens.runtime.live.frames import LIVE, STALE, Captured
from pocketlens.runtime.live.sources import SourceRequest, open_source
from pocketlens.runtime.live.sources.jpeg import decode_jpeg
from pocketlens.runtime.live.sources.mjpeg import MAX_PART_BYTES, Parts

JPEG = cv2.imencode(".jpg", np.full((48, 64, 3), 90, np.uint8))[1].tobytes()
BOMB = JPEG.replace(b"\x00\x30\x00\x40", b"\xff\xff\xff\xff", 1)


def part(data, *, length=None, name="frame"):
    lines = [f"--{name}", "Content-Type: image/jpeg"]
    if length is not None:
        lines.append(f"Content-Length: {length}")
    return "\r\n".join([*lines, "", ""]).encode() + data + b"\r\n"


@pytest.mark.parametrize("size", [1, 7, 100, 100_000], ids=lambda size: f"{size}-bytes-a-time")
@pytest.mark.parametrize("declared", [True, False], ids=["length", "no-length"])
@pytest.mark.parametrize("boundary", ["frame", "--frame", '"frame"'])
def test_parts_come_out_however_they_arrive(size, declared, boundary):
    stream = b"".join(part(JPEG, length=len(JPEG) if declared else None) for _ in range(4))
    parts = Parts(boundary)
    found = [
        entry for at in range(0, len(stream), size) for entry in parts.feed(stream[at : at + size])
    ]
    assert [decode_jpeg(entry).shape for entry in found] == [(48, 64, 3)] * 4
    assert found[0][: len(JPEG)] == JPEG


@pytest.mark.parametrize("declared", [True, False], ids=["length", "no-length"])
def test_a_part_is_given_before_the_next_begins(declared):
    stream = part(JPEG, length=len(JPEG) if declared else None)
    assert Parts("frame").feed(stream.removesuffix(b"\r\n")) == [JPEG]


@pytest.mark.parametrize("size", [1, 20, 50])
def test_a_boundary_that_arrives_in_pieces_is_found_whatever_dashes_it_has(size):
    stream = b"".join(part(JPEG[:200], name="-" * 26 + "7d3") for _ in range(20))
    parts = Parts("-" * 26 + "7d3")
    found = [
        entry for at in range(0, len(stream), size) for entry in parts.feed(stream[at : at + size])
    ]
    assert found == [JPEG[:200]] * 19


@pytest.mark.parametrize("declared", [True, False], ids=["length", "no-length"])
def test_looking_for_boundaries_takes_a_small_part_of_a_patterns_time(declared):
    picture = b"\xff\xd8" + np.random.default_rng(0).bytes(500_000) + b"\xff\xd9"
    stream = part(picture, length=len(picture) if declared else None) * 20
    parts = Parts("frame")
    before_s = time.process_time()
    found = [
        part
        for at in range(0, len(stream), 1 << 16)
        for part in parts.feed(stream[at : at + (1 << 16)])
    ]
    between_s = time.process_time()
    re.search(rb"(?:\r?\n|(?<=\xff\xd9))-*--name", stream)
    assert len(found) == 20
    assert between_s - before_s < 0.5 * (time.process_time() - between_s)


def test_a_frame_that_is_cut_short_costs_only_itself():
    stream = part(JPEG[:200], length=len(JPEG)) + part(JPEG, length=len(JPEG))
    first, second = Parts("frame").feed(stream)
    with pytest.raises(PictureError):
        decode_jpeg(first)
    assert second == JPEG


@pytest.mark.parametrize(
    "stream",
    [
        pytest.param(part(b"", length=MAX_PART_BYTES + 1), id="long-declared"),
        pytest.param(part(b"x" * (MAX_PART_BYTES + 1)), id="long"),
        pytest.param(b"--frame\r\n" + b"x: y\r\n" * 5000, id="header-without-end"),
    ],
)
def test_what_is_too_long_is_refused(stream):
    with pytest.raises(SourceError):
        Parts("frame").feed(stream)


def test_noise_before_the_first_boundary_takes_no_memory():
    parts = Parts("frame")
    for _ in range(50):
        assert parts.feed(b"noise" * 10_000) == []
    assert len(parts._held) < 100
    assert parts.feed(part(JPEG, length=len(JPEG))) == [JPEG]


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="empty"),
        pytest.param(JPEG[: len(JPEG) // 2], id="half"),
        pytest.param(JPEG[:-2], id="without-end"),
        pytest.param(b"\xff\xd8 no picture \xff\xd9", id="garbage"),
        pytest.param(b"\x89PNG" + JPEG, id="not-at-the-start"),
        pytest.param(JPEG[:300] + b"\xff\xd9" + bytes(range(1, 200)), id="end-in-the-middle"),
        pytest.param(BOMB, id="bomb"),
    ],
)
def test_what_is_no_whole_jpeg_is_refused(data):
    assert BOMB != JPEG
    with pytest.raises(PictureError, match="Expected a whole JPEG"):
        decode_jpeg(data)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"hello", "Received: 5 bytes of something else."),
        (JPEG[:20], "Received: 20 bytes of a damaged one."),
    ],
)
def test_what_came_in_place_of_a_jpeg_is_said(data, said):
    with pytest.raises(PictureError, match=said):
        decode_jpeg(data)


def test_a_missing_boundary_is_said():
    class NoBoundary(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace")
            self.end_headers()

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), NoBoundary) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        with pytest.raises(SourceError, match="multipart/x-mixed-replace without a boundary"):
            open_source(SourceRequest(f"http://127.0.0.1:{server.server_port}/"))


def test_padding_after_a_jpeg_is_taken():
    assert decode_jpeg(JPEG + b"\0" * 500 + b"\r\n--").shape == (48, 64, 3)


NEXT = b"\r\n--a\r\nContent-Type: image/jpeg\r\n\r\n"


def with_comment(text):
    """A JPEG that holds a text, as EXIF data may."""
    comment = b"\xff\xfe" + (len(text) + 2).to_bytes(2, "big") + text
    return JPEG[:2] + comment + JPEG[2:]


@pytest.mark.parametrize("size", [1, 7, 100_000], ids=lambda size: f"{size}-bytes-a-time")
@pytest.mark.parametrize(
    ("name", "text", "declared"),
    [
        pytest.param("a", b"x--a y--a-- \n--ab", False, id="one-letter"),
        pytest.param("a", b"x--a y--a-- \n--ab", True, id="one-letter-with-length"),
        pytest.param("frame", b"\r\n--frame\r\nContent-Type: image/jpeg\r\n\r\n", True, id="whole"),
        pytest.param("a", NEXT + NEXT, True, id="one-letter-whole"),
    ],
)
def test_a_boundary_within_a_picture_ends_no_part(size, name, text, declared):
    jpeg = with_comment(text)
    stream = part(jpeg, length=len(jpeg) if declared else None, name=name) * 3
    parts = Parts(name)
    pieces = [stream[at : at + size] for at in range(0, len(stream), size)]
    found = [entry for piece in pieces for entry in parts.feed(piece)]
    assert [entry.rstrip() for entry in found] == [jpeg] * 3


def test_a_length_that_is_too_long_costs_no_frame():
    stream = part(JPEG, length=20_000_000) + part(JPEG, length=len(JPEG)) * 2
    assert Parts("frame").feed(stream) == [JPEG] * 3


def test_a_boundary_right_behind_a_picture_ends_it():
    stream = b"--a\r\n\r\n" + JPEG + b"--a\r\n\r\n" + JPEG + b"--a--\r\n"
    assert Parts("a").feed(stream) == [JPEG] * 2


def spoilt(rng):
    """A detailed JPEG that has lost a piece in its middle."""
    picture = cv2.resize(rng.integers(0, 255, (60, 80, 3), np.uint8), (640, 480))
    data = cv2.imencode(".jpg", picture)[1].tobytes()
    at = int(rng.integers(len(data) // 4, len(data) // 2))
    return data[:at] + data[at + 2000 :]


def test_a_jpeg_with_a_lost_piece_in_its_middle_is_damaged(mjpeg_server):
    rng = np.random.default_rng(3)
    mjpeg_server.faults = {number: spoilt(rng) for number in range(3, 23)}
    capture = open_capture(SourceRequest(mjpeg_server.url()))
    try:
        shapes = []
        while not shapes or mjpeg_server.sent < 40:
            came = capture.next(threading.Event())
            if isinstance(came, Captured):
                shapes.append(came.frame_bgr.shape)
        # Not one of the pictures of 640x480 is among them.
        assert set(shapes) == {(48, 64, 3)}
        assert capture.counts.damaged >= 1
    finally:
        capture.close()


def read(request):
    source = open_source(request)
    try:
        return source.read()
    finally:
        source.close()


@pytest.mark.parametrize("digest", [False, True], ids=["basic", "digest"])
def test_user_and_password_of_the_url_are_used(mjpeg_server, digest):
    mjpeg_server.password, mjpeg_server.digest = "se:c/r@t", digest
    url = mjpeg_server.url("me:se%3Ac%2Fr%40t@")
    assert read(SourceRequest(url)).shape == (48, 64, 3)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        pytest.param({"password": "other"}, "401", id="password"),
        pytest.param({"status": 404}, "404 Not Found", id="not-found"),
        pytest.param({"header": "image/jpeg"}, "image/jpeg", id="one-picture"),
        pytest.param({"header": "multipart/x-mixed-replace"}, "multipart", id="no-boundary"),
    ],
)
def test_what_is_no_stream_is_one_sentence(mjpeg_server, changes, words):
    for name, value in changes.items():
        setattr(mjpeg_server, name, value)
    with pytest.raises(SourceError, match=r"Expected an MJPEG stream .* Received: .*\.") as caught:
        open_source(SourceRequest(mjpeg_server.url("me:hunter2@")))
    assert words in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_a_port_where_nobody_listens_is_one_sentence(mjpeg_server):
    url = mjpeg_server.url()
    mjpeg_server.stop()
    with pytest.raises(SourceError, match="refused"):
        open_source(SourceRequest(url))


def shape_or_none(source):
    try:
        return source.read().shape
    except PictureError:
        return None


def test_a_server_that_never_answers_is_one_sentence(monkeypatch):
    monkeypatch.setattr("pocketlens.runtime.live.sources.mjpeg._TIMEOUT_S", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        with pytest.raises(SourceError, match="nothing for too long"):
            open_source(SourceRequest(url))


def test_damaged_frames_raise_and_the_next_is_well(mjpeg_server):
    mjpeg_server.interval_s = 0.05
    mjpeg_server.faults = {1: JPEG[:200], 2: b"garbage"}
    source = open_source(SourceRequest(mjpeg_server.url()))
    came = [shape_or_none(source) for _ in range(5)]
    source.close()
    assert came.count(None) + source.skipped >= 2
    assert came[-1] == (48, 64, 3)


def test_a_stream_that_is_too_fast_is_skipped_to_the_newest(mjpeg_server):
    mjpeg_server.interval_s = 0.002
    source = open_source(SourceRequest(mjpeg_server.url()))
    try:
        source.read()
        wait_for(lambda: source.skipped > 20)
    finally:
        source.close()


def test_an_end_is_told(mjpeg_server):
    source = open_source(SourceRequest(mjpeg_server.url()))
    source.read()
    mjpeg_server.stop()
    stopped_s = time.monotonic()
    with contextlib.suppress(SourceError):
        while source.read() is not None:
            assert time.monotonic() - stopped_s < PATIENCE_S
    source.close()


def wait_until(capture, state):
    """Return the change to a state, and the last frame before it."""
    stop = threading.Event()
    timer = threading.Timer(PATIENCE_S, stop.set)
    timer.start()
    last = None
    while (came := capture.next(stop)) is not None:
        if isinstance(came, Captured):
            last = came
        elif came.state == state:
            timer.cancel()
            return came, last
    raise AssertionError(f"not {state} in time")


def check_stale(capture, last):
    """Wait for the source to be stale: within two seconds on a machine that does nothing else."""
    stale, newer = wait_until(capture, STALE)
    assert stale.time_s - (newer or last).time_s <= 20
    assert "hunter2" not in stale.reason


def check_live(capture, back_s):
    """Wait for frames: within five seconds on a machine that does nothing else."""
    live, _ = wait_until(capture, LIVE)
    assert live.time_s - (back_s - capture.started_s) <= 40
    return capture.next(threading.Event())


@pytest.mark.real_time
def test_a_server_that_falls_silent_goes_and_comes_back(mjpeg_server):
    capture = open_capture(SourceRequest(mjpeg_server.url("me:hunter2@")))
    try:
        first = capture.next(threading.Event())
        assert isinstance(first, Captured)
        mjpeg_server.silent = True
        check_stale(capture, first)
        mjpeg_server.silent = False
        again = check_live(capture, CLOCK.now_s())
        mjpeg_server.stop()
        check_stale(capture, again)
        # It is tried in vain meanwhile.
        threading.Timer(1.0, mjpeg_server.start).start()
        check_live(capture, CLOCK.now_s())
        assert capture.counts.stalls == 2
        assert capture.counts.reconnects >= 1
    finally:
        capture.close()


@pytest.mark.parametrize("seed", range(20))
def test_a_spoilt_stream_ends_or_goes_on(seed):
    rng = np.random.default_rng(seed)
    good = part(JPEG, length=len(JPEG)) * 6
    spoilt = bytearray(good)
    for at in rng.integers(0, len(good) // 2, 20):
        spoilt[at] = rng.integers(256)
    cut = int(rng.integers(len(good) // 2))
    del spoilt[cut : cut + int(rng.integers(400))]
    parts = Parts("frame")
    try:
        found = parts.feed(bytes(spoilt))
    except SourceError:
        return
    # What comes after the damage is whole again.
    assert found[-1][: len(JPEG)] == JPEG
