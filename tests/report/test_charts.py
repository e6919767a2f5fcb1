"""Charts: in the page's colours, with ids of their own, safe, and named without overlap."""

import re
import warnings

import pytest
from markupsafe import Markup
from matplotlib.figure import Figure

from pocketlens.errors import UsageError
from pocketlens.report.charts import (
    INK,
    PHONE,
    SERIES,
    WHOLE,
    Chart,
    Spot,
    check_name,
    fitted,
    fix_layout,
    legend,
    name_spots,
    tip,
    width_px,
)

NASTY = "<script>alert('x')</script> & \" $x$"


def draw(figure):
    axes = figure.subplots()
    tip(axes.scatter([1], [2], color=SERIES[0]), NASTY)
    axes.text(1, 2, NASTY, color=INK)
    axes.grid()


def test_svg_takes_the_page_s_colours_and_is_safe():
    shown = Chart(draw, NASTY).html(NASTY)
    assert isinstance(shown, Markup)
    assert "<script" not in shown
    assert shown.count("&lt;script&gt;") == 4
    assert "$x$" in shown
    assert "<title>&lt;script&gt;" in shown
    assert 'role="img" aria-label="&lt;script&gt;' in shown
    for variable in ("currentColor", "var(--line)", "var(--faint)"):
        assert f": {variable}" in shown
    for colour in ("#1d2329", "#d9dee3", "#ffffff"):
        assert colour not in shown
    assert SERIES[0].lower() in shown
    for left in ("<?xml", "<!DOCTYPE", "<metadata", "<style", "xmlns", "<!--", "tip:"):
        assert left not in shown


def test_ids_are_unique_in_a_page_and_the_same_in_every_run():
    one, two = Chart(draw, "one", WHOLE, PHONE).html(), Chart(draw, "two").html()
    assert one == Chart(draw, "one", WHOLE, PHONE).html()
    ids = re.findall(r'\bid="([^"]*)"', one + two)
    assert ids
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'(?:url\(|href=")#([^)"]*)', one + two)) == set(ids)


def test_a_phone_gets_a_drawing_of_its_own_where_one_is_asked_for():
    widths = []
    shown = Chart(lambda figure: widths.append(width_px(figure)), "alt", WHOLE, PHONE).html()
    assert sorted(widths) == [PHONE[0], WHOLE[0]]
    assert re.findall('<svg class="([a-z]+)"', shown) == ["narrow", "broad"]
    assert re.findall('<svg class="([a-z]+)"', Chart(draw, "alt").html()) == ["broad"]


def test_letters_that_matplotlib_lacks_are_left_to_the_browser():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        shown = Chart(lambda figure: figure.text(0.5, 0.5, fitted("日本語", 200)), "alt").html()
    assert "日本語" in shown


@pytest.mark.parametrize(
    ("words", "width", "kept"), [("int8", 100, "int8"), ("a" * 60, 80, "…aaaaaaa"), ("ab", 1, "…b")]
)
def test_long_names_keep_their_end(words, width, kept):
    assert fitted(words, width) == kept


@pytest.mark.parametrize("count", [1, 5, 10])
def test_names_lie_inside_and_not_over_each_other(count):
    figure = Figure(figsize=(8, 5), dpi=100)
    axes = figure.add_subplot()
    axes.set_xlim(0, 10)
    axes.set_ylim(80, 100)
    spots = [
        # Pairs that nearly coincide are the hard case.
        Spot(f"flowers_{i}", 2 + i // 2, 90 + 0.1 * (i % 2), 10, 88, 92)
        for i in range(count)
    ]
    fix_layout(figure)
    name_spots(axes, spots)
    extents = [text.get_window_extent() for text in axes.texts]
    room = axes.get_window_extent()
    assert [text.get_text() for text in axes.texts] == [spot.name for spot in spots]
    for index, extent in enumerate(extents):
        assert room.x0 <= extent.x0 < extent.x1 <= room.x1
        assert room.y0 <= extent.y0 < extent.y1 <= room.y1
        assert not any(extent.overlaps(other) for other in extents[:index])


def test_legend_is_escaped():
    assert "<script" not in legend([(SERIES[0], NASTY)])


@pytest.mark.parametrize("name", ["plot", "plot.txt", "plot.jpeg"])
def test_name_that_says_no_format(tmp_path, name):
    with pytest.raises(UsageError, match=name):
        check_name(tmp_path / name)
