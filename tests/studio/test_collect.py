"""The collecting page in a real browser: hold, count, undo, add, and what goes wrong."""

import contextlib
import os
from pathlib import Path

import pytest

pytest.importorskip("starlette", reason="the studio extra is not installed")
pytest.importorskip("jinja2", reason="the studio extra is not installed")
from showing import Player, Showing
from timing import wait_for

from pocketlens.demo.video import write_video
from pocketlens.runtime.live.collecting import Collector, FolderStore
from pocketlens.runtime.live.sources import SourceRequest
from pocketlens.runtime.live.watching import Watcher
from pocketlens.runtime.photos import find_pictures
from pocketlens.studio.collect import CollectPage

DESKTOP, PHONE = (1440, 950), (390, 844)


class Collecting:
    """A page with a camera that shows one frame after the other."""

    def __init__(self, serve, stack, photos, labels, showing, **settings):
        self.photos = photos
        self.collector = Collector(FolderStore(photos), labels, source="fake:", rate=20, **settings)
        stack.callback(self.collector.close)
        self.showing = showing
        self.watcher = Watcher(
            SourceRequest("fake:"), self.collector.take, open_source=showing.open
        )
        stack.callback(self.watcher.close)
        self.page = CollectPage(self.watcher, self.collector)
        self.serve = serve
        self.client = serve(self.page)

    def count(self, label):
        return len(list(find_pictures(self.photos / label)))


@pytest.fixture
def collecting(serve, tmp_path):
    with contextlib.ExitStack() as stack:
        showing = Showing()
        player = Player(showing)
        stack.callback(player.stop)
        made = Collecting(serve, stack, tmp_path / "photos", ["cat", "dog"], showing)
        made.player = player
        yield made


def card(page, label):
    return page.locator("#labels > li").filter(has=page.get_by_role("button", name=label)).first


def counted(page, label, least):
    """Wait until a label's counter has reached a number."""
    page.wait_for_function(
        """([label, least]) => [...document.querySelectorAll("#labels > li")].some(row =>
          row.dataset.label === label &&
          parseInt(row.querySelector(".count").textContent) >= least)""",
        arg=[label, least],
    )


def shown(page, label):
    return int(card(page, label).locator(".count").inner_text().split()[0])


def test_a_digit_records_while_it_is_held_and_z_takes_it_back(collecting, open_page):
    page = open_page(collecting.client.url)
    page.get_by_text("Live", exact=True).wait_for()
    page.locator("#picture").wait_for()
    page.keyboard.down("1")
    counted(page, "cat", 3)
    page.get_by_text("Recording cat").wait_for()
    assert (
        card(page, "cat").get_by_role("button", name="cat").first.get_attribute("aria-pressed")
        == "true"
    )
    page.keyboard.up("1")
    page.locator("#recording").wait_for(state="hidden")
    wait_for(lambda: collecting.collector.to_dict()["recording"] is None)
    collecting.collector.settle()
    first = collecting.count("cat")
    assert first >= 3
    assert not (collecting.photos / "dog").exists()
    counted(page, "cat", first)
    assert card(page, "cat").locator("img").count() == min(12, first)
    # Thumbnails are really pictures.
    page.wait_for_function(
        "() => [...document.querySelectorAll('.photo')].every(photo => photo.naturalWidth === 160)"
    )
    page.keyboard.down("2")
    counted(page, "dog", 2)
    page.keyboard.up("2")
    wait_for(lambda: collecting.collector.to_dict()["recording"] is None)
    page.get_by_role("button", name="Undo").wait_for()
    page.keyboard.press("z")
    wait_for(lambda: collecting.count("dog") == 0)
    page.get_by_role("button", name=f"Undo {first} of cat").wait_for()
    assert collecting.count("cat") == first
    page.keyboard.press("z")
    wait_for(lambda: collecting.count("cat") == 0)
    page.get_by_role("button", name="Nothing to undo").wait_for()
    assert page.errors == []
    assert all(url.startswith((collecting.client.url, "data:", "blob:")) for url in page.requested)


