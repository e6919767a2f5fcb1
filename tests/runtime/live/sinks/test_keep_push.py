"""Sending kept frames: each once, in order, over restarts, whatever the server does."""

import http.server
import socket
import threading
import urllib.parse
from contextlib import contextmanager

import pytest
from kept_frames import NOON_S, TORN, opened, result, scene, settled
from timing import PATIENCE_S, FakeClock, wait_for

from pocketlens.runtime.live.sinks.keep_push import SentList, parse_receiver

SECRET = "s3cret-token"


class Receiver:
    """A web server that takes files by PUT; `statuses` are answered first, by file suffix."""

    def __init__(self):
        self.files, self.order, self.headers = {}, [], []
        self.statuses = {".json": [], ".jpg": []}
        self.hold = threading.Event()
        self.hold.set()
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_PUT(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.hold.wait(2 * PATIENCE_S)
                path = urllib.parse.urlsplit(self.path)
                name = path.path.rpartition("/")[2]
                waiting = outer.statuses[f".{name.rpartition('.')[2]}"]
                status = waiting.pop(0) if waiting else 201
                outer.headers.append((self.path, dict(self.headers)))
                if status == 201:
                    outer.order.append(name)
                    outer.files[name] = body
                self.send_response(status)
                self.end_headers()

            def log_message(self, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_):
                pass

        self._server = Server(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def pictures(self):
        return [name for name in self.order if name.endswith(".jpg")]

    def stop(self):
        self.hold.set()
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def receiver():
    server = Receiver()
    yield server
    server.stop()


@contextmanager
def sending(folder, port, token=None, path="/inbox?room=1", **more):
    to = parse_receiver(f"http://127.0.0.1:{port}{path}", token)
    with opened(folder, to=to, **more) as keep:
        yield keep


def keep_some(keep, numbers):
    for count, number in enumerate(numbers, 1):
        keep.result(scene(number), result(10.0 * number, TORN))
        settled(keep, count)


def test_each_picture_and_what_is_known_of_it_once_and_in_order(tmp_path, receiver):
    with sending(tmp_path, receiver.port, SECRET) as keep:
        keep_some(keep, range(3))
        wait_for(lambda: keep.keeping().unsent == 0, keep.keeping)
    names = sorted(path.name for path in tmp_path.glob("*.jpg"))
    assert receiver.pictures == names
    assert receiver.order[0::2] == [name.replace(".jpg", ".json") for name in names]
    for name, body in receiver.files.items():
        assert (tmp_path / name).read_bytes() == body
    path, headers = receiver.headers[1]
    assert path == f"/inbox/{names[0]}?room=1"
    assert headers["Authorization"] == f"Bearer {SECRET}"
    assert headers["Content-Type"] == "image/jpeg"
    assert receiver.headers[0][1]["Content-Type"] == "application/json"
    assert keep.keeping().sent == 3


def test_what_was_taken_is_not_sent_again_after_a_restart(tmp_path, receiver):
    with sending(tmp_path, receiver.port) as keep:
        keep_some(keep, range(2))
        wait_for(lambda: keep.keeping().unsent == 0)
    # A line that a kill cut off is no name, and does not spoil the next one.
    (sent,) = tmp_path.glob(".sent-*")
    sent.write_bytes(sent.read_bytes() + b"20231114T2213")
    with sending(tmp_path, receiver.port, "another-token") as keep:
        assert keep.keeping().unsent == 0
        keep_some(keep, [5])
        wait_for(lambda: keep.keeping().unsent == 0)
    with sending(tmp_path, receiver.port) as keep:
        assert keep.keeping().unsent == 0
    assert len(receiver.pictures) == len(set(receiver.pictures)) == 3
    # Another receiver has none of them.
    with sending(tmp_path, receiver.port, path="/other") as keep:
        wait_for(lambda: keep.keeping().unsent == 0)
    assert len(receiver.pictures) == 6


def test_a_server_that_is_away_costs_nothing_and_gets_all_later(tmp_path, receiver, caplog):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        dead = taken.getsockname()[1]
    with sending(tmp_path, dead) as keep:
        keep_some(keep, range(3))
        assert keep.keeping().unsent == 3
    assert keep.counts() == {"kept_frames": 3, "kept_frames_lost": 0}
    told = [entry.message for entry in caplog.records]
    assert sum("does not take what is sent" in line for line in told) == 1
    with sending(tmp_path, receiver.port) as keep:
        wait_for(lambda: keep.keeping().unsent == 0)
    assert receiver.pictures == sorted(path.name for path in tmp_path.glob("*.jpg"))


@pytest.mark.parametrize("status", [503, 429, 401, 302])
def test_an_answer_that_may_change_is_tried_again_after_a_pause(tmp_path, receiver, status):
    clock = FakeClock(NOON_S)
    receiver.statuses[".jpg"] = [status, status]
    with sending(tmp_path, receiver.port, clock=clock) as keep:
        keep.result(scene(0), result(0, TORN))
        assert [clock.end_wait() for _ in range(2)] == [0.5, 1.0]
        wait_for(lambda: keep.keeping().unsent == 0)
        assert keep.keeping().sent == 1
        ending = threading.Thread(target=keep.closed)
        ending.start()
        ending.join(60)
    assert len(receiver.pictures) == 1


def test_one_that_is_refused_does_not_hold_up_the_others(tmp_path, receiver, caplog):
    receiver.statuses[".jpg"] = [413]
    with sending(tmp_path, receiver.port) as keep:
        keep_some(keep, range(3))
        wait_for(lambda: keep.keeping().unsent == 1 and keep.keeping().sent == 2)
    assert "refuses what is sent: it answers 413" in caplog.text
    # The next run tries it again.
    with sending(tmp_path, receiver.port) as keep:
        wait_for(lambda: keep.keeping().unsent == 0)
    assert len(receiver.pictures) == 3


def test_what_went_before_its_turn_is_no_trouble(tmp_path, receiver):
    receiver.hold.clear()
    with sending(tmp_path, receiver.port) as keep:
        keep_some(keep, range(3))
        path = sorted(tmp_path.glob("*.jpg"))[1]
        path.unlink()
        receiver.hold.set()
        wait_for(lambda: keep.keeping().sent == 2)
    assert path.name not in receiver.files


def test_secrets_are_in_no_message(tmp_path, caplog):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        dead = taken.getsockname()[1]
    to = parse_receiver(f"http://me:hunter2@127.0.0.1:{dead}/{SECRET}", SECRET)
    assert SECRET not in repr(to)
    assert "hunter2" not in repr(to)
    with opened(tmp_path, to=to) as keep:
        keep.result(scene(0), result(0, TORN))
        wait_for(lambda: caplog.records)
    assert SECRET not in caplog.text
    assert "hunter2" not in caplog.text


def test_the_list_of_what_was_sent_does_not_grow_for_ever(tmp_path):
    hook = parse_receiver("http://host/", None)
    sent = SentList(tmp_path, hook)
    sent.read([])
    for number in range(1010):
        sent.add(f"{number}.jpg")
    (path,) = tmp_path.iterdir()
    assert path.read_bytes().count(b"\n") == 1010
    again = SentList(tmp_path, hook)
    again.read(["7.jpg", "1009.jpg", "new.jpg"])
    assert ("7.jpg" in again, "8.jpg" in again, "new.jpg" in again) == (True, False, False)
    assert path.read_bytes() == b"1009.jpg\n7.jpg\n"
