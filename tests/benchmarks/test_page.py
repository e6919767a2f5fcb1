"""The page: whole, safe to open, and readable at every size, in the dark too."""

import dataclasses
import functools
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

pytest.importorskip("matplotlib", reason="pages and charts need the report extra")

from pocketlens.benchmarks.candidates import LeftOut
from pocketlens.benchmarks.machine import Condition
from pocketlens.benchmarks.page import (
    benchmark_page,
    recommendation_page,
    refuse_report,
    write_page,
    write_report,
)
from pocketlens.benchmarks.page_charts import colours
from pocketlens.benchmarks.payload import recommendation_payload, to_payload
from pocketlens.benchmarks.recommendation import Limits, recommend
from pocketlens.benchmarks.results import Benchmark
from pocketlens.benchmarks.stages import Stage
from pocketlens.benchmarks.sustained import Moment, Sustained
from pocketlens.errors import OutputExistsError
from pocketlens.evaluation.agreement import AnswerPair, ClassFlips, Flips, pair_answers

FIVE = [
    ("float32", 9, 904, {1: 7.0, 2: 4.2, 4: 2.9}),
    ("float16", 4.5, 904, {1: 7.05, 2: 4.23, 4: 2.95}),
    ("dynamic", 2.5, 902, {1: 4.9, 2: 2.94, 4: 2.2}),
    ("weights8", 2.5, 904, {1: 7.1, 2: 4.26, 4: 3.0}),
    ("int8", 2.7, 903, {1: 3.3, 2: 2.0, 4: 1.5}),
]
ONE_THREAD = [(kind, mb, correct, {1: ms[1]}) for kind, mb, correct, ms in FIVE]
NASTY = "<script>alert('x')</script>&amp;\" onload=\"x"
FLOWERS = ("daisy", "dandelion", "roses", "sunflowers", "tulips")
SCHEMES = (("light", "rgb(29, 35, 41)"), ("dark", "rgb(230, 233, 236)"))
VOID = {"meta", "br", "img", "input", "link", "hr", "wbr"}


def with_pairs(result: Benchmark, pairs: tuple[AnswerPair, ...]) -> Benchmark:
    """Give all files but the reference these answers beside the reference's."""
    files = tuple(
        dataclasses.replace(file, answer_pairs=None if file is result.reference else pairs)
        for file in result.files
    )
    return dataclasses.replace(result, files=files)


def with_stages(result: Benchmark) -> Benchmark:
    """Give each file the operators of a small network."""
    kinds = ("CONV_2D", "DEPTHWISE_CONV_2D", "ADD", "MEAN", "FULLY_CONNECTED", "SOFTMAX", "PAD")
    times_ms = (1.5, 0.8, 0.1, 0.05, 0.04, 0.0, 0.01)
    stages = tuple(
        Stage(("QUANTIZE", kind) if kind == "CONV_2D" else (kind,), time_ms, 1_000_000)
        for kind, time_ms in zip(kinds, times_ms, strict=True)
    )
    files = tuple(dataclasses.replace(file, stages=stages) for file in result.files)
    return dataclasses.replace(result, files=files)


def sustained(temperature_c=55.0) -> Sustained:
    """A run of ten minutes that became slower."""
    moments = tuple(
        Moment(6.0 * i, 900, 3.3 + 0.01 * i, 4 + 0.02 * i, temperature_c and temperature_c + i / 5)
        for i in range(1, 101)
    )
    return Sustained("int84.tflite", 4, moments)


@pytest.fixture(params=["five", "one thread", "one file", "no photos", "all right", "long names"])
def result(request, made_up):
    """Benchmarks of all the shapes that a page may get."""
    if request.param == "five":
        pairs = tuple(AnswerPair(name, name, 195) for name in FLOWERS)
        pairs += (AnswerPair("roses", "tulips", 20), AnswerPair("daisy", "dandelion", 5))
        five = with_stages(with_pairs(made_up(*FIVE), pairs))
        return dataclasses.replace(five, sustained=sustained())
    if request.param == "one thread":
        many = tuple(AnswerPair(f"class {i}", f"class {i + 1}", 60 - i) for i in range(40))
        return with_pairs(made_up(*ONE_THREAD), many)
    if request.param == "one file":
        one = made_up((None, 2.7, None, {1: 3.3}), names=[f"{'name' * 20}.tflite"])
        unknown = dataclasses.replace(one.machine, features=None, before=Condition(), after=None)
        return dataclasses.replace(one, machine=unknown, sustained=sustained(None))
    if request.param == "no photos":
        return made_up(*((kind, mb, None, ms) for kind, mb, _, ms in FIVE))
    if request.param == "all right":
        return made_up(*((kind, mb, 1000, ms) for kind, mb, _, ms in FIVE))
    return made_up(*FIVE[:3], names=[f"{'a very long name ' * 5}{i}.tflite" for i in range(3)])


