"""Labelling in a real browser by keys alone; two browsers at once; what is refused."""

import hashlib
import json
import os
import shutil
import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("starlette", reason="the studio extra is not installed")
pytest.importorskip("jinja2", reason="the studio extra is not installed")
from timing import PATIENCE_S, wait_for

from pocketlens.choices import COLLECTED, UNSURE
from pocketlens.files import write_bytes
from pocketlens.project import create_project
from pocketlens.runtime import labelling
from pocketlens.runtime.inbox import (
    FrameInfo,
    add,
    encode_jpeg,
    fingerprint,
    picture_paths,
    to_hex,
)
from pocketlens.runtime.labelling import DELETED, read_journal
from pocketlens.runtime.pictures import decode
from pocketlens.studio.label import LabelPage

CLASSES = ("circle", "cross", "stripes")
DESKTOP, PHONE = (1440, 900), (390, 844)


@pytest.fixture
def project(tmp_path):
    return create_project(tmp_path / "shapes", CLASSES)


@pytest.fixture
def fill(project, tiny_photos):
    """Put photos of each class into the inbox; of each also `copies` frames that look the same."""

    def put(per_class, copies=0, scores=True):
        kept, rng = [], np.random.default_rng(1)
        for number in range(per_class):
            for index, label in enumerate(CLASSES):
                path = sorted((tiny_photos / label).iterdir())[number]
                frame = np.ascontiguousarray(decode(path)[..., ::-1])
                other = CLASSES[(index + 1) % len(CLASSES)]
                # The later, the surer.
                best = 0.52 + 0.04 * (len(CLASSES) * number + index)
                said = {label: best, other: 1 - best} if scores else {}
                for copy in range(1 + copies):
                    at_s = 1_700_000_000.0 + 100 * len(kept) + copy
                    noise = rng.integers(0, 2, frame.shape, np.uint8) if copy else 0
                    near = np.clip(frame, 0, 250) + np.uint8(noise)
                    info = FrameInfo(
                        at_s,
                        "camera 0",
                        frame.shape[1::-1],
                        UNSURE if scores else COLLECTED,
                        {name: score - 0.001 * copy for name, score in said.items()},
                        fingerprint=to_hex(fingerprint(near)),
                    )
                    entry = add(project.inbox, encode_jpeg(near), info)
                kept.append((label, entry.path))
        return kept

    return put


@pytest.fixture
def page(project):
    page = LabelPage(project, None)
    yield page
    page.close()


def counts(project):
    return {
        label: len(list((project.photos / label).glob("*.jpg")))
        for label in (*CLASSES, "unknown")
        if (project.photos / label).is_dir()
    }


def settled(page):
    wait_for(lambda: page.evaluate("document.querySelector('.labelling').dataset.busy !== 'yes'"))


def tiles(page):
    return page.locator("#tiles .tile")


def current(page):
    return page.evaluate("document.querySelector('.tile.current')?.dataset.proposal")


def test_ten_photos_get_their_labels_by_keys_alone(serve, open_page, project, page, fill):
    kept = fill(4)
    browser = open_page(serve(page).url)
    assert tiles(browser).count() == 12
    # The least sure one is first, and has the keys from the start.
    assert current(browser) == "circle"
    said = {label: str(digit) for digit, label in enumerate(CLASSES, start=1)}
    for _ in range(5):
        browser.keyboard.press(said[current(browser)])
    for _ in range(5):
        browser.keyboard.press("Enter")
    settled(browser)
    wait_for(lambda: len(picture_paths(project.inbox)) == 2)
    assert counts(project) == {"circle": 4, "cross": 3, "stripes": 3, "unknown": 0}
    # Each is where it should be, with what was known about it.
    truth = {path.name: label for label, path in kept}
    for label in CLASSES:
        for path in (project.photos / label).glob("*.jpg"):
            assert truth[path.name] == label
            assert path.with_suffix(".json").is_file()
    journal = read_journal(project.journal)
    assert [entry.action for entry in journal] == ["label"] * 10
    assert {entry.reason for entry in journal} == {UNSURE}
    assert len({entry.who for entry in journal}) == 1
    assert browser.locator("[data-count-of=inbox]").inner_text() == "2"
    assert browser.get_by_role("button", name="circle 4").count() == 1
    assert browser.errors == []


