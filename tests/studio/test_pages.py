"""The frame of every page: files that it loads, its navigation, and that it is usable by keys."""

import base64
import hashlib
import re

import pytest

pytest.importorskip("starlette", reason="the studio extra is not installed")
pytest.importorskip("jinja2", reason="the studio extra is not installed")
from importlib.resources import files

from sample_page import SamplePage

from pocketlens.studio.pages import HTMX_INTEGRITY, HTMX_SHA256, asset, write_route

DESKTOP, PHONE = (1440, 900), (390, 844)


def test_htmx_is_the_package_s_file_with_its_licence():
    folder = files("pocketlens.studio") / "static"
    data = (folder / "htmx.min.js").read_bytes()
    assert hashlib.sha256(data).hexdigest() == HTMX_SHA256
    assert len(base64.b64decode(HTMX_INTEGRITY.partition("-")[2])) == 64
    assert "Zero-Clause BSD" in (folder / "htmx.LICENSE").read_text("utf-8")


def test_what_writes_has_no_get():
    with pytest.raises(ValueError, match="no GET"):
        write_route("/sample", lambda request: None, methods=("GET", "POST"))


def test_files_are_kept_by_their_checksum_and_pages_are_not(serve, tmp_path):
    client = serve(SamplePage(tmp_path))
    page = client.get("/sample")
    assert page.headers["cache-control"] == "no-store"
    for name in ("studio.css", "studio.js", "htmx.min.js"):
        assert asset(name) in page.text
        assert "immutable" in client.get(asset(name)).headers["cache-control"]
        assert client.get(f"/static/{name}?v=old").headers["cache-control"] == "no-store"
    assert client.get("/static/htmx.LICENSE").status == 404


def test_the_way_in_is_the_first_page(serve, tmp_path):
    pages = [SamplePage(tmp_path), SamplePage(tmp_path, "/other", "Other")]
    client = serve(*pages)
    answer = client.get("/")
    assert (answer.status, answer.headers["location"]) == (303, "/sample")
    text = client.get("/other").text
    assert re.search(r'href="/other" aria-current="page">Other<', text)
    assert re.search(r'href="/sample">Sample<', text)


def test_a_page_requests_nothing_from_elsewhere_and_writes_by_keys(
    serve, open_page, tmp_path, lowest_contrast
):
    sample = SamplePage(tmp_path)
    client = serve(sample, SamplePage(tmp_path, "/other", "Other"))
    for size_wh in (DESKTOP, PHONE):
        for scheme in ("light", "dark"):
            page = open_page(client.url, size_wh, scheme)
            assert page.evaluate("htmx.version") == "2.0.11"
            assert lowest_contrast(page) >= 4.5
            assert page.errors == []
            assert all(url.startswith((client.url, "data:")) for url in page.requested)
            assert page.evaluate("document.documentElement.scrollWidth") <= size_wh[0]
    # The first key stop leads past the navigation.
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    done = "async to => (await studio.post('/sample/rename', { to })).status"
    assert page.evaluate(done, "b.jpg") == 200
    # The server is started again while the page is open.
    client.studio.close()
    serve(sample, port=client.port)
    assert page.evaluate(done, "c.jpg") == 200
    by_htmx = """to => htmx.ajax("post", "/sample/rename", { values: { to }, swap: "none" })"""
    page.evaluate(by_htmx, "d.jpg")
    serve_again = page.evaluate("document.querySelector('meta[name=csrf-token]').content = 'old'")
    assert serve_again == "old"
    page.evaluate(by_htmx, "e.jpg")
    page.wait_for_function(
        "() => document.querySelector('meta[name=csrf-token]').content !== 'old'"
    )
    page.wait_for_function(
        "async () => (await studio.post('/sample/rename', { to: 'f.jpg' })).ok", polling=200
    )
    assert sample.changes[:5] == ["b.jpg", "c.jpg", "d.jpg", "e.jpg", "f.jpg"]


def test_what_fails_is_said(serve, open_page, tmp_path):
    client = serve(SamplePage(tmp_path))
    page = open_page(client.url)
    page.evaluate("async () => studio.told(await studio.post('/sample/fail', { error: 'disk' }))")
    page.get_by_role("alert").get_by_text("Expected this. Received: that").wait_for()
    page.get_by_role("button", name="Close").click()
    assert page.locator("#notices > *").count() == 0
    page.evaluate("""() => htmx.ajax("post", "/sample/fail", { values: { error: "data" } })""")
    page.get_by_role("alert").get_by_text("Expected this. Received: that").wait_for()
