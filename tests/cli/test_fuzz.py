"""A hundred damaged inputs of each kind; `make fuzz` tries thousands."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "measure" / "fuzz.py"


def test_damaged_inputs_end_in_an_answer_or_a_sentence(tiny_models, tiny_photos):
    if sys.platform == "win32":
        pytest.skip("the script forks, which Windows cannot")
    counts = ("--photos", "100", "--models", "100", "--videos", "50", "--camera", "50")
    done = subprocess.run(
        [sys.executable, SCRIPT, tiny_models["int8"], tiny_photos, *counts],
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    ends = {what: int(count) for count, what in re.findall(r"(?m)^ *(\d+)  (.*)$", done.stdout)}
    photos = ends["a photo, classified"] + ends["a photo, named as unreadable"]
    assert photos == 100
    assert min(ends["a photo, classified"], ends["a photo, named as unreadable"]) > 10
    assert ends["camera pictures, damaged"] > 5
    assert ends["classify with a sealed model, exit code 1"] >= 20
