"""A camera on the network: an HTTP server that sends JPEGs and can fail on purpose."""

import base64
import contextlib
import hashlib
import http.server
import itertools
import re
import socket
import threading
import time

import cv2
import numpy as np
import pytest

from pocketlens.runtime.interpreters import find_backend

BOUNDARY = "frame"
# Different pictures, made once: drawing them takes longer than sending them.
JPEGS = [
    cv2.imencode(".jpg", np.full((48, 64, 3), grey, np.uint8))[1].tobytes()
    for grey in range(40, 200, 4)
]


class MjpegServer:
    """Sends frames to whoever asks; `answers` says what stands in for single ones."""

    def __init__(self):
        self.interval_s = 0.03
        self.jpegs = JPEGS
        self.faults = {}
        self.lengths = True
        self.header = f"multipart/x-mixed-replace; boundary={BOUNDARY}"
        self.password = None
        self.digest = False
        self.status = None
        self.silent = False
        self.sent = 0
        self.sockets = []
        self._server = None
        self.port = 0

    def url(self, credentials=""):
        return f"http://{credentials}127.0.0.1:{self.port}/stream.mjpg"

    def start(self):
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                outer.sockets.append(self.connection)
                outer.serve(self)

            def log_message(self, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_):
                pass

        self._server = Server(("127.0.0.1", self.port), Handler)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def stop(self):
        if self._server:
            self._server.shutdown()
            self._server.server_close()
            self._server = None
        self.hang_up()

    def hang_up(self):
        sockets, self.sockets = self.sockets, []
        for entry in sockets:
            with contextlib.suppress(OSError):
                entry.shutdown(socket.SHUT_RDWR)

    def serve(self, handler):
        if not self._authorized(handler):
            handler.send_response(401)
            kind = 'Digest realm="camera", nonce="abc", qop="auth", algorithm=MD5'
            handler.send_header("WWW-Authenticate", kind if self.digest else 'Basic realm="camera"')
            handler.end_headers()
            return
        if self.status:
            handler.send_error(self.status)
            return
        handler.send_response(200)
        handler.send_header("Content-Type", self.header)
        handler.end_headers()
        server = self._server
        for jpeg in itertools.cycle(self.jpegs):
            while self.silent and self._server is server:
                time.sleep(0.02)
            if self._server is not server:
                return
            number, self.sent = self.sent, self.sent + 1
            data = self.faults.get(number, jpeg)
            length = f"Content-Length: {len(data)}\r\n" if self.lengths else ""
            head = f"\r\n--{BOUNDARY}\r\nContent-Type: image/jpeg\r\n{length}\r\n"
            handler.wfile.write(head.encode() + data)
            time.sleep(self.interval_s)

    def _authorized(self, handler):
        if self.password is None:
            return True
        given = handler.headers.get("Authorization", "")
        if not self.digest:
            return given == "Basic " + base64.b64encode(f"me:{self.password}".encode()).decode()
        fields = dict(re.findall(r'(\w+)="?([^",]+)"?', given))
        if not fields:
            return False

        def md5(*parts):
            return hashlib.md5(":".join(parts).encode()).hexdigest()

        secret = md5("me", "camera", self.password)
        wanted = md5(
            secret,
            *(fields[name] for name in ("nonce", "nc", "cnonce", "qop")),
            md5("GET", fields["uri"]),
        )
        return fields["response"] == wanted


@pytest.fixture
def one_piece():
    """For tests that say which operators XNNPACK takes."""
    if find_backend().name == "tflite-runtime":
        pytest.skip("in tflite-runtime 2.14 XNNPACK takes dynamic files in pieces, int8 ones not")


@pytest.fixture(scope="session")
def mjpeg_server_class():
    """The server, for who wants it longer than a test takes."""
    return MjpegServer


@pytest.fixture
def mjpeg_server():
    server = MjpegServer().start()
    yield server
    server.stop()
