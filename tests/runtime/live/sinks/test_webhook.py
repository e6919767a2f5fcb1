"""The webhook: every event once and in order, whatever the server does meanwhile."""

import base64
import contextlib
import http.server
import json
import socket
import ssl
import threading

import numpy as np
import pytest
from timing import PATIENCE_S, wait_for

from pocketlens.clock import CLOCK
from pocketlens.errors import UsageError
from pocketlens.runtime.classifier import Category
from pocketlens.runtime.live.frames import (
    STALE,
    Decision,
    FrameResult,
    RunInfo,
    ShiftState,
    SourceState,
)
from pocketlens.runtime.live.sinks.hooks import parse_hook
from pocketlens.runtime.live.sinks.webhook import Webhook

FRAME = np.zeros((4, 4, 3), np.uint8)
SECRET = "hunter2"
RUN = RunInfo(source="barn.mp4", device="pi")


def result(number, changed=True):
    best = (Category("käfer", 0.75, 0),)
    return FrameResult(number, float(number), best, best, Decision(best, changed), 4.0, 2.0)


class Receiver:
    """Takes POSTs; `statuses` are answered one after the other, then 204."""

    def __init__(self, port=0):
        self.statuses = []
        self.taken = []
        self.headers = []
        self.paths = []
        self.hold = threading.Event()
        self.hold.set()
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.hold.wait(2 * PATIENCE_S)
                status = outer.statuses.pop(0) if outer.statuses else 204
                outer.paths.append(self.path)
                outer.headers.append(dict(self.headers))
                if status == 204:
                    outer.taken.append(json.loads(body))
                self.send_response(status)
                if status == 302:
                    self.send_header("Location", "/elsewhere")
                self.end_headers()

            def log_message(self, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_):
                pass

        self._server = Server(("127.0.0.1", port), Handler)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def encrypt(self, certificate):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(f"{certificate}.pem", f"{certificate}.key")
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)

    @property
    def frames(self):
        return [entry["frame"] for entry in self.taken]

    def stop(self):
        self.hold.set()
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def receiver():
    server = Receiver()
    yield server
    server.stop()


@contextlib.contextmanager
def open_hook(receiver, clock=CLOCK, credentials="", path="/hook"):
    hook = Webhook(parse_hook(f"http://{credentials}127.0.0.1:{receiver.port}{path}"), clock)
    hook.opened(RUN)
    try:
        yield hook
    finally:
        hook.closed()


def test_events_and_changes_of_state_arrive_in_order_as_in_jsonl(receiver):
    stale = SourceState(STALE, 3.0, "the cable is loose", 1)
    shift = ShiftState("grey", 60.0, 50)
    with open_hook(receiver, path="/hook?room=barn") as hook:
        hook.result(FRAME, result(0))
        hook.result(FRAME, result(1, changed=False))
        hook.result(FRAME, result(2))
        hook.state(stale)
        hook.shift(shift)
    assert receiver.taken == [RUN.entry(entry) for entry in (result(0), result(2), stale, shift)]
    assert receiver.taken[0]["at"] == "1970-01-01T00:00:00.000+00:00"
    assert (receiver.taken[0]["source"], receiver.taken[0]["device"]) == ("barn.mp4", "pi")
    assert receiver.headers[0]["Content-Type"] == "application/json"
    assert receiver.paths[0] == "/hook?room=barn"


def test_user_and_password_become_a_header(receiver):
    with open_hook(receiver, credentials=f"me%40home:{SECRET}@") as hook:
        hook.result(FRAME, result(0))
    expected = base64.b64encode(f"me@home:{SECRET}".encode()).decode()
    assert receiver.headers[0]["Authorization"] == f"Basic {expected}"


@pytest.mark.parametrize(("port", "host"), [("", "localhost"), (":80", "localhost:80")])
def test_the_host_is_named_as_its_scheme_wants(receiver, certificate, monkeypatch, port, host):
    receiver.encrypt(certificate)
    monkeypatch.setenv("SSL_CERT_FILE", f"{certificate}.pem")
    connect = socket.create_connection

    def redirected(address, *more):
        assert address == ("localhost", 80 if port else 443)
        return connect(("127.0.0.1", receiver.port), *more)

    monkeypatch.setattr(socket, "create_connection", redirected)
    hook = Webhook(parse_hook(f"https://localhost{port}/hook"))
    hook.opened(RUN)
    hook.result(FRAME, result(1))
    wait_for(lambda: receiver.frames == [1])
    hook.closed()
    assert receiver.headers[0]["Host"] == host


