"""Pages: escaped, whole, and readable in light and dark at every width."""

import base64
import io

import jinja2
import numpy as np
import pytest
from markupsafe import Markup
from PIL import Image

from pocketlens.report.html import (
    THUMBNAIL_SIDE,
    counted,
    data_url,
    fixed,
    percent,
    pixels_url,
    render,
    thumbnail_url,
)

NASTY = "<script>alert('x')</script>&amp;\" onload=\"x"


def decoded(url):
    head, data = url.split(",")
    assert head == "data:image/jpeg;base64"
    return Image.open(io.BytesIO(base64.b64decode(data)))


def test_values_are_escaped_and_markup_is_not():
    page = render("plain.html", title=NASTY, body=NASTY)
    assert "<script" not in page
    assert page.count("&lt;script&gt;") == 3
    assert "<b>bold</b>" in render("plain.html", title="t", body=Markup("<b>bold</b>"))


def test_what_a_template_lacks_is_an_error():
    with pytest.raises(jinja2.UndefinedError, match="title"):
        render("plain.html", body="b")


def test_frame():
    page = render("plain.html", title="Title", body="")
    assert page.startswith("<!doctype html>\n")
    assert page.count("<h1>") == 1
    for part in ('<meta name="viewport"', "prefers-color-scheme: dark", "@media print"):
        assert part in page
    for part in ("http", "url(", "@import", "<script", "{{", "{%"):
        assert part not in page


def test_pictures_are_inside(tmp_path):
    assert data_url(b"abc", "png") == "data:image/png;base64,YWJj"
    pixels = np.full((40, 60, 3), 200, np.uint8)
    assert decoded(pixels_url(pixels)).size == (60, 40)
    Image.fromarray(np.full((400, 800, 3), 200, np.uint8)).save(tmp_path / "photo.png")
    assert decoded(thumbnail_url(tmp_path / "photo.png")).size == (THUMBNAIL_SIDE, 80)
    (tmp_path / "cut.png").write_bytes(b"no picture")
    assert thumbnail_url(tmp_path / "cut.png") == ""


def test_figures():
    assert percent(0.9312) == "93.1\N{NO-BREAK SPACE}%"
    assert (percent(None), fixed(None)) == ("–", "–")
    assert (fixed(1.005), fixed(2, 0)) == ("1.00", "2")
    assert [counted(1), counted(2), counted(0)] == ["1 photo", "2 photos", "0 photos"]
    assert counted(2, "miss", "misses") == "2 misses"


BODY = Markup(
    """<p class="lead">Lead <strong>strong</strong></p><p class="verdict">Verdict</p>
<p class="warning">Warning <a href="#x">link</a></p><p class="bad">Bad</p><p class="note">Note</p>
<dl class="tiles"><div><dt>name</dt><dd>value<small>more</small></dd></div></dl>
<dl class="facts"><div><dt>name</dt><dd>value</dd></div></dl>
<div class="scroll"><table><thead><tr><th>file</th>"""
    + "<th>a heading that is long</th>" * 12
    + """</tr></thead><tbody><tr class="chosen"><th>name</th>"""
    + "<td>1.00<small>0.9–1.1</small></td>" * 12
    + """</tr></tbody></table></div><details open><summary>More</summary>text</details>"""
)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_contrast_and_width(open_page, lowest_contrast, tmp_path, scheme, width):
    path = tmp_path / "page.html"
    path.write_text(render("plain.html", title="word" * 30, body=BODY), "utf-8")
    page = open_page(path.as_uri(), (width, 900), scheme)
    assert lowest_contrast(page) >= 4.5
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert len(page.requested) == 1


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (
            "Take flowers_mobilenet_v2_0.35_int8.tflite now.",
            "Take flowers_<wbr>mobilenet_<wbr>v2_<wbr>0.35_<wbr>int8<wbr>.tflite now.",
        ),
        ("runs/flowers-2024/a.tflite", "runs/<wbr>flowers-<wbr>2024/<wbr>a<wbr>.tflite"),
        ("int8.tflite 0.123456789012", None),
        (Markup('<a href="a_long_name_of_a.tflite">b</a>'), None),
        (Markup("<pre>pocketlens convert runs/a_long_name</pre>"), None),
        (Markup("<svg><text>a_long_name_of_a.tflite</text></svg>"), None),
    ],
    ids=["file", "path", "short", "attribute", "command", "chart"],
)
def test_long_names_break_between_words(text, shown):
    page = render("plain.html", title="a_long_title_of.tflite", body=text)
    assert (shown or text) in page
    assert "<title>a_long_title_of.tflite</title>" in page


def test_a_table_that_is_too_wide_shows_it(open_page, tmp_path):
    path = tmp_path / "page.html"
    path.write_text(render("plain.html", title="t", body=BODY), "utf-8")
    page = open_page(path.as_uri(), (390, 900))
    box = page.locator(".scroll")

    def edges():
        shot = np.asarray(Image.open(io.BytesIO(box.screenshot())).convert("L"))
        return (shot[:, -1] < 240).mean() > 0.5

    assert edges()
    box.evaluate("box => { box.scrollLeft = box.scrollWidth }")
    assert not edges()
