"""A hundred damaged inputs of each kind; `make fuzz` tries thousands."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "measure" / "fuzz.py"


@pytest.mark.parametrize(
    ("kind", "count", "least"),
    [
        ("photos", 100, {"a photo, classified": 11, "a photo, named as unreadable": 11}),
        ("models", 100, {"classify with a sealed model, exit code 1": 20}),
        # A hundred together.
        ("videos", 50, {}),
        ("camera", 50, {"camera pictures, damaged": 6}),
    ],
)
def test_damaged_inputs_end_in_an_answer_or_a_sentence(
    tiny_models, tiny_photos, kind, count, least
):
    if sys.platform == "win32":
        pytest.skip("the script forks, which Windows cannot")
    counts = {"photos": 0, "models": 0, "videos": 0, "camera": 0, kind: count}
    options = [f"--{name}={number}" for name, number in counts.items()]
    done = subprocess.run(
        [sys.executable, SCRIPT, tiny_models["int8"], tiny_photos, *options],
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    ends = {what: int(count) for count, what in re.findall(r"(?m)^ *(\d+)  (.*)$", done.stdout)}
    assert ends
    for what, number in least.items():
        assert ends[what] >= number
    if kind == "photos":
        assert sum(ends[what] for what in least) == count