class Tags(HTMLParser):
    """Collects tags and addresses, and complains of what is not closed in order."""

    def __init__(self, text):
        super().__init__()
        self.open, self.seen, self.addresses = [], set(), []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.seen.add(tag)
        self.addresses += [value for key, value in attrs if key in ("src", "href", "action")]
        assert not any(key.startswith("on") for key, _ in attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.seen.add(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


# Drawing is what takes time.
cached_page = functools.cache(benchmark_page)


def test_page_is_whole_and_asks_nobody(result):
    text = cached_page(result)
    tags = Tags(text)
    assert [entry for entry in tags.addresses if entry[0] != "#"] == ["benchmark.json"]
    assert not {"script", "iframe", "link", "object", "img"} & tags.seen
    assert not re.search(r"url\((?!#)", text)
    ids = re.findall(r'\bid="([^"]*)"', text)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'(?:url\(|href=")#([^)"]*)', text)) == set(ids)
    assert "@import" not in text
    assert '<meta name="viewport"' in text
    assert "prefers-color-scheme: dark" in text
    regions = re.findall(
        r'<div class="scroll [a-z ]*" role="region" tabindex="0" aria-label="[^"]+">\s*<table', text
    )
    assert len(regions) == text.count("<table")
    assert not re.search(r"[^a-z](nan|inf|None)[^a-z]", text.split("</style>")[-1])


def test_verdict_comes_first_and_all_sections_follow(made_up):
    text = cached_page(dataclasses.replace(made_up(*FIVE), sustained=sustained()))
    body = text[text.index("</h1>") :]
    titles = re.findall("<h2>([^<]*)</h2>", body)
    assert titles == [
        *("Accuracy vs. latency", "Accuracy", "Files", "Latency", "Stages of a frame", "Start-up"),
        *("Latency distribution", "Threads", "Operators", "Sustained load"),
        "Machine and settings",
    ]
    assert body.index("Use int84.tflite with 4 threads") < body.index("<h2>")
    for part in ("resize", "invoke", "post", "load", "first inference"):
        assert f"</i>{part}</li>" in body
    assert "<title>int84.tflite, 4 threads: 1.50 ms, 2.70 MB, 90.3 %</title>" in body
    assert "float162.tflite" not in body
    assert "Test CPU" in body
    assert body.count("<td>3.50</td><td>300</td>") == 5
    assert body.count('<tr class="chosen"><th>int84.tflite</th>') == 3


def test_everything_is_escaped(made_up):
    nasty = with_pairs(made_up(*FIVE[:2], names=[NASTY, "b.tflite"]), (AnswerPair(NASTY, "b", 3),))
    machine = dataclasses.replace(nasty.machine, cpu=NASTY, system=NASTY)
    files = tuple(dataclasses.replace(file, format=None) for file in nasty.files)
    text = benchmark_page(dataclasses.replace(nasty, machine=machine, files=files))
    assert "script" not in Tags(text).seen
    assert "<script" not in text
    assert "&lt;script&gt;" in text


@pytest.mark.parametrize("photos", [True, False], ids=["photos", "no photos"])
def test_size_stands_in_for_accuracy_only_without_photos(made_up, photos):
    files = [(kind, mb, correct if photos else None, ms) for kind, mb, correct, ms in FIVE]
    text = benchmark_page(made_up(*files))
    assert ("top-1 (%)" in text) == photos
    assert ("file size (MB)" in text) != photos
    assert ("<h2>Size vs. latency</h2>" in text) != photos
    assert ("Accuracy was not measured" in text) != photos


def test_warnings_stand_before_the_figures(made_up):
    busy = made_up(*FIVE)
    machine = dataclasses.replace(busy.machine, before=Condition(3.0))
    left_out = (LeftOut("spoilt.tflite", Path("spoilt.tflite"), "Expected a model & no <text>."),)
    text = benchmark_page(dataclasses.replace(busy, machine=machine, left_out=left_out))
    before = text[: text.index("<h2>")]
    assert "3.0 of 4 cores busy" in before
    assert "spoilt.tflite was left out. Expected a model &amp; no &lt;text&gt;." in before
    assert 'class="warning"' not in cached_page(made_up(*FIVE))


