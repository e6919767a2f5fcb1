"""Serving an exported web app on this machine, with the headers that it should have anywhere."""

from __future__ import annotations

import os
import sys
import threading
import webbrowser
from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from pocketlens.errors import OutputError
from pocketlens.stopping import stop_on_signals

HOST = "127.0.0.1"
# How long a client may leave what it asked for, in seconds.
_TIMEOUT_S = 30.0
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".webmanifest": "application/manifest+json",
    ".wasm": "application/wasm",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".md": "text/plain; charset=utf-8",
    ".txt": "text/plain; charset=utf-8",
}
_OTHER_TYPE = "application/octet-stream"
_INDEX = "index.html"


class FolderServer(ThreadingHTTPServer):
    """Serves files of a folder on this machine's loopback, and only to pages that name it so.

    `names` are the files' paths in the folder; nothing else is given out.

    Args:
        folder: where the files are.
        headers: what is sent with each.
        port: where to listen; 0 takes a free one.

    Raises:
        OutputError: the port is taken or not allowed.
    """

    daemon_threads = True

    def __init__(self, folder: Path, headers: Mapping[str, str], port: int) -> None:
        self.folder = folder
        self.headers = headers
        self.names: frozenset[str] = frozenset()
        try:
            super().__init__((HOST, port), _Handler)
        except OSError as error:
            raise OutputError(
                f"Expected a free port at {HOST}:{port}. "
                f"Received: {error.strerror or error}. Choose another one with --port."
            ) from error

    @property
    def url(self) -> str:
        """The address to open."""
        return f"http://{HOST}:{self.server_port}/"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of browsers that go away in the middle of a file."""


def serve_until_stopped(server: FolderServer, names: Iterable[str]) -> None:
    """Open a server's page in a browser, where there is a desktop, and serve it until Ctrl-C."""
    server.names = frozenset(names)
    with stop_on_signals() as stop:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            # Without a desktop a browser for the terminal might take over.
            if (
                sys.platform in ("darwin", "win32")
                or {"DISPLAY", "WAYLAND_DISPLAY"} & os.environ.keys()
            ):
                webbrowser.open(server.url)
            stop.wait()
        finally:
            server.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    server: FolderServer
    protocol_version = "HTTP/1.1"
    timeout = _TIMEOUT_S
    server_version = "pocketlens"
    sys_version = ""

    def do_GET(self) -> None:
        self._answer(self.wfile.write)

    def do_HEAD(self) -> None:
        self._answer(lambda _: None)

    def log_message(self, *_: Any) -> None:
        """Write nothing down."""

    def _answer(self, write: Callable[[bytes], Any]) -> None:
        host = urlsplit(f"//{self.headers.get('host', '')}").hostname
        name = unquote(urlsplit(self.path).path).removeprefix("/") or _INDEX
        data, kind = b"There is no such file.", _TYPES[".txt"]
        status = HTTPStatus.NOT_FOUND
        if host not in (HOST, "localhost"):
            # A name that others control could point here (DNS rebinding).
            status, data = HTTPStatus.MISDIRECTED_REQUEST, b"Open the page as localhost."
        elif name in self.server.names:
            status, kind = HTTPStatus.OK, _TYPES.get(Path(name).suffix, _OTHER_TYPE)
            data = (self.server.folder / name).read_bytes()
        self.send_response(status)
        headers = {**self.server.headers, "content-type": kind, "cache-control": "no-cache"}
        for key, value in {**headers, "content-length": str(len(data))}.items():
            self.send_header(key, value)
        self.end_headers()
        write(data)
