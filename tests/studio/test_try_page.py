"""The page on which models are tried: photos, the browser's camera, a source; and handing over."""

import json
import shutil

import cv2
import numpy as np
import pytest
from timing import FakeClock

pytest.importorskip("starlette", reason="the studio extra is not installed")
pytest.importorskip("jinja2", reason="the studio extra is not installed")
from studio_project import COMMANDS, make_project, pages_of

from pocketlens.runtime import Classifier
from pocketlens.runtime.live.sources import SourceRequest
from pocketlens.studio.names import to_key
from pocketlens.studio.try_page import TryPage

DESKTOP, PHONE = (1440, 900), (390, 844)
CAMERA = (
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
)
KEY = to_key("models/tiny/tiny_int8.tflite")


@pytest.fixture
def project(tmp_path, tiny_photos, tiny_models):
    found = make_project(tmp_path / "shapes", tiny_photos, each=3)
    (found.models / "tiny").mkdir()
    for name in ("int8", "float32"):
        shutil.copy(tiny_models[name], found.models / "tiny")
    return found


def classify(client, data, key=KEY):
    headers = {"x-csrf-token": client.csrf, "content-type": "application/octet-stream"}
    return client.ask("POST", f"/try/classify?model={key}", data, headers)


def test_a_photo_gets_what_the_classifier_says(serve, project, tiny_photos, tiny_tflite):
    client = serve(*pages_of(project)).open()
    photo = tiny_photos / "cross" / "00.png"
    found = classify(client, photo.read_bytes()).json
    with Classifier(tiny_tflite) as classifier:
        expected = classifier.classify_photo(photo)
    assert found["answers"] == [entry.label for entry in expected.answers]
    assert [entry["label"] for entry in found["categories"]] == [
        entry.label for entry in expected.categories
    ]
    assert found["categories"][0]["score"] == pytest.approx(expected.top.score, abs=1e-6)
    assert found["is_unknown"] is False
    assert found["took_ms"] > 0


def test_an_upload_that_is_no_picture_is_refused_in_a_sentence(serve, project, shared):
    client = serve(*pages_of(project)).open()
    for data in (b"", b"no picture", b"\xff\xd8\xff\xe0" + bytes(100), b"<svg/>"):
        answer = classify(client, data)
        assert answer.status == 400, data
        assert answer.text.startswith(("Expected", "Cannot"))
    bomb = (shared / "data" / "awkward_images" / "bomb.png").read_bytes()
    assert classify(client, bomb).status == 400


def test_a_file_that_was_replaced_is_read_anew(serve, project, tiny_models, unknown_models):
    client = serve(*pages_of(project)).open()
    photo = next((project.photos / "cross").iterdir()).read_bytes()
    labels = len(classify(client, photo).json["categories"])
    assert labels == 3
    shutil.copy(unknown_models["int8"], project.models / "tiny" / "tiny_int8.tflite")
    assert len(classify(client, photo).json["categories"]) == 4
    (project.models / "tiny" / "tiny_int8.tflite").unlink()
    assert classify(client, photo).status == 404


def test_unknown_and_label_sets_are_told(serve, project, unknown_models, with_card):
    path = project.models / "sets.tflite"
    card = {"sets": {"0.95": 0.0}, "unknown": "unknown"}
    with_card(unknown_models["float32"], path, **card)
    client = serve(*pages_of(project)).open()
    photo = next((project.photos / "cross").iterdir()).read_bytes()
    found = classify(client, photo, to_key("models/sets.tflite")).json
    assert found["set_level"] == 0.95
    assert len(found["label_set"]) > 1
    assert found["is_unknown"] == (found["answers"] == ["unknown"])