def test_undo_brings_photos_back_to_where_they_were(serve, open_page, project, page, fill):
    fill(3)
    browser = open_page(serve(page).url)
    before = browser.evaluate("[...document.querySelectorAll('.tile')].map(t => t.dataset.key)")
    for key in ("1", "x", "Enter", "Space", "ArrowRight", "Space", "2"):
        browser.keyboard.press(key)
    settled(browser)
    wait_for(lambda: len(picture_paths(project.inbox)) == 4)
    assert len(list((project.root / DELETED).glob("*.jpg"))) == 1
    for left in (6, 7, 8, 9):
        browser.keyboard.press("z")
        settled(browser)
        assert len(picture_paths(project.inbox)) == left
    after = "[...document.querySelectorAll('.tile')].map(t => t.dataset.key)"
    assert browser.evaluate(after) == before
    browser.keyboard.press("z")
    browser.get_by_role("alert").get_by_text("There is nothing to undo.").wait_for()
    assert counts(project) == {"circle": 0, "cross": 0, "stripes": 0, "unknown": 0}


def test_a_whole_group_gets_a_label_at_once(serve, open_page, project, page, fill):
    fill(2, copies=4)
    browser = open_page(serve(page).url)
    assert browser.locator(".tile .many").first.inner_text() == "5"
    # Each group comes once before any comes again.
    groups = browser.evaluate("[...document.querySelectorAll('.tile')].map(t => t.dataset.group)")
    assert len(set(groups[:6])) == 6
    browser.keyboard.press("g")
    browser.get_by_text("5 photos selected").wait_for()
    browser.keyboard.press("3")
    settled(browser)
    assert counts(project)["stripes"] == 5
    assert len({entry.sha256 for entry in read_journal(project.journal)}) == 5
    assert tiles(browser).count() == 25
    browser.keyboard.press("z")
    settled(browser)
    assert counts(project)["stripes"] == 0
    assert tiles(browser).count() == 30


def test_two_browsers_at_once_overwrite_nothing_in_silence(serve, open_page, project, page, fill):
    fill(1)
    client = serve(page)
    one, two = open_page(client.url), open_page(client.url)
    one.keyboard.press("1")
    settled(one)
    two.keyboard.press("2")
    two.get_by_role("alert").get_by_text("is 'circle' by now").wait_for()
    assert counts(project)["circle"] == 1
    # Its present label is shown, and only another key changes it.
    conflict = two.locator(".tile.conflict")
    assert conflict.inner_text().strip() == "now circle"
    conflict.click()
    two.keyboard.press("2")
    settled(two)
    wait_for(lambda: counts(project)["cross"] == 1)
    assert counts(project)["circle"] == 0
    # What somebody else has changed since cannot be undone by who did it before.
    one.keyboard.press("z")
    one.get_by_role("alert").get_by_text("is 'cross' by now").wait_for()
    assert counts(project)["cross"] == 1
    assert [entry.to_label for entry in read_journal(project.journal)] == ["circle", "cross"]
    assert len({entry.who for entry in read_journal(project.journal)}) == 2


def test_a_conflict_is_answered_with_what_became_of_the_photo(serve, project, page, fill):
    fill(1)
    client = serve(page)
    keys = [item.key for item in page.pool.view("inbox").items]
    assert change(client, keys[0], "circle").status == 200
    answer = change(client, keys[0], "cross")
    assert answer.status == 409
    (conflict,) = answer.json["conflicts"]
    assert conflict["now"]["label"] == "circle"
    assert "is 'circle' by now" in conflict["text"]
    # One of a group: the others get their label.
    both = json.dumps([[keys[0], "cross"], [keys[1], "cross"]])
    answer = client.post("/label/place", {"changes": both})
    assert answer.status == 409
    assert [entry["key"] for entry in answer.json["changed"]] == [keys[1]]
    assert counts(project) == {"circle": 1, "cross": 1, "stripes": 0, "unknown": 0}


def change(client, key, label, who="somebody"):
    changes = json.dumps([[key, label]])
    return client.post("/label/place", {"changes": changes, "who": who})


