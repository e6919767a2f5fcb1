"""The page in a real browser: picture, label, events, restarts, tokens, and what it asks for."""

import os
from itertools import pairwise
from pathlib import Path

import pytest
from timing import wait_for

from pocketlens.runtime.live.frames import ShiftState

pytestmark = pytest.mark.real_time

TOKEN = "correct-horse-battery"
PHONE, DESKTOP = (390, 844), (1440, 900)
# The colour in the picture's upper left corner, by its strongest channel.
CORNER = """() => {
  const from = document.getElementById("picture");
  if (from.hidden || !from.width) return "nothing";
  const to = document.createElement("canvas"); to.width = to.height = 1;
  const context = to.getContext("2d"); context.drawImage(from, 0, 0, 16, 16, 0, 0, 1, 1);
  const [red, , blue] = context.getImageData(0, 0, 1, 1).data;
  return red > blue + 60 ? "red" : blue > red + 60 ? "blue" : "neither"; }"""
NUMBER = "() => Number(document.getElementById('picture').dataset.number ?? -1)"


def shows(page, label):
    # While the next page loads there is no such element yet.
    page.wait_for_function(
        "text => document.getElementById('label')?.textContent === text", arg=label
    )


def moves(page):
    before = page.evaluate(NUMBER)
    page.wait_for_function(f"before => ({NUMBER})() > before", arg=before)


def test_the_picture_moves_and_the_label_changes_with_it(show, open_page):
    page = open_page(show.url)
    for label in ("red", "blue", "red"):
        show.label = label
        shows(page, label)
        page.wait_for_function(f"label => ({CORNER})() === label", arg=label)
        moves(page)
    texts = page.locator("#events li span").all_inner_texts()
    assert texts == ["red", "blue", "red"]
    assert page.inner_text("#status") == "Live"
    assert page.locator("#bars li").all_inner_texts()[0].split() == ["red", "90", "%"]
    assert "3" in page.inner_text("#figures")
    assert page.title() == "red · pocketlens"
    assert page.errors == []
    assert all(url.startswith((show.url, "data:")) for url in page.requested)


def test_the_labels_of_a_set_are_shown_without_the_score_of_one(show, open_page):
    page = open_page(show.url)
    shows(page, "red")
    page.wait_for_function("() => document.getElementById('score').textContent === '90 %'")
    show.label_set = ("red", "other")
    shows(page, "red or other")
    assert page.inner_text("#score") == ""
    bars = [text.split() for text in page.locator("#bars li").all_inner_texts()]
    assert bars == [["red", "90", "%"], ["other", "10", "%"]]
    # The set of one label is that label.
    show.label_set = ("red",)
    shows(page, "red")
    page.wait_for_function("() => document.getElementById('score').textContent === '90 %'")
    assert page.locator("#events li span").all_inner_texts() == ["red"]
    assert page.errors == []


def test_a_shift_is_a_notice_that_says_what_to_do(show, open_page):
    page = open_page(show.url)
    shows(page, "red")
    assert page.locator("#shift").is_hidden()
    shift = ShiftState("blurred", 60.0, 50)
    show.feed.note_shift(shift)
    page.locator("#shift").wait_for()
    assert page.inner_text("#shift").startswith(
        f"{shift.text} Answers may be wrong: clean the lens"
    )
    assert shift.text in page.inner_text("#events")
    # Below the picture, which stays.
    assert page.locator("#picture").is_visible()
    show.feed.note_shift(ShiftState(None, 90.0, 50))
    page.locator("#shift").wait_for(state="hidden")
    assert page.errors == []


def test_a_stale_source_shows_why_and_neither_picture_nor_label(show, open_page):
    page = open_page(show.url)
    shows(page, "red")
    moves(page)
    show.silent.set()
    page.get_by_text("No fresh picture: the cable is loose").wait_for()
    assert page.locator("#picture").is_hidden()
    assert page.inner_text("#label") == "–"
    assert page.inner_text("#status") == "Stale"
    assert page.locator("#bars li").count() == 0
    assert "Stale: the cable is loose" in page.inner_text("#events")
    show.silent.clear()
    shows(page, "red")
    moves(page)
    page.locator("#picture").wait_for()
    assert page.locator("#picture").is_visible()


def test_the_page_comes_back_by_itself_after_a_restart(show, open_page):
    page = open_page(show.url)
    shows(page, "red")
    moves(page)
    show.stop()
    page.get_by_text("The connection is lost. Trying again").wait_for()
    assert page.inner_text("#label") == "–"
    show.label = "blue"
    show.start()
    shows(page, "blue")
    # The new run counts its frames anew.
    page.wait_for_function(f"() => ({CORNER})() === 'blue'")
    moves(page)
    assert page.errors == []


