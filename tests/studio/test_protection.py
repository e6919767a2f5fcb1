"""Every route of every page: who is refused, whatever it is that is asked for."""

import contextlib
import http.client
import importlib
import pkgutil
import socket
from urllib.parse import quote

import pytest

pytest.importorskip("starlette", reason="the studio extra is not installed")
pytest.importorskip("jinja2", reason="the studio extra is not installed")
from sample_page import SamplePage
from showing import Player, Showing
from starlette.routing import Route
from studio_project import COMMANDS

import pocketlens.studio
from pocketlens.project import create_project
from pocketlens.runtime.live.collecting import Collector, FolderStore
from pocketlens.runtime.live.sources import SourceRequest
from pocketlens.runtime.live.watching import Watcher
from pocketlens.runtime.live.web import guard
from pocketlens.studio import protection
from pocketlens.studio.catalogue import work_pages
from pocketlens.studio.collect import CollectPage
from pocketlens.studio.label import LabelPage
from pocketlens.studio.names import to_key
from pocketlens.studio.pages import Page
from pocketlens.studio.server import routes_of

TOKEN = "correct-horse-battery"
FOREIGN = "evil.example"
FORM = "application/x-www-form-urlencoded"
READING = {"GET", "HEAD"}
# What stands in a path for a file's name, and must lead to none outside.
OUTSIDE = [
    "..",
    "../secret.txt",
    "..\\secret.txt",
    "/etc/passwd",
    "photos/../../secret.txt",
    "C:\\secret.txt",
    ".hidden",
    "link.jpg",
    "folder",
    "secret.txt\0.jpg",
    "nothing.jpg",
    "",
    ".",
]
RAW = [
    "..",
    "%2e%2e",
    "..%2fsecret.txt",
    "%2e%2e%5csecret.txt",
    "a.jpg",
    "%00",
    "Li4=",
    "%ff",
    "💥",
]


@pytest.fixture
def folder(tmp_path):
    inside = tmp_path / "photos"
    inside.mkdir()
    (inside / "a.jpg").write_bytes(b"a picture")
    (inside / ".hidden").write_bytes(b"a secret")
    (inside / "folder").mkdir()
    (tmp_path / "secret.txt").write_bytes(b"a secret")
    (inside / "link.jpg").symlink_to(tmp_path / "secret.txt")
    return inside


@pytest.fixture
def page(folder):
    return SamplePage(folder)


@pytest.fixture
def collect_page(tmp_path):
    with contextlib.ExitStack() as stack:
        collector = Collector(FolderStore(tmp_path / "collected"), ["cat"], source="fake:")
        stack.callback(collector.close)
        showing = Showing()
        watcher = Watcher(SourceRequest("fake:"), collector.take, open_source=showing.open)
        stack.callback(watcher.close)
        player = Player(showing)
        stack.callback(player.stop)
        yield CollectPage(watcher, collector)


@pytest.fixture
def label_page(tmp_path):
    page = LabelPage(create_project(tmp_path / "project", ["cat", "dog"]), None)
    yield page
    page.close()


@pytest.fixture
def pages(page, collect_page, label_page, tmp_path):
    """Every page that there is; a new one belongs here."""
    work = work_pages(create_project(tmp_path / "work", ["cat", "dog"]), COMMANDS)
    return [page, collect_page, label_page, *work]


def test_every_page_of_the_studio_is_tried(pages):
    for module in pkgutil.iter_modules(pocketlens.studio.__path__, "pocketlens.studio."):
        importlib.import_module(module.name)
    ours = {kind for kind in Page.__subclasses__() if kind.__module__.startswith("pocketlens.")}
    assert ours <= {type(page) for page in pages}


# What stands for the parameters of paths.
PARAMETERS = {"{key}": to_key("a.jpg"), "{name}": "studio.css", "{number:int}": "1"}


def examples(pages):
    """Every route with each of its methods, its parameters filled in: (method, path, route)."""
    found = []
    for route in routes_of(pages):
        assert isinstance(route, Route)
        path = route.path
        for name, value in PARAMETERS.items():
            path = path.replace(name, value)
        assert "{" not in path, "say above what stands for it"
        found += [(method, path, route) for method in sorted(route.methods)]
    return found


def csrf(client):
    return {"content-type": FORM, "x-csrf-token": client.csrf}