def test_whether_files_are_really_worse_is_said(made_up):
    flips = Flips(30, 6, 0.00004, (ClassFlips("<rose>", 200, 20, 1),))
    text = benchmark_page(made_up(*ONE_THREAD, flips=flips))
    assert text.count("30 photos lost, 6 won, p &lt; 0.001): that is more than chance") == 4
    assert "&lt;rose&gt; (-19 of 200)" in text
    one = benchmark_page(made_up(*ONE_THREAD[:1]))
    assert "McNemar" not in one
    assert "macro F1" in one


def test_many_answers_are_listed_and_few_are_a_matrix(made_up):
    few = (AnswerPair("a", "a", 90), AnswerPair("a", "b", 7), AnswerPair("b", "b", 3))
    text = benchmark_page(with_pairs(made_up(*FIVE), few))
    assert text.count('<table class="cross">') == 4
    assert "int84.tflite: 7 of 100 photos" in text
    assert text.count("<details open>") == 1
    assert text.index("<details open>") < text.index("int84.tflite: 7 of 100 photos")
    many = tuple(AnswerPair(f"c{i}", f"c{i + 1}", 90 - i) for i in range(20))
    text = benchmark_page(with_pairs(made_up(*FIVE), many))
    assert '<table class="cross">' not in text
    assert "5 rarer pairs are in the JSON" in text
    same = (AnswerPair("a", "a", 90),)
    assert "agrees on every photo" in benchmark_page(with_pairs(made_up(*FIVE), same))


def test_operators_are_shown_or_said_to_be_missing(made_up):
    assert "add --profile" in cached_page(made_up(*FIVE))
    text = benchmark_page(with_stages(made_up(*FIVE)))
    assert "add --profile" not in text
    assert "int84.tflite: the 7 slowest of 7" in text
    assert "1. QUANTIZE, CONV_2D</th><td>1.500</td><td>60.0</td>" in text
    # Seven kinds for six colours.
    assert re.search("</i>MEAN</li>.*</i>others</li>", text)


def test_a_format_has_one_colour_in_every_order(made_up):
    own = dict(zip([kind for kind, *_ in FIVE], colours(made_up(*FIVE)), strict=True))
    assert len(set(own.values())) == 5
    assert colours(made_up(*FIVE[3:0:-1])) == [own[kind] for kind, *_ in FIVE[3:0:-1]]
    two = colours(made_up(FIVE[4], FIVE[4], (None, *FIVE[0][1:])))
    assert len(set(two)) == 3


def test_intervals_are_promised_only_where_there_are_some(made_up):
    long = made_up(*ONE_THREAD)
    assert "95 % intervals, from several processes" in cached_page(long)
    short = []
    for file in long.files:
        (latency,) = file.latencies
        spread = dataclasses.replace(latency.classify, median_interval_ms=None, runs=10)
        latency = dataclasses.replace(latency, classify=spread)
        short.append(dataclasses.replace(file, latencies=(latency,)))
    text = benchmark_page(dataclasses.replace(long, files=tuple(short)))
    assert "several processes" not in text
    assert "differences between runs" not in text
    # What 1 % of ten frames take, nobody knows.
    assert "file 1 % took more" not in text


def test_answers_are_paired_by_name():
    pairs = pair_answers(
        [(0,), (1,), (1,), (0, 1), ()], [(1,), (0,), (0,), (1,), ()], ["a", "b"], ["b", "a"]
    )
    assert pairs == (
        AnswerPair("b", "b", 2),
        AnswerPair("a", "a", 1),
        AnswerPair("a + b", "a", 1),
        AnswerPair("nothing", "nothing", 1),
    )


def test_folder_has_the_page_and_the_figures(made_up, tmp_path):
    out = tmp_path / "report"
    refuse_report(out, overwrite=False)
    write_report(made_up(*FIVE), out, overwrite=False)
    assert sorted(path.name for path in out.iterdir()) == ["benchmark.json", "index.html"]
    assert json.loads((out / "benchmark.json").read_text("utf-8"))["verdict"]["threads"] == 4
    with pytest.raises(OutputExistsError, match="--overwrite"):
        refuse_report(out, overwrite=False)
    write_report(made_up(*FIVE[:1]), out, overwrite=True)
    assert len(json.loads((out / "benchmark.json").read_text("utf-8"))["files"]) == 1


def test_folder_of_something_else_is_never_replaced(tmp_path):
    (tmp_path / "precious.txt").write_text("mine")
    with pytest.raises(OutputExistsError, match=r"benchmark\.json"):
        refuse_report(tmp_path, overwrite=True)