def test_the_token_is_asked_for_and_leaves_no_trace_in_the_address(open_show, open_page):
    show = open_show(token=TOKEN)
    page = open_page(show.url)
    page.keyboard.type("wrong-horse-battery")
    page.keyboard.press("Enter")
    page.get_by_text("That is not the token.").wait_for()
    page.keyboard.type(TOKEN)
    page.keyboard.press("Enter")
    shows(page, "red")
    moves(page)
    assert page.url == show.url
    assert page.evaluate("document.cookie") == ""
    assert TOKEN not in page.content()
    # The announced address lets in at once.
    other = open_page(f"{show.url}?token={TOKEN}")
    shows(other, "red")
    assert other.url == show.url
    assert page.errors == other.errors == []


def test_another_token_after_a_restart_is_asked_for(open_show, open_page):
    show = open_show(token=TOKEN)
    page = open_page(f"{show.url}?token={TOKEN}")
    shows(page, "red")
    show.stop()
    show.token = "another-token"
    show.start()
    page.locator("input[name=token]").wait_for()


def test_the_keyboard_reaches_everything_and_pausing_stops_the_picture(show, open_page):
    page = open_page(show.url)
    shows(page, "red")
    moves(page)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "pause"
    page.keyboard.press("Space")
    assert page.get_attribute("#pause", "aria-pressed") == "true"

    def stands():
        number, frames = page.evaluate(NUMBER), show.feed.frames
        wait_for(lambda: show.feed.frames > frames + 25)
        return page.evaluate(NUMBER) == number

    # The one that was asked for before may still come.
    wait_for(stands)
    # The label is not paused.
    show.label = "blue"
    shows(page, "blue")
    # What was there before the source fell silent does not come back.
    show.silent.set()
    page.get_by_text("No fresh picture").first.wait_for()
    show.silent.clear()
    page.get_by_text("The picture is paused.").wait_for()
    page.keyboard.press("Enter")
    moves(page)
    page.locator("#picture").wait_for()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.getAttribute('href')") == "snapshot.jpg"


def test_changes_are_spoken_but_not_more_often_than_one_can_listen(show, open_page):
    page = open_page(show.url)
    shows(page, "red")
    assert page.get_attribute("#spoken", "aria-live") == "polite"
    page.wait_for_function("() => document.getElementById('spoken').textContent === 'red'")
    page.evaluate(
        """() => { window.said = []; const spoken = document.getElementById("spoken");
        new MutationObserver(() => window.said.push([performance.now(), spoken.textContent]))
        .observe(spoken, {childList: true, characterData: true, subtree: true}) }"""
    )
    for turn in range(12):
        show.label = ("blue", "red")[turn % 2]
        shows(page, show.label)
    show.label = "blue"
    page.wait_for_function("() => window.said.at(-1)?.[1] === 'blue'")
    times_ms = [time_ms for time_ms, _ in page.evaluate("window.said")]
    # Four seconds, less what a timer may be early.
    assert all(after - before > 3900 for before, after in pairwise(times_ms))


def test_who_is_one_too_many_is_told_and_let_in_later(show, open_page):
    connections = [show.connect() for _ in range(8)]
    for connection in connections:
        connection.request("GET", "/events")
        assert connection.getresponse().status == 200
    page = open_page(show.url)
    page.get_by_text("8 viewers are watching, which is the limit.").wait_for()
    for connection in connections:
        connection.close()
    connections.clear()
    shows(page, "red")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size_wh", [PHONE, DESKTOP, (320, 640)], ids=["phone", "desktop", "small"])
def test_it_fits_every_screen_and_can_be_read(show, open_page, lowest_contrast, size_wh, scheme):
    show.label = (
        "a label that is much longer than any that one would choose, and-without-a-space" * 2
    )
    page = open_page(show.url, size_wh, scheme)
    shows(page, show.label)
    moves(page)
    page.locator("#figures dd").first.wait_for()
    width = page.evaluate("document.documentElement.scrollWidth")
    assert width <= size_wh[0]
    if folder := os.environ.get("POCKETLENS_SCREENSHOTS"):
        page.screenshot(path=str(Path(folder) / f"{size_wh[0]}_{scheme}.png"), full_page=True)
    assert lowest_contrast(page) >= 4.5
