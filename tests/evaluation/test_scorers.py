"""Which kind of model a path is, before anything heavy is loaded for it."""

from pathlib import Path

import pytest

from pocketlens.errors import PocketlensError
from pocketlens.evaluation.scorers import open_scorer

FROM_ELSEWHERE = "a third-party model"
A_RUN = "card.json"
NO_MODEL = "Expected a run folder, a .keras or a .tflite file"


@pytest.mark.parametrize(
    ("files", "asked", "words"),
    [
        # Only both together make a run; a card is missed in it.
        (["model.keras", "split.json"], "model.keras", A_RUN),
        (["model.keras", "split.json"], ".", A_RUN),
        (["model.keras", "split.json", "other.keras"], "other.keras", FROM_ELSEWHERE),
        (["model.keras"], "model.keras", FROM_ELSEWHERE),
        (["other.keras"], "other.keras", FROM_ELSEWHERE),
        (["model.h5"], "model.h5", NO_MODEL),
        (["model.keras", "split.json"], "split.json", NO_MODEL),
    ],
)
def test_a_run_is_told_from_a_keras_file_of_another_kind(
    files: list[str], asked: str, words: str, tmp_path: Path
) -> None:
    for name in files:
        (tmp_path / name).write_text("")
    with pytest.raises(PocketlensError, match=words):
        open_scorer(tmp_path / asked)
