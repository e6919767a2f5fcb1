"""The plot: written, named without overlap, and refused in time."""

import sys

import pytest

from pocketlens.benchmarks.plot import check_plot, write_plot
from pocketlens.errors import MissingDependencyError, UsageError

FIVE = [
    ("float32", 9, 904, {1: 7.0, 2: 4.2}),
    ("float16", 4.5, 904, {1: 7.05, 2: 4.23}),
    ("dynamic", 2.5, 902, {1: 4.9, 2: 2.94}),
    ("weights8", 2.5, 904, {1: 7.1, 2: 4.26}),
    ("int8", 2.7, 903, {1: 3.3, 2: 2.0}),
]


@pytest.mark.parametrize(
    "files",
    [
        pytest.param(FIVE, id="five"),
        pytest.param([(kind, mb, None, ms) for kind, mb, _, ms in FIVE], id="no data"),
        pytest.param(FIVE[:1], id="one"),
        pytest.param([("int8", 0.1, 1000, {1: 0.2})], id="tiny, all right"),
        pytest.param([("int8", 0.1, 0, {1: 0.2})], id="all wrong"),
    ],
)
def test_plot_is_a_picture(made_up, tmp_path, files):
    import cv2

    pytest.importorskip("matplotlib", reason="plots need the train extra")
    path = tmp_path / "plot.png"
    write_plot(made_up(*files), path)
    pixels = cv2.imread(str(path))
    assert pixels.shape[0] > 500
    assert pixels.shape[1] > 800
    assert pixels.std() > 5
    assert [child.name for child in tmp_path.iterdir()] == ["plot.png"]


@pytest.mark.parametrize("count", [1, 5, 10])
def test_names_lie_inside_and_not_over_each_other(count):
    pytest.importorskip("matplotlib", reason="plots need the train extra")
    from matplotlib.figure import Figure

    from pocketlens.benchmarks.plot_labels import Point, place_labels

    figure = Figure(figsize=(8, 5), dpi=100)
    axes = figure.add_subplot()
    axes.set_xlim(0, 10)
    axes.set_ylim(80, 100)
    points = [
        # Pairs that nearly coincide are the hard case.
        Point(f"flowers_{i}", 2 + i // 2, 90 + 0.1 * (i % 2), 88, 92, 300, "blue")
        for i in range(count)
    ]
    figure.draw_without_rendering()
    place_labels(figure, axes, points)
    extents = [text.get_window_extent() for text in axes.texts]
    room = axes.get_window_extent()
    assert [text.get_text() for text in axes.texts] == [point.name for point in points]
    for index, extent in enumerate(extents):
        assert room.x0 <= extent.x0 < extent.x1 <= room.x1
        assert room.y0 <= extent.y0 < extent.y1 <= room.y1
        assert not any(extent.overlaps(other) for other in extents[:index])


def test_missing_matplotlib(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'pocketlens\[train\]'"):
        check_plot(tmp_path / "plot.png")


@pytest.mark.parametrize("name", ["plot", "plot.txt", "plot.jpeg"])
def test_name_that_says_no_format(tmp_path, name):
    with pytest.raises(UsageError, match=name):
        check_plot(tmp_path / name)
