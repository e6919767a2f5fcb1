"""Names from outside: one form for labels, and nothing that a terminal obeys."""

import os
from pathlib import Path

import pytest

from pocketlens.names import distinct_names, say_once, shown, to_label, to_labels

E_ACUTE = "e\N{COMBINING ACUTE ACCENT}"


@pytest.mark.parametrize(
    ("name", "label"),
    [
        (" red\t", "red"),
        ("\ufeffred", "red"),
        (f"caf{E_ACUTE}", "café"),
        ("谷仓", "谷仓"),
        ("👩\u200d🌾", "👩\u200d🌾"),
        ("a\r\nb", r"a\r\nb"),
        ("\x1b]0;x\x07", r"\x1b]0;x\x07"),
        ("\x9b2J", r"\x9b2J"),
        (os.fsdecode(b"caf\xe9"), r"caf\xe9"),
    ],
    ids=ascii,
)
def test_label(name: str, label: str) -> None:
    assert to_label(name) == label
    assert to_label(label) == label
    label.encode()


def test_what_is_no_text_is_shown_too() -> None:
    assert shown(1) == "1"
    assert shown("a b") == "a b"


def test_labels_that_stand_twice_are_numbered_and_said(caplog: pytest.LogCaptureFixture) -> None:
    names = ("crane", "red", "crane ", "maillot", "crane")
    say_once.cache_clear()
    for _ in range(2):
        labels = to_labels(names)
    assert labels == ("crane", "red", "crane (2)", "maillot", "crane (3)")
    assert (
        caplog.text.count("Labels that appear more than once are numbered: crane (2), crane (3).")
        == 1
    )
    assert to_labels(labels) == labels


def test_numbers_that_are_taken_are_left_out() -> None:
    assert to_labels(("a (2)", "a", "a")) == ("a (2)", "a", "a (3)")


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        pytest.param(["/x/a.tflite", "/x/b.tflite"], ["a.tflite", "b.tflite"], id="differ"),
        pytest.param(["/x/a", "/y/a", "/x/b"], ["x/a", "y/a", "b"], id="folder"),
        pytest.param(["/1/x/a", "/2/x/a"], ["1/x/a", "2/x/a"], id="folder above"),
        pytest.param(["/a", "/x/a"], ["//a", "x/a"], id="at the root"),
    ],
)
def test_distinct_names(paths: list[str], names: list[str]) -> None:
    assert distinct_names([Path(path) for path in paths]) == names
