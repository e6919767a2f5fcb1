"""The plot of `--plot`: the page's chart of the choice, as a file."""

import pytest

pytest.importorskip("matplotlib", reason="pages and charts need the report extra")

from pocketlens.benchmarks.page_charts import write_plot

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

    path = tmp_path / "plot.png"
    write_plot(made_up(*files), path)
    pixels = cv2.imread(str(path))
    assert pixels.shape == (840, 1856, 3)
    assert pixels.std() > 5
    assert [child.name for child in tmp_path.iterdir()] == ["plot.png"]


@pytest.mark.parametrize(("name", "start"), [("plot.svg", b"<?xml"), ("plot.PDF", b"%PDF")])
def test_suffix_says_the_format(made_up, tmp_path, name, start):
    write_plot(made_up(*FIVE[:2]), tmp_path / name)
    content = (tmp_path / name).read_bytes()
    assert content.startswith(start)
    # In a file of its own there is no page to take colours from.
    assert b"var(--" not in content