def test_a_new_label_gets_a_folder_and_a_button(serve, open_page, project, page, fill):
    fill(1)
    browser = open_page(serve(page).url)
    browser.keyboard.press("n")
    browser.get_by_role("dialog").get_by_label("A label that is there, or a new one").fill("star")
    browser.keyboard.press("Enter")
    settled(browser)
    wait_for(lambda: len(list((project.photos / "star").glob("*.jpg"))) == 1)
    browser.get_by_role("button", name="star 1").wait_for()
    # Its digit is the next one that is free.
    browser.keyboard.press("4")
    settled(browser)
    wait_for(lambda: len(list((project.photos / "star").glob("*.jpg"))) == 2)
    browser.keyboard.press("0")
    settled(browser)
    assert counts(project)["unknown"] == 1
    browser.get_by_role("heading", name="Nothing to label").wait_for()
    browser.keyboard.press("n")
    assert browser.get_by_role("dialog").count() == 0


@pytest.mark.parametrize("label", ["../up", ".hidden", "a/b", "x" * 300])
def test_a_label_that_can_be_no_folder_is_refused(serve, project, page, fill, label):
    fill(1)
    client = serve(page)
    key = page.pool.view("inbox").items[0].key
    answer = change(client, key, label)
    assert answer.status == 400
    assert "Expected a label that can be a folder's name" in answer.json["error"]
    assert len(picture_paths(project.inbox)) == 3


def test_the_model_proposes_in_the_background(
    serve, open_page, project, fill, tiny_tflite, tmp_path
):
    fill(2, scores=False)
    (project.models / "run").mkdir()
    shutil.copy(tiny_tflite, project.models / "run")
    page = LabelPage(project, tmp_path / "cache")
    try:
        browser = open_page(serve(page).url)
        assert page.facts.wait(PATIENCE_S)
        browser.get_by_role("button", name="Sort again").wait_for()
        browser.keyboard.press("r")
        browser.locator(".tile .says").first.wait_for()
        assert browser.locator(".tile .says").count() == 6
        said = page.pool.view("inbox").items
        margins = [item.margin for item in said]
        assert margins == sorted(margins)
    finally:
        page.close()
    # Nobody asks the model again.
    page = LabelPage(project, tmp_path / "cache")
    try:
        page.pool.look()
        assert page.facts.wait(PATIENCE_S)
        assert [item.scores for item in page.pool.view("inbox").items] == [
            tuple((label, round(score, 6)) for label, score in item.scores) for item in said
        ]
    finally:
        page.close()


def test_what_was_labelled_against_a_model_is_doubted_by_the_next_one_only(
    project, tiny_photos, tiny_tflite, page
):
    (project.models / "run").mkdir()
    model = Path(shutil.copy(tiny_tflite, project.models / "run"))
    frame = np.ascontiguousarray(decode(sorted((tiny_photos / "cross").iterdir())[0])[..., ::-1])
    said = {**dict.fromkeys(CLASSES, 0.05), "cross": 0.9}
    info = FrameInfo(
        1.0,
        "camera 0",
        frame.shape[1::-1],
        "unsure",
        said,
        model_hash=hashlib.sha256(tiny_tflite.read_bytes()).hexdigest(),
        fingerprint=to_hex(fingerprint(frame)),
    )
    picture = add(project.inbox, encode_jpeg(frame), info).path
    os.utime(model, (1, 1))
    placed = labelling.place(
        project.photos, picture, "circle", journal=project.journal, who="somebody", expected=""
    )
    page.pool.look()
    assert page.facts.wait(PATIENCE_S)
    assert page.pool.view("doubtful").items == ()
    later_s = time.time() + 60
    os.utime(model, (later_s, later_s))
    (item,) = page.pool.view("doubtful").items
    assert (item.path, item.doubt) == (placed, "the model says cross")