def test_what_fails_is_tried_again_in_order_and_said_once(receiver, clock, caplog):
    caplog.set_level("INFO", "pocketlens")
    receiver.statuses = [500, 503, 429, 500]
    with open_hook(receiver, clock, credentials=f"me:{SECRET}@") as hook:
        for number in range(3):
            hook.result(FRAME, result(number))
        assert [clock.end_wait() for _ in range(4)] == [0.5, 1, 2, 4]
        wait_for(lambda: len(receiver.taken) == 3)
    assert receiver.frames == [0, 1, 2]
    lines = [record.getMessage() for record in caplog.records]
    assert sum("it answers 500" in line for line in lines) == 2
    assert sum("takes what is sent again" in line for line in lines) == 1
    assert SECRET not in caplog.text


@pytest.mark.parametrize(("status", "words"), [(404, "answers 404"), (302, "not followed")])
def test_what_is_refused_is_not_sent_again(receiver, caplog, status, words):
    caplog.set_level("INFO", "pocketlens")
    receiver.statuses = [status, status]
    with open_hook(receiver) as hook:
        for number in range(3):
            hook.result(FRAME, result(number))
        wait_for(lambda: receiver.taken)
    assert receiver.frames == [2]
    assert "/elsewhere" not in receiver.paths
    assert caplog.text.count(words) == 1
    assert "again, 2 were lost" in caplog.text


def test_a_server_that_is_away_gets_the_newest_when_it_is_back(receiver, clock, caplog):
    caplog.set_level("INFO", "pocketlens")
    port = receiver.port
    receiver.stop()
    with open_hook(receiver, clock) as hook:
        hook.result(FRAME, result(0))
        clock.waiting()
        for number in range(1, 150):
            hook.result(FRAME, result(number))
        assert [clock.end_wait() for _ in range(6)] == [0.5, 1, 2, 4, 5, 5]
        clock.waiting()
        back = Receiver(port)
        assert clock.end_wait() == 5
        wait_for(lambda: len(back.taken) == 100)
        # A success begins anew.
        back.statuses = [500]
        hook.result(FRAME, result(150))
        assert clock.end_wait() == 0.5
        wait_for(lambda: back.frames[-1] == 150)
        back.stop()
    assert back.frames == list(range(50, 151))
    assert caplog.text.count("Connection refused") == 1
    assert "again, 50 were lost" in caplog.text


def in_thread(call):
    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    return thread


def test_a_server_that_hangs_blocks_no_results_and_the_end_for_a_second(receiver, clock, caplog):
    receiver.hold.clear()
    hook = Webhook(parse_hook(f"http://127.0.0.1:{receiver.port}/"), clock)
    hook.opened(RUN)
    # Time stands still, so that nothing here waits for anything.
    for number in range(1000):
        hook.result(FRAME, result(number))
    clock.calling()
    closing = in_thread(hook.closed)
    assert clock.waiting() == 1.0
    clock.advance(0.999)
    assert closing.is_alive()
    clock.advance(0.001)
    closing.join(PATIENCE_S)
    assert not closing.is_alive()
    assert receiver.taken == []
    assert "did not get the last 1000 of" in caplog.text
    clock.advance(5.0)


def test_the_end_does_not_wait_for_a_server_that_is_away(receiver, clock):
    receiver.stop()
    with open_hook(receiver, clock) as hook:
        hook.result(FRAME, result(0))
        assert clock.waiting() == 0.5
    # Although time stands still.