def test_a_button_records_by_pointer_by_key_and_by_a_click_of_a_screen_reader(
    collecting, open_page
):
    page = open_page(collecting.client.url)
    page.get_by_text("Live", exact=True).wait_for()
    button = card(page, "dog").get_by_role("button", name="dog").first
    box = button.bounding_box()
    page.mouse.move(box["x"] + 20, box["y"] + 10)
    page.mouse.down()
    counted(page, "dog", 2)
    page.mouse.up()
    wait_for(lambda: collecting.collector.to_dict()["recording"] is None)
    collecting.collector.settle()
    by_pointer = collecting.count("dog")
    counted(page, "dog", by_pointer)
    button.focus()
    page.keyboard.down(" ")
    counted(page, "dog", by_pointer + 2)
    page.keyboard.up(" ")
    wait_for(lambda: collecting.collector.to_dict()["recording"] is None)
    collecting.collector.settle()
    by_key = collecting.count("dog")
    button.evaluate("button => button.click()")
    counted(page, "dog", by_key + 1)
    wait_for(lambda: collecting.collector.to_dict()["recording"] is None)
    assert page.errors == []


def test_one_photo_is_removed_by_its_button(collecting, open_page):
    page = open_page(collecting.client.url)
    page.get_by_text("Live", exact=True).wait_for()
    page.keyboard.down("1")
    counted(page, "cat", 3)
    page.keyboard.up("1")
    wait_for(lambda: collecting.collector.to_dict()["recording"] is None)
    collecting.collector.settle()
    before = collecting.count("cat")
    counted(page, "cat", before)
    page.get_by_role("button", name="Remove photo").first.click()
    wait_for(lambda: collecting.count("cat") == before - 1)
    page.wait_for_function(
        f"() => document.querySelectorAll('.photo').length === {min(12, before - 1)}"
    )


def test_near_copies_are_said(collecting, open_page):
    page = open_page(collecting.client.url)
    page.get_by_text("Live", exact=True).wait_for()
    collecting.player.held.set()
    page.keyboard.down("1")
    page.get_by_text("near copies were left out").wait_for()
    page.keyboard.up("1")
    assert collecting.count("cat") <= 2


def test_a_label_is_added_in_its_normal_form_and_a_wrong_one_is_said(collecting, open_page):
    page = open_page(collecting.client.url)
    page.get_by_text("Live", exact=True).wait_for()
    # Digits and z are letters of a name there.
    page.get_by_label("New label").fill("  owl z1 <b> ")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="owl z1 <b>").wait_for()
    assert collecting.collector.labels == ("cat", "dog", "owl z1 <b>")
    page.get_by_label("New label").fill("../up")
    page.get_by_role("button", name="Add label").click()
    page.get_by_role("alert").get_by_text("Expected a label that can be a folder's name").wait_for()
    page.get_by_role("heading", name="Labels").click()
    page.keyboard.down("3")
    counted(page, "owl z1 <b>", 1)
    page.keyboard.up("3")
    wait_for(lambda: collecting.count("owl z1 <b>") >= 1)
    assert not (collecting.photos.parent / "up").exists()


def test_a_lost_camera_is_shown_and_comes_back(collecting, open_page):
    page = open_page(collecting.client.url)
    page.get_by_text("Live", exact=True).wait_for()
    collecting.player.stop()
    collecting.showing.fall_silent()
    page.get_by_text("No fresh picture: the cable is loose").wait_for()
    assert page.locator("#picture").is_hidden()
    assert page.inner_text("#state") == "Stale"
    player = Player(collecting.showing)
    try:
        page.get_by_text("Live", exact=True).wait_for()
        page.locator("#picture").wait_for()
    finally:
        player.stop()


def test_a_full_disk_is_said(collecting, open_page, monkeypatch):
    page = open_page(collecting.client.url)
    page.get_by_text("Live", exact=True).wait_for()
    add = collecting.collector.store.add
    full = OSError(28, "No space left on device")

    def refuse(*args):
        raise full

    monkeypatch.setattr(collecting.collector.store, "add", refuse)
    page.keyboard.down("1")
    page.locator("#problem").get_by_text("No space left on device").wait_for()
    page.keyboard.up("1")
    monkeypatch.setattr(collecting.collector.store, "add", add)
    wait_for(lambda: collecting.collector.to_dict()["recording"] is None)
    page.keyboard.down("1")
    counted(page, "cat", 1)
    page.keyboard.up("1")
    page.locator("#problem").wait_for(state="hidden")


