"""Pages on a real server, and asking it over real connections."""

import http.client
import json
from contextlib import ExitStack
from dataclasses import dataclass
from urllib.parse import urlencode, urlsplit

import pytest
from timing import PATIENCE_S

from pocketlens.clock import CLOCK
from pocketlens.runtime.live.web.access import WebAddress


@dataclass
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def text(self):
        return self.body.decode()


class Client:
    """A browser's part: keeps the cookies that it is given and knows the session's CSRF token."""

    def __init__(self, url, token=None):
        parts = urlsplit(url)
        self.host, self.port = parts.hostname, parts.port
        self.cookies = {}
        self.token = token
        self.csrf = None

    def open(self):
        """Open a session, as loading a page does."""
        self.csrf = self.ask("GET", "/session").json["csrf"]
        return self

    def connect(self):
        return http.client.HTTPConnection(self.host, self.port, timeout=PATIENCE_S)

    def ask(self, method, path, body=None, headers=None):
        """Ask with exactly these headers beside the cookies and the access token."""
        headers = dict(headers or {})
        if self.token is not None:
            headers.setdefault("authorization", f"Bearer {self.token}")
        if self.cookies:
            pairs = (f"{name}={value}" for name, value in self.cookies.items())
            headers.setdefault("cookie", "; ".join(pairs))
        headers = {name: value for name, value in headers.items() if value is not None}
        connection = self.connect()
        try:
            connection.request(method, path, body=body, headers=headers)
            response = connection.getresponse()
            kind = response.headers.get("content-type", "")
            endless = kind.startswith(("text/event-stream", "multipart/x-mixed"))
            data = response.read(400) if endless and method == "GET" else response.read()
            answer = Answer(response.status, response.headers, data)
        finally:
            connection.close()
        for cookie in answer.headers.get_all("set-cookie") or ():
            name, _, value = cookie.partition(";")[0].partition("=")
            self.cookies[name] = value
        return answer

    def get(self, path, **headers):
        return self.ask("GET", path, headers=headers)

    def post(self, path, values=(), **headers):
        """Ask as a page of the server does; header names with _ in place of -."""
        if self.csrf is None:
            self.open()
        sent = {
            "content-type": "application/x-www-form-urlencoded",
            "x-csrf-token": self.csrf,
            "origin": f"http://{self.host}:{self.port}",
            "sec-fetch-site": "same-origin",
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        return self.ask("POST", path, urlencode(dict(values)), sent)


@pytest.fixture
def serve():
    """Serve pages: `serve(page, ..., token=...)` returns a client, whose `studio` is the server."""
    pytest.importorskip("uvicorn", reason="the studio extra is not installed")
    pytest.importorskip("jinja2", reason="the studio extra is not installed")
    from pocketlens.studio.server import Studio

    with ExitStack() as stack:

        def start(*pages, host="127.0.0.1", port=0, token=None, clock=CLOCK):
            lines = []
            studio = Studio(
                pages, WebAddress(host, port), token=token, announce=lines.append, clock=clock
            )
            stack.callback(studio.close)
            client = Client(studio.url, token)
            client.studio, client.lines, client.url = studio, lines, studio.url
            return client

        yield start


@pytest.fixture(scope="session")
def client_class():
    """What asks a server that a test has started in another process: `client_class(url)`."""
    return Client