def test_doubtful_photos_are_confirmed_or_get_another_label(
    serve, open_page, project, tiny_photos, tiny_tflite, page
):
    (project.models / "run").mkdir()
    shutil.copy(tiny_tflite, project.models / "run")
    digest = hashlib.sha256(tiny_tflite.read_bytes()).hexdigest()
    circle, cross = (sorted((tiny_photos / label).iterdir())[0] for label in ("circle", "cross"))

    def put(source, label, name, said):
        path = project.photos / label / f"{name}.png"
        shutil.copy(source, path)
        frame = np.ascontiguousarray(decode(path)[..., ::-1])
        info = FrameInfo(
            1.0,
            "camera 0",
            frame.shape[1::-1],
            COLLECTED,
            {**dict.fromkeys(CLASSES, 0.05), said: 0.9},
            model_hash=digest,
            fingerprint=to_hex(fingerprint(frame)),
        )
        path.with_suffix(".json").write_text(info.to_json())

    # A label that the model does not have.
    (project.photos / "star").mkdir()
    put(sorted((tiny_photos / "stripes").iterdir())[0], "star", "new", "cross")
    put(cross, "circle", "wrong", "cross")
    put(circle, "circle", "right", "circle")
    put(circle, "cross", "copy", "circle")
    client = serve(page)
    page.pool.look()
    assert page.facts.wait(PATIENCE_S)
    browser = open_page(client.url + "label/doubtful")
    shown = browser.locator("#tiles .tile").evaluate_all(
        "all => all.map(t => [t.dataset.label, t.querySelector('.doubt').textContent])"
    )
    assert sorted(shown[:2]) == sorted(
        [
            ["circle", "looks the same as one of cross"],
            ["cross", "looks the same as one of circle"],
        ]
    )
    assert shown[2:] == [["circle", "the model says cross"]]
    # The first says that its label is right, the second goes, the third is what the model says.
    if shown[0][0] == "circle":
        for key in ("k", "x", "Enter"):
            browser.keyboard.press(key)
    else:
        for key in ("x", "k", "Enter"):
            browser.keyboard.press(key)
    settled(browser)
    wait_for(lambda: (project.photos / "cross" / "wrong.png").is_file())
    assert (project.photos / "circle" / "right.png").is_file()
    assert (project.root / DELETED / "copy.png").is_file()
    assert page.pool.view("doubtful").items == ()
    # What was deleted is put back from its own list.
    browser.goto(client.url + "label/deleted")
    browser.get_by_text("was cross", exact=True).wait_for()
    browser.keyboard.press("Enter")
    settled(browser)
    wait_for(lambda: (project.photos / "cross" / "copy.png").is_file())


def test_a_photo_that_is_none_is_shown_as_such(serve, open_page, project, page):
    write_bytes(project.inbox / "broken.jpg", b"no picture")
    browser = open_page(serve(page).url)
    page.facts.wait(PATIENCE_S)
    browser.reload()
    browser.get_by_text("cannot be decoded").wait_for()
    browser.keyboard.press("x")
    settled(browser)
    assert (project.root / DELETED / "broken.jpg").read_bytes() == b"no picture"


def test_names_that_are_no_text_work(serve, open_page, project, page, tiny_photos):
    names = [b"\xff\xe9.png", "a b:c\n\u202e.png".encode(), "é.png".encode()]
    source = sorted((tiny_photos / "circle").iterdir())
    for name, path in zip(names, source, strict=False):
        shutil.copy(path, bytes(project.inbox) + b"/" + name)
    browser = open_page(serve(page).url)
    assert tiles(browser).count() == 3
    drawn = "[...document.querySelectorAll('.tile img')].every(img => img.naturalWidth)"
    wait_for(lambda: browser.evaluate(drawn))
    for _ in names:
        browser.keyboard.press("1")
    settled(browser)
    assert counts(project)["circle"] == 0  # *.jpg
    assert len(list((project.photos / "circle").iterdir())) == 3
    for _ in names:
        browser.keyboard.press("z")
    settled(browser)
    assert len(picture_paths(project.inbox)) == 3
    assert tiles(browser).count() == 3


def test_thousands_come_as_somebody_gets_near_them(serve, open_page, project, page, tiny_photos):
    data = encode_jpeg(decode(sorted((tiny_photos / "circle").iterdir())[0]))
    for number in range(1000):
        (project.inbox / f"{number:04}.jpg").write_bytes(data + number.to_bytes(4, "big"))
    browser = open_page(serve(page).url)
    assert tiles(browser).count() == 120
    assert browser.locator("[data-count-of=inbox]").inner_text() == "1000"
    # Only what is to be seen is loaded.
    assert sum("/label/photo/" in url for url in browser.requested) < 120
    browser.keyboard.press("End")
    wait_for(lambda: tiles(browser).count() == 240)
    keys = browser.evaluate("[...document.querySelectorAll('.tile')].map(t => t.dataset.key)")
    assert len(set(keys)) == 240