def test_files_are_given_away_as_they_are_with_their_commands(serve, project, open_page):
    client = serve(*pages_of(project))
    answer = client.get(f"/try/file/{KEY}")
    assert answer.body == (project.models / "tiny" / "tiny_int8.tflite").read_bytes()
    assert answer.headers["content-disposition"] == 'attachment; filename="tiny_int8.tflite"'
    text = client.get(f"/try?model={KEY}").text
    assert "scp ./models/tiny/tiny_int8.tflite pi@raspberrypi.local:" in text
    assert "pocketlens live tiny_int8.tflite --source 0 --web 0.0.0.0:8080" in text
    assert "pocketlens service install tiny_int8.tflite --source 0" in text
    # Names are one word of a shell, and text of a page.
    odd = "it's <b>.tflite"
    shutil.copy(project.models / "tiny" / "tiny_int8.tflite", project.models / odd)
    text = client.get(f"/try?model={to_key(f'models/{odd}')}").text
    assert "<b>" not in text
    page = open_page(f"{client.url}try?model={to_key(f'models/{odd}')}")
    assert page.locator("#step-1").text_content() == (
        """scp './models/it'"'"'s <b>.tflite' pi@raspberrypi.local:"""
    )
    with page.expect_download() as download:
        page.get_by_role("link", name="Download it (").click()
    assert download.value.suggested_filename.endswith(".tflite")


def test_a_file_that_is_no_model_is_listed_with_the_reason(serve, project):
    (project.models / "broken.tflite").write_bytes(b"nothing")
    client = serve(*pages_of(project)).open()
    text = client.get("/try").text
    assert "whose content is something else" in text
    assert f'value="{to_key("models/broken.tflite")}"' not in text
    photo = next((project.photos / "cross").iterdir()).read_bytes()
    answer = classify(client, photo, to_key("models/broken.tflite"))
    assert (answer.status, answer.text[:8]) == (500, "Expected")


def test_without_files_it_says_how_to_get_some(serve, tmp_path, tiny_photos):
    client = serve(*pages_of(make_project(tmp_path / "new", tiny_photos, each=1)))
    assert "There is no model file yet." in client.get("/try").text


def test_frames_of_a_source_come_one_after_the_other_and_begin_again(serve, project):
    pages = pages_of(project, SourceRequest(str(project.photos / "cross")))
    client = serve(*pages)
    assert str(project.photos / "cross") in client.get("/try").text
    pictures = [client.post("/try/source", {"model": KEY}).json["picture"] for _ in range(4)]
    assert pictures[0].startswith("data:image/jpeg;base64,")
    assert len(set(pictures)) == 3
    assert pictures[3] == pictures[0]


def test_a_source_that_is_not_there_is_said_and_none_too(serve, project, tmp_path):
    client = serve(*pages_of(project, SourceRequest(str(tmp_path / "nothing.mp4"))))
    answer = client.post("/try/source", {"model": KEY})
    assert answer.status == 500
    assert "nothing.mp4" in answer.text
    client = serve(*pages_of(project))
    assert client.post("/try/source", {"model": KEY}).text == (
        "Expected a source. Received: none. Name one in pocketlens.toml: source under [camera]."
    )


def test_a_source_is_given_back_when_nobody_asks(serve, project, monkeypatch):
    clock = FakeClock()
    closed = []
    source = SourceRequest(str(project.photos / "cross"))
    page = TryPage(project, COMMANDS, source=source, clock=clock)
    from pocketlens.studio import try_page

    real = try_page.open_capture

    def open_watched(request):
        capture = real(request)
        monkeypatch.setattr(capture, "close", lambda: closed.append(capture))
        return capture

    monkeypatch.setattr(try_page, "open_capture", open_watched)
    client = serve(page)
    first = client.post("/try/source", {"model": KEY}).json["picture"]
    clock.advance(10)
    assert client.post("/try/source", {"model": KEY}).json["picture"] != first
    clock.advance(10)
    assert closed == []
    clock.advance(10)
    assert len(closed) == 1
    # And opened again.
    assert client.post("/try/source", {"model": KEY}).json["picture"] == first