def test_two_browsers_record_each_its_own_and_never_one_frame_twice(collecting, open_page):
    one, other = open_page(collecting.client.url), open_page(collecting.client.url)
    for page in (one, other):
        page.get_by_text("Live", exact=True).wait_for()
    one.keyboard.down("1")
    counted(other, "cat", 2)
    other.get_by_text("Recording cat").wait_for()
    # A frame has one label.
    other.keyboard.down("2")
    other.get_by_role("alert").get_by_text("Another page records cat now").wait_for()
    other.keyboard.up("2")
    one.keyboard.up("1")
    wait_for(lambda: collecting.collector.to_dict()["recording"] is None)
    other.keyboard.down("2")
    counted(one, "dog", 2)
    other.keyboard.up("2")
    wait_for(lambda: collecting.collector.to_dict()["recording"] is None)
    collecting.collector.settle()
    # Each takes back its own.
    dogs = collecting.count("dog")
    one.keyboard.press("z")
    wait_for(lambda: collecting.count("cat") == 0)
    assert collecting.count("dog") == dogs
    other.keyboard.press("z")
    wait_for(lambda: collecting.count("dog") == 0)


def test_a_page_that_is_closed_while_it_records_records_no_more(collecting, open_page):
    page = open_page(collecting.client.url)
    page.get_by_text("Live", exact=True).wait_for()
    page.keyboard.down("1")
    counted(page, "cat", 1)
    page.close()
    wait_for(lambda: collecting.collector.to_dict()["recording"] is None)


def test_a_page_that_stayed_open_goes_on_after_a_restart(collecting, open_page):
    page = open_page(collecting.client.url)
    page.get_by_text("Live", exact=True).wait_for()
    collecting.client.studio.close()
    page.get_by_text("Trying again").wait_for()
    again = CollectPage(collecting.watcher, collecting.collector)
    collecting.serve(again, port=collecting.client.port)
    page.get_by_text("Live", exact=True).wait_for()
    page.keyboard.down("1")
    counted(page, "cat", 1)
    page.keyboard.up("1")
    assert page.errors == []


def test_requests_that_are_none_of_the_page_s_are_refused(collecting):
    client = collecting.client.open()
    assert client.post("/collect/hold", {"page": "a", "label": "owl"}).status == 400
    assert client.post("/collect/hold", {"page": "a b", "label": "cat"}).status == 400
    assert client.post("/collect/hold", {"label": "cat"}).status == 400
    assert client.post("/collect/undo", {"page": "a", "number": "-1"}).status == 400
    assert client.post("/collect/undo", {"page": "a", "number": "99"}).status == 400
    assert client.post("/collect/label", {"name": "a/b"}).status == 400
    assert client.get("/collect/thumbnail/99").status == 404
    assert client.get("/collect/events?page=../x").status == 400
    assert client.post("/collect/release", {"page": "a"}).status == 204


def test_it_is_usable_on_desktop_and_phone_in_light_and_dark_and_by_names(
    serve, open_page, tmp_path, lowest_contrast
):
    """The demo's video as the camera; pictures of the page with POCKETLENS_SCREENSHOTS."""
    video = tmp_path / "video.mp4"
    write_video(video, seed=0, seconds=3, size_wh=(480, 360))
    shots = os.environ.get("POCKETLENS_SCREENSHOTS")
    with contextlib.ExitStack() as stack:
        labels = ["bolt", "heart", "ring", "unknown"]
        collector = Collector(FolderStore(tmp_path / "photos"), labels, source=str(video), rate=20)
        stack.callback(collector.close)
        watcher = Watcher(SourceRequest(str(video)), collector.take)
        stack.callback(watcher.close)
        client = serve(CollectPage(watcher, collector))
        for size_wh, device in ((DESKTOP, "desktop"), (PHONE, "phone")):
            for scheme in ("light", "dark"):
                page = open_page(client.url, size_wh, scheme)
                page.locator("#picture").wait_for()
                if device == "desktop":
                    page.keyboard.down("1")
                    counted(page, "bolt", shown(page, "bolt") + 2)
                else:
                    page.get_by_role("button", name="bolt").first.tap()
                page.wait_for_function("() => document.querySelector('.photo')?.naturalWidth")
                if shots:
                    page.screenshot(path=Path(shots) / f"collect-{device}-{scheme}.png")
                assert lowest_contrast(page) >= 4.5
                assert page.evaluate("document.documentElement.scrollWidth") <= size_wh[0]
                if device == "desktop":
                    page.keyboard.up("1")
                assert page.errors == []
        # What a screen reader finds.
        page = open_page(client.url)
        page.get_by_role("button", name="unknown").wait_for()
        page.locator("#picture").wait_for()
        for role, name in (
            ("img", "Live picture"),
            ("heading", "Collect photos"),
            ("heading", "Labels"),
            ("textbox", "New label"),
            ("button", "Add label"),
            ("button", "heart"),
        ):
            assert page.get_by_role(role, name=name).count() >= 1, name
        assert page.get_by_role("img", name="Photo").count() >= 1