def test_the_route_table_is_tried_whole(serve, page, pages, monkeypatch):
    """No token, a wrong one, a foreign host, another page; then what writes, without its token."""
    # Guessing is slow on purpose.
    monkeypatch.setattr(guard, "_WRONG_TOKEN_S", 0.0)
    client = serve(*pages, token=TOKEN).open()
    tried = [(method, path) for method, path, _ in examples(pages)]
    assert ("POST", "/sample/rename") in tried
    for method, path in [*tried, ("POST", "/nowhere"), ("GET", "/nowhere")]:
        right = {"x-csrf-token": client.csrf} if method not in READING else {}

        def status(method=method, path=path, right=right, **headers):
            return client.ask(method, path, headers={**right, **headers}).status

        assert status(authorization=None) == 401, (method, path)
        assert status(authorization="Bearer wrong-horse-battery") == 401
        assert status(authorization=None, cookie=f"pocketlens-{client.port}={TOKEN}") == 401
        assert status(host=FOREIGN) == 421
        assert status(host=f"127.0.0.1.{FOREIGN}") == 421
        assert status(**{"sec-fetch-site": "cross-site"}) == 403
        assert page.changes == []
    for method, path in [*tried, ("POST", "/nowhere")]:
        if method in READING:
            continue
        for headers in (
            {"x-csrf-token": None},
            {"x-csrf-token": ""},
            {"x-csrf-token": "0" * 64},
            {"x-csrf-token": client.csrf, "cookie": "a=b"},
            {"x-csrf-token": client.csrf, "origin": f"http://{FOREIGN}"},
            {"x-csrf-token": client.csrf, "origin": f"http://127.0.0.1:{client.port + 1}"},
            {"x-csrf-token": client.csrf, "origin": "null"},
            # A form on another page that is sent by a click: only the browser tells.
            {
                "x-csrf-token": client.csrf,
                "sec-fetch-site": "cross-site",
                "sec-fetch-mode": "navigate",
            },
            {
                "x-csrf-token": client.csrf,
                "sec-fetch-site": "same-site",
                "sec-fetch-mode": "navigate",
            },
        ):
            answer = client.ask(method, path, "to=b.jpg", {"content-type": FORM, **headers})
            assert answer.status == 403, (method, path, headers)
    assert page.changes == []


def test_wrong_methods_change_nothing(serve, page, pages):
    client = serve(*pages).open()
    for _, path, route in examples(pages):
        for method in {"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"} - set(route.methods):
            answer = client.ask(method, path, headers=csrf(client))
            assert answer.status == 405, (method, path)
    assert page.changes == []


def test_what_only_reads_has_no_other_method_and_what_writes_no_get(pages):
    for route in routes_of(pages):
        writes = hasattr(route, "most_bytes")
        assert bool(route.methods & READING) != writes, route.path


def test_with_the_token_it_writes_by_header_and_by_a_plain_form(serve, page):
    client = serve(page).open()
    assert client.post("/sample/rename", {"to": "b.jpg"}).text == "b.jpg"
    plain = {"to": "c.jpg", "csrf": client.csrf}
    assert client.post("/sample/rename", plain, x_csrf_token=None).text == "c.jpg"
    wrong = {"to": "d.jpg", "csrf": "0" * 64}
    assert client.post("/sample/rename", wrong, x_csrf_token=None).status == 403
    assert page.changes == ["b.jpg", "c.jpg"]


def test_a_token_is_another_session_s_for_nobody(serve, page):
    client = serve(page).open()
    other = serve(page).open()
    assert client.csrf != other.csrf
    assert client.post("/sample/rename", {"to": "b"}, x_csrf_token=other.csrf).status == 403
    assert client.post("/sample/rename", {"to": "b"}).status == 200


def test_a_session_that_was_made_up_gets_a_new_one(serve, page):
    client = serve(page)
    answer = client.ask(
        "GET", "/session", headers={"cookie": f"pocketlens-{client.port}-session=x"}
    )
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith(f"pocketlens-{client.port}-session=")
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie


def test_after_a_restart_a_page_is_told_to_fetch_its_token_anew(serve, page):
    client = serve(page).open()
    client.studio.close()
    again = serve(page, port=client.port)
    refused = client.post("/sample/rename", {"to": "b"})
    assert (refused.status, refused.headers["x-csrf-stale"]) == (403, "1")
    client.open()
    assert client.post("/sample/rename", {"to": "b"}).status == 200
    assert again.port == client.port