def test_photos_are_tried_in_the_browser(serve, project, open_page, lowest_contrast, tiny_photos):
    client = serve(*pages_of(project, SourceRequest(str(project.photos / "cross"))))
    for size_wh in (DESKTOP, PHONE):
        for scheme in ("light", "dark"):
            page = open_page(f"{client.url}try?model={KEY}", size_wh, scheme)
            photos = [tiny_photos / label / "00.png" for label in ("circle", "cross", "stripes")]
            text = {"name": "a.png", "mimeType": "image/png", "buffer": b"text"}
            page.locator("#photos").set_input_files(photos)
            page.locator("#tried-list li strong").nth(2).wait_for()
            page.locator("#photos").set_input_files([text])
            page.locator("#tried-list .bad").wait_for()
            assert page.locator("#scores li").count() == 3
            assert page.locator("#answer").text_content() in ("circle", "cross", "stripes")
            assert page.locator("#picture").is_visible()
            assert lowest_contrast(page) >= 4.5
            assert page.evaluate("document.documentElement.scrollWidth") <= size_wh[0]
            assert page.errors == []
    # Dropped ones are tried, too.
    data = list((tiny_photos / "cross" / "01.png").read_bytes())
    page.evaluate(
        """data => {
          const transfer = new DataTransfer();
          const file = new File([new Uint8Array(data)], "dropped.png", { type: "image/png" });
          transfer.items.add(file);
          document.getElementById("drop").dispatchEvent(
            new DragEvent("drop", { dataTransfer: transfer, bubbles: true, cancelable: true }));
        }""",
        data,
    )
    page.get_by_text("dropped.png").wait_for()
    before = page.locator("#picture").get_attribute("src")
    page.get_by_role("button", name="Next picture").click()
    page.wait_for_function(
        "before => document.getElementById('picture').src !== before", arg=before
    )
    assert page.locator("#picture").get_attribute("src").startswith("data:image/jpeg")
    # By keys it is there again, and who goes on meanwhile stays where they are.
    page.get_by_role("button", name="Next picture").focus()
    for key in ("Enter", "Tab"):
        before = page.locator("#picture").get_attribute("src")
        page.keyboard.press("Enter")
        if key == "Tab":
            page.keyboard.press(key)
        page.wait_for_function(
            "before => document.getElementById('picture').src !== before "
            "&& document.getElementById('next').ariaDisabled === 'false'",
            arg=before,
        )
        assert page.evaluate("document.activeElement.id") == ("play" if key == "Tab" else "next")
    # Another file by its name.
    other = to_key("models/tiny/tiny_float32.tflite")
    page.get_by_label("Model file").select_option(value=other)
    page.wait_for_url(f"**model={other}")


def test_the_camera_of_the_browser_is_classified(serve, project, launch_chromium):
    client = serve(*pages_of(project))
    context = launch_chromium(*CAMERA).new_context()
    page = context.new_page()
    answers = []
    page.on("response", lambda response: answers.append(response.url))
    page.goto(f"{client.url}try?model={KEY}")
    button = page.get_by_role("button", name="Open the camera")
    button.click()
    page.locator("#scores li").first.wait_for()
    page.wait_for_function("() => document.getElementById('video').videoWidth > 0")
    page.wait_for_timeout(300)
    assert sum("/try/classify" in url for url in answers) >= 2
    page.get_by_role("button", name="Close the camera").click()
    assert page.locator("#video").is_hidden()
    page.wait_for_timeout(300)
    count = len(answers)
    page.wait_for_timeout(300)
    assert len(answers) == count


def test_large_frames_are_shown_smaller(serve, project, tmp_path):
    frame = np.full((1200, 2400, 3), 90, np.uint8)
    cv2.imwrite(str(tmp_path / "large.png"), frame)
    client = serve(*pages_of(project, SourceRequest(str(tmp_path / "large.png"))))
    answer = client.post("/try/source", {"model": KEY})
    assert len(answer.body) < 100_000
    assert json.loads(answer.body)["categories"]