@pytest.mark.parametrize(
    "url",
    [
        "",
        "127.0.0.1:80/hook",
        "ftp://host/",
        "file:///etc/passwd",
        "http://",
        "http://host:99999/",
        "http://host:0/",
        "http://[::1/",
        "http://host/a b",
        "http://host/a\r\nX-Evil: 1",
        "http://höst/",
        "http://.host/",
        "http://a..b/",
        f"http://{'a' * 64}.example/",
        f"htp://me:{SECRET}@host/",
        f"http://me:{SECRET}@host:port/",
    ],
)
def test_what_is_no_address_is_one_sentence_without_the_password(url):
    with pytest.raises(UsageError, match="Expected --webhook as an address") as caught:
        parse_hook(url)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "host", "port", "target"),
    [
        ("http://host", "host", 80, "/"),
        ("HTTPS://Host/a?b=c", "host", 443, "/a?b=c"),
        ("http://[::1]:8123/x", "::1", 8123, "/x"),
    ],
)
def test_addresses(url, host, port, target):
    hook = parse_hook(url)
    assert (hook.host, hook.port, hook.target) == (host, port, target)


def test_a_hook_does_not_show_its_secrets():
    hook = parse_hook(f"https://me:{SECRET}@host/hook?token={SECRET}")
    assert SECRET not in repr(hook)
    # Many services have the secret in the path.
    assert hook.name == "https://host/***"
    assert parse_hook("http://[::1]:80/x").name == "http://[::1]:80/***"


@pytest.mark.parametrize(
    ("answer", "delivered"),
    [
        pytest.param(b"HTTP/1.1 204 Fine\r\n", True, id="headers"),
        pytest.param(b"H", False, id="status"),
    ],
)
def test_a_server_that_drips_its_answer_costs_one_deadline(clock, caplog, answer, delivered):
    asked, dripped = [], threading.Semaphore(0)

    def serve(listener):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                threading.Thread(target=drip, args=(connection,), daemon=True).start()

    def drip(connection):
        data = b""
        while not data.endswith(b"}"):
            data += connection.recv(100_000)
        asked.append(json.loads(data.rpartition(b"\r\n\r\n")[2])["frame"])
        with contextlib.suppress(OSError):
            connection.sendall(answer)
            dripped.release()
            connection.settimeout(0.05)
            while True:
                # Until it is cut off: a drop after that would be answered by a reset.
                with contextlib.suppress(TimeoutError):
                    if not connection.recv(1):
                        break
                connection.sendall(b"X")
        connection.close()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, args=(listener,), daemon=True).start()
        hook = Webhook(parse_hook(f"http://127.0.0.1:{listener.getsockname()[1]}/"), clock)
        hook.opened(RUN)
        for number in range(3):
            hook.result(FRAME, result(number))
        for attempt in range(3):
            assert dripped.acquire(timeout=PATIENCE_S)
            clock.advance(4.999)
            assert len(asked) == attempt + 1
            clock.advance(0.002)
            if not delivered:
                assert clock.end_wait() == (0.5, 1, 2)[attempt]
        if not delivered:
            assert dripped.acquire(timeout=PATIENCE_S)
            hook.outbox.close()
            clock.advance(5.0)
        hook.closed()
    assert asked[:3] == ([0, 1, 2] if delivered else [0, 0, 0])
    assert ("no answer within 5 s" in caplog.text) is not delivered


def test_what_a_server_says_reaches_no_log_unescaped(caplog):
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer():
            connection, _ = listener.accept()
            connection.recv(100_000)
            connection.sendall(b"\x1b]0;mine\x07 nonsense\r\n\r\n")
            connection.close()

        threading.Thread(target=answer, daemon=True).start()
        hook = Webhook(parse_hook(f"http://127.0.0.1:{listener.getsockname()[1]}/"))
        hook.opened(RUN)
        hook.result(FRAME, result(0))
        wait_for(lambda: "does not take" in caplog.text)
        hook.closed()
    assert "\\x1b]0;mine" in caplog.text
    assert "\x1b" not in caplog.text


def test_the_end_says_what_was_not_delivered(caplog):
    with socket.socket() as nobody:
        # Bound, but not listening: every connection is refused.
        nobody.bind(("127.0.0.1", 0))
        hook = Webhook(parse_hook(f"http://127.0.0.1:{nobody.getsockname()[1]}/"))
    hook.opened(RunInfo())
    for number in range(3):
        hook.result(FRAME, result(number))
    hook.closed()
    assert "did not get the last 3 of what was to be sent" in caplog.text
    hook.closed()
    assert caplog.text.count("did not get") == 1