def test_json_alone_makes_the_same_page(made_up, tmp_path):
    result = with_stages(made_up(*FIVE[:2]))
    payload = json.loads(json.dumps(to_payload(result)))
    path = write_page(payload, "old.json", tmp_path / "report", overwrite=False)
    assert path.read_text("utf-8") == cached_page(result)
    assert json.loads((tmp_path / "report" / "benchmark.json").read_text("utf-8")) == payload


def test_recommendation_has_its_options_and_all_that_was_measured(made_up, tmp_path):
    found = recommend(made_up(*ONE_THREAD), Limits(max_latency_ms=5))
    payload = json.loads(json.dumps(recommendation_payload(found)))
    path = write_page(payload, "old.json", tmp_path / "report", overwrite=False)
    text = path.read_text("utf-8")
    assert text == recommendation_page(found)
    # recommend has no --profile.
    assert "add --profile" not in text
    assert "pocketlens benchmark --profile shows" in text
    assert Tags(text).addresses.count("recommend.json") == 1
    for sentence in payload["sentences"]:
        assert sentence in text.replace("<wbr>", "")
    titles = re.findall("<h2>([^<]*)</h2>", text)
    assert titles[:3] == ["Options", "Accuracy vs. latency", "Accuracy"]
    assert text.count("<small>too slow</small>") == 3
    chosen = '<tr class="chosen"><th>int84.tflite<small>take</small></th><td>1</td><td>3.30</td>'
    assert chosen in text.replace("<wbr>", "")
    assert json.loads((tmp_path / "report" / "recommend.json").read_text("utf-8")) == payload


# Words of a chart whose boxes have a part in common, or which leave their picture.
CLASHES = """() => [...document.querySelectorAll(".chart svg")].flatMap(chart => {
  const room = chart.getBoundingClientRect();
  if (!room.width) return [];
  const words = [...chart.querySelectorAll("text")].map(t => [t, t.getBoundingClientRect()]);
  const out = words.filter(([, b]) => b.left < room.left - 1 || b.right > room.right + 1
    || b.top < room.top - 1 || b.bottom > room.bottom + 1).map(([t]) => "out: " + t.textContent);
  const over = words.flatMap(([t, a], i) => words.slice(i + 1).filter(([, b]) =>
    a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 2 && b.top < a.bottom - 2)
    .map(([u]) => t.textContent + " over " + u.textContent));
  return [...out, ...over]; })"""
FILL = """() => getComputedStyle(
  document.querySelector(".chart text[style*=currentColor]")).fill"""
# How high the letters of charts are, in pixels of the screen.
SMALLEST = """() => Math.min(...[...document.querySelectorAll(".chart svg")].filter(
  chart => chart.getBoundingClientRect().width).flatMap(chart => [...chart.querySelectorAll("text")]
  .map(t => parseFloat(getComputedStyle(t).fontSize) * chart.getBoundingClientRect().width
    / chart.viewBox.baseVal.width)))"""


def test_nothing_overlaps_or_leaves_the_screen(open_page, lowest_contrast, result, tmp_path):
    path = tmp_path / "index.html"
    path.write_text(cached_page(result), "utf-8")
    for scheme, ink in SCHEMES:
        for width in (390, 1280):
            page = open_page(path.as_uri(), (width, 900), scheme)
            assert page.evaluate(CLASHES) == []
            assert page.evaluate(SMALLEST) >= 11
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            assert page.evaluate("getComputedStyle(document.querySelector('h1')).color") == ink
            assert page.evaluate(FILL) == ink
            assert lowest_contrast(page) >= 4.5
            assert len(page.requested) == 1


# What is said of each option, and how far to the right it reaches.
SAID = """() => [...document.querySelector("table").querySelectorAll("tbody tr")].flatMap(row => {
  const walk = document.createTreeWalker(row, NodeFilter.SHOW_TEXT), found = [];
  while (walk.nextNode()) {
    const range = document.createRange();
    range.selectNodeContents(walk.currentNode);
    found.push([walk.currentNode.textContent, range.getBoundingClientRect().right]);
  }
  return found; })"""


def test_what_is_said_of_an_option_is_on_a_phone_s_screen(made_up, open_page, tmp_path):
    path = tmp_path / "index.html"
    found = recommend(made_up(*ONE_THREAD), Limits(max_latency_ms=5, max_size_mb=3.6, max_drop=0))
    path.write_text(recommendation_page(found), "utf-8")
    page = open_page(path.as_uri(), (390, 900))
    said = [(text, right) for text, right in page.evaluate(SAID) if "too " in text]
    assert len(said) >= 3
    assert all(right <= 390 for _, right in said), said
