from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pocketlens.synthetic.cards import LABELS, NOTHING, draw_card, write_cards

CARDS = [label for label in LABELS if label != NOTHING]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cards") / "new" / "folder"
    write_cards(folder)
    return folder


def test_there_are_six_cards_and_nothing() -> None:
    assert len(CARDS) == 6
    assert len(set(LABELS)) == 7


@pytest.mark.parametrize("label", CARDS)
def test_card_is_upright_white_and_smooth(label: str) -> None:
    card = draw_card(label, 350)
    assert card.shape == (350, 250, 3)
    assert card.dtype == np.uint8
    assert (card[:4, :4] == 255).all()
    assert 0.3 < (card.min(axis=2) > 250).mean() < 0.9
    assert len(np.unique(card)) > 10


@pytest.mark.parametrize("label", CARDS)
def test_card_differs_from_the_others_in_grey(label: str) -> None:
    own = draw_card(label, 56).mean(axis=2) < 200
    for other in CARDS:
        if other != label:
            assert (own != (draw_card(other, 56).mean(axis=2) < 200)).mean() > 0.06, other


@pytest.mark.parametrize(
    ("label", "height"),
    [
        pytest.param(NOTHING, 100, id="no-card"),
        pytest.param("submarine", 100, id="unknown"),
        pytest.param(CARDS[0], 5, id="too-small"),
    ],
)
def test_impossible_card_is_refused(label: str, height: int) -> None:
    with pytest.raises(ValueError, match=r"card"):
        draw_card(label, height)


@pytest.mark.parametrize(
    ("name", "size_mm"),
    [
        *(pytest.param(f"{label}.png", (105, 148), id=label) for label in CARDS),
        pytest.param("all_cards.png", (210, 297), id="all"),
    ],
)
def test_file_prints_at_its_paper_size(folder: Path, name: str, size_mm: tuple[int, int]) -> None:
    with Image.open(folder / name) as image:
        image.load()
        assert image.info["dpi"] == pytest.approx((200, 200), abs=0.1)
        assert [side / 200 * 25.4 for side in image.size] == pytest.approx(size_mm, abs=0.1)


def test_paths_of_the_written_files_are_returned(tmp_path: Path) -> None:
    paths = write_cards(tmp_path)
    assert sorted(paths) == sorted(tmp_path.iterdir())
    assert {path.stem for path in paths} == {*CARDS, "all_cards"}