@pytest.mark.parametrize("size", [protection.FORM_BYTES + 1, 2 << 30])
def test_a_large_body_is_refused_unread_by_every_route(serve, page, pages, size):
    client = serve(*pages).open()
    for method, path, route in examples(pages):
        if method in READING:
            continue
        if size <= getattr(route, "most_bytes", 0):
            continue
        with socket.create_connection((client.host, client.port)) as connection:
            cookies = "; ".join(f"{name}={value}" for name, value in client.cookies.items())
            connection.sendall(
                f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nCookie: {cookies}\r\n"
                f"X-CSRF-Token: {client.csrf}\r\nContent-Type: {FORM}\r\n"
                f"Content-Length: {size}\r\n\r\n".encode()
            )
            # Nothing of the body was sent, and the answer is there.
            response = http.client.HTTPResponse(connection)
            response.begin()
            assert response.status == 413, path
            assert response.read().startswith(b"Expected at most")
            # The rest would be the begin of another request.
            assert connection.recv(10) == b""
    assert page.changes == []


def test_a_body_without_a_length_ends_at_the_limit(serve, page):
    client = serve(page).open()

    def parts():
        for _ in range(3 * protection.FORM_BYTES // 1024):
            yield b"x" * 1024

    connection = client.connect()
    cookies = "; ".join(f"{name}={value}" for name, value in client.cookies.items())
    headers = {**csrf(client), "cookie": cookies}
    try:
        connection.request("POST", "/sample/rename", parts(), headers=headers, encode_chunked=True)
        status = connection.getresponse().status
    except (BrokenPipeError, ConnectionResetError):
        # It was still sending when it was cut off.
        status = 413
    finally:
        connection.close()
    assert status == 413
    assert page.changes == []


def test_a_route_may_take_more(serve, page):
    client = serve(page).open()
    body = b"x" * (protection.FORM_BYTES + 1)
    answer = client.ask("POST", "/sample/upload", body, {"x-csrf-token": client.csrf})
    assert (answer.status, answer.text) == (200, str(len(body)))


def test_a_body_that_does_not_come_is_not_waited_for(serve, page, monkeypatch):
    monkeypatch.setattr(protection, "READ_S", 0.2)
    client = serve(page).open()
    with socket.create_connection((client.host, client.port)) as connection:
        connection.sendall(
            f"POST /sample/rename HTTP/1.1\r\nHost: localhost\r\nContent-Type: {FORM}\r\n"
            "Content-Length: 100\r\n\r\nto=".encode()
        )
        response = http.client.HTTPResponse(connection)
        response.begin()
        assert response.status == 408
    assert page.changes == []


def test_no_name_leads_out_of_the_folder(serve, page):
    client = serve(page).open()
    for name in OUTSIDE:
        key = to_key(name)
        assert client.get(f"/sample/photo/{key}").status == 404, name
        assert client.get(f"/static/{key}").status == 404, name
        assert client.post("/sample/photo", {"key": key}).status == 404, name
    assert page.changes == []


def test_what_is_no_key_is_no_file(serve, page):
    client = serve(page).open()
    for raw in RAW:
        for below in ("/sample/photo/", "/static/", "/static/../", "/sample/"):
            path = below + quote(raw, safe="%.=")
            answer = client.get(path)
            assert answer.status in (404, 405), path
            assert b"secret" not in answer.body
        assert client.post("/sample/photo", {"key": raw}).status == 404, raw
    assert page.changes == []


def test_the_file_that_is_meant_is_found(serve, page):
    client = serve(page).open()
    assert client.get(f"/sample/photo/{to_key('a.jpg')}").body == b"a picture"


def test_an_error_is_its_sentence(serve, page):
    client = serve(page).open()
    statuses = {
        "usage": 400,
        "data": 400,
        "exists": 409,
        "conflict": 409,
        "disk": 507,
        "other": 500,
    }
    for error, status in statuses.items():
        answer = client.post("/sample/fail", {"error": error})
        assert answer.status == status
        assert answer.text == "Expected this. Received: that\\n."


def test_what_is_no_form_is_refused(serve, page):
    client = serve(page).open()
    headers = {"x-csrf-token": client.csrf, "content-type": "application/json"}
    assert client.ask("POST", "/sample/rename", "{}", headers).status == 415
    headers["content-type"] = FORM
    assert client.ask("POST", "/sample/rename", b"to=%ff", headers).status == 400
    many = "&".join(f"a{number}=1" for number in range(2000))
    assert client.ask("POST", "/sample/rename", many, headers).status == 400
    assert page.changes == []


def test_every_answer_has_the_headers_that_protect(serve, pages):
    client = serve(*pages, token=TOKEN).open()
    for method, path, _ in examples(pages):
        for extra in ({}, {"authorization": None}, {"host": FOREIGN}):
            headers = client.ask(method, path, headers=extra).headers
            policy = headers["content-security-policy"]
            assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'")
            assert "unsafe" not in policy
            assert "http" not in policy
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["x-frame-options"] == "DENY"
            assert len(headers.get_all("cache-control")) == 1
            assert "access-control-allow-origin" not in headers