@pytest.mark.parametrize("size_wh", [DESKTOP, PHONE], ids=["desktop", "phone"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_and_can_be_read(
    serve, open_page, project, page, fill, lowest_contrast, size_wh, scheme
):
    fill(3, copies=1)
    client = serve(page)
    for place in ("inbox", "doubtful", "deleted"):
        browser = open_page(f"{client.url}label/{place}", size_wh, scheme)
        if place == "inbox":
            browser.locator("#about .scores").wait_for()
            browser.keyboard.press("Space")
        assert browser.evaluate("document.documentElement.scrollWidth") <= size_wh[0]
        wait_for(lambda of=browser: of.evaluate("document.getAnimations().length === 0"))
        assert lowest_contrast(browser) >= 4.5
        assert browser.errors == []
        assert all(url.startswith((client.url, "data:")) for url in browser.requested)


def test_a_screen_reader_has_names_for_everything(serve, open_page, page, fill):
    fill(1, copies=2)
    browser = open_page(serve(page).url)
    browser.locator("#about .scores").wait_for()
    tree = browser.locator("body").aria_snapshot()
    for line in (
        'heading "Inbox: photos to label" [level=1]',
        '- listbox "Photos, what teaches most first"',
        'option "No label; the model says circle, 52 %; group of 3"',
        '- toolbar "Labels and actions"',
        '- group "Labels"',
        '- button "circle 0 photos"',
        'button "Agree: circle"',
        '- complementary "Selected photo"',
        '- img "Photo without a label"',
        '- table "Scores of the model"',
    ):
        assert line in tree.replace("\N{NO-BREAK SPACE}", " "), tree
    # Nothing that can be pressed is without a name.
    assert "- button\n" not in tree


def test_on_a_phone_taps_do_what_keys_do(serve, open_page, project, page, fill):
    fill(2)
    browser = open_page(serve(page).url, PHONE)
    box = tiles(browser).nth(1).bounding_box()
    browser.touchscreen.tap(box["x"] + 20, box["y"] + 20)
    # What is selected has a bar, which moves the tiles.
    browser.get_by_text("1 photo selected").wait_for()
    box = tiles(browser).nth(2).bounding_box()
    browser.touchscreen.tap(box["x"] + 20, box["y"] + 20)
    browser.get_by_text("2 photos selected").wait_for()
    browser.get_by_role("button", name="stripes 0").tap()
    settled(browser)
    wait_for(lambda: counts(project)["stripes"] == 2)
    browser.get_by_role("button", name="Undo").tap()
    settled(browser)
    wait_for(lambda: counts(project)["stripes"] == 0)
    assert tiles(browser).count() == 6


@pytest.mark.parametrize(
    "changes",
    ["", "no json", "[]", "{}", '[["inbox.YQ"]]', "[[1, 2]]", "[" * 30000],
    ids=["none", "text", "empty", "object", "one", "numbers", "deep"],
)
def test_what_is_no_change_is_refused(serve, page, changes):
    assert serve(page).post("/label/place", {"changes": changes}).status == 400


@pytest.mark.parametrize(
    "key",
    ["", "inbox", "inbox.", "inbox.Li4", "photos.YQ", "deleted.YQ.YQ", "runs.YQ", "inbox.YS9i"],
)
def test_a_key_that_leads_elsewhere_is_not_found(serve, project, page, fill, key):
    fill(1)
    client = serve(page)
    good = page.pool.view("inbox").items[0].key
    both = json.dumps([[good, "circle"], [key, "circle"]])
    assert client.post("/label/place", {"changes": both}).status == 404
    assert client.post("/label/delete", {"changes": both}).status == 404
    assert client.post("/label/restore", {"key": key}).status == 404
    assert client.get(f"/label/photo/{key}").status == 404
    # Nothing was done with the other one.
    assert len(picture_paths(project.inbox)) == 3


def test_links_lead_nowhere(serve, project, page, tmp_path, tiny_photos):
    outside = tmp_path / "outside"
    shutil.copytree(tiny_photos / "circle", outside)
    (project.photos / "linked").symlink_to(outside)
    name = sorted(outside.iterdir())[0].name
    (project.inbox / "link.png").symlink_to(outside / name)
    client = serve(page)
    for path in (project.inbox / "link.png", project.photos / "linked" / name):
        assert client.get(f"/label/photo/{page.pool.key(path)}").status == 404
