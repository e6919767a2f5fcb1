"""What is read of a run."""

import json
from pathlib import Path
from typing import Any

import pytest

from pocketlens.card import ModelCard
from pocketlens.errors import ModelFileError
from pocketlens.runtime.runs import CARD_NAME, MODEL_NAME, SPLIT_NAME, read_run


@pytest.mark.parametrize(
    "parts",
    [[], {"val": ["1.jpg"]}, {"val": {"1.jpg": "fish"}}, {"val": {"1.jpg": 3}}],
    ids=["no names", "no labels", "a label that the card lacks", "a number"],
)
def test_a_damaged_split_is_one_sentence(parts: Any, tmp_path: Path) -> None:
    card = ModelCard("x", ("cat", "dog"), (96, 96), format="keras")
    (tmp_path / CARD_NAME).write_text(card.to_json(), "utf-8")
    (tmp_path / MODEL_NAME).touch()
    (tmp_path / SPLIT_NAME).write_text(json.dumps({"photos": ".", "parts": parts}))
    with pytest.raises(ModelFileError, match="a record of the splits in"):
        read_run(tmp_path).photos("val")
