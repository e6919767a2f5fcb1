"""`pocketlens inspect` from the outside."""

import json
from pathlib import Path

import pytest

from pocketlens.cli.inspect import pairs_text
from pocketlens.cli.main import run
from pocketlens.runtime.model_files import read_model_file


def test_values_of_the_card_are_words() -> None:
    values = {
        "alpha": 1.0,
        "seed": 0,
        "flip": True,
        "mixed_precision": None,
        "layers": [],
        "of": {},
    }
    assert pairs_text(values) == "alpha 1.0, seed 0, flip yes"
    assert pairs_text({}) == "none"


@pytest.mark.usefixtures("one_piece")
@pytest.mark.parametrize("columns", ["60", "100", "300"])
def test_text_fits(tiny_tflite: Path, columns: str, monkeypatch: pytest.MonkeyPatch, capfd) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    assert run(["inspect", str(tiny_tflite)]) == 0
    out = capfd.readouterr().out
    assert max(map(len, out.splitlines())) <= min(100, int(columns))
    flat = " ".join(out.split())
    for text in (
        "uint8 1 × 96 × 96 × 3, scale 0.00784",
        "3: circle; cross; stripes",
        "tiny, int8, multiclass",
        "as the card says",
        "17 DEPTHWISE_CONV_2D",
        "2 QUANTIZE, 1 DEQUANTIZE, 1 MEAN",
        "M int8)",
        "- Not run by XNNPACK",
    ):
        assert text in flat


@pytest.mark.usefixtures("one_piece")
def test_json_on_standard_output(tiny_tflite: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["inspect", str(tiny_tflite), "--json", "-"]) == 0
    values = json.loads(capfd.readouterr().out)
    assert values["schema_version"] == 1
    assert values["partitions"] == 1
    assert values["path"] == str(tiny_tflite)


def test_json_to_a_file_that_is_not_replaced_unasked(
    tiny_tflite: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "inspection.json"
    assert run(["inspect", str(tiny_tflite), "--json", str(target)]) == 0
    assert json.loads(target.read_text())["counts"]["CONV_2D"] == 35
    assert "17 DEPTHWISE_CONV_2D" in capfd.readouterr().out
    target.write_text("precious")
    assert run(["inspect", str(tiny_tflite), "--json", str(target)]) == 2
    assert "--overwrite" in capfd.readouterr().err
    assert target.read_text() == "precious"
    assert run(["inspect", str(tiny_tflite), "--json", str(target), "--overwrite"]) == 0
    assert target.read_text().startswith("{")


def test_third_party_file_with_labels(
    tiny_tflite: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    model, labels = tmp_path / "model.tflite", tmp_path / "names.txt"
    # Without its standard metadata, which names labels that would have to be there.
    flatbuffer = read_model_file(tiny_tflite).flatbuffer
    model.write_bytes(flatbuffer.replace(b"TFLITE_METADATA", b"UNKNOWN_RECORDS"))
    labels.write_text("one [red]\ntwo\nthree\n")
    assert run(["inspect", str(model), "--labels", str(labels)]) == 0
    out = capfd.readouterr().out
    assert "3: one [red]; two; three" in out
    assert "no SHA-256 to compare" in out


@pytest.mark.parametrize(
    ("content", "code", "text"),
    [
        (None, 2, "Check the path"),
        (b"", 1, "content is something else"),
        (b"hello, this is text", 1, "content is something else"),
        (b"\x1c\x00\x00\x00TFL3", 1, "whole flatbuffer"),
        (b"\xff\xff\xff\xffTFL3" + bytes(100), 1, "whole flatbuffer"),
    ],
    ids=["nothing there", "empty", "text", "cut off", "damaged"],
)
def test_bad_file(
    content: bytes | None, code: int, text: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "model.tflite"
    if content is not None:
        path.write_bytes(content)
    assert run(["inspect", str(path)]) == code
    streams = capfd.readouterr()
    assert streams.out == ""
    assert text in streams.err
    (line,) = streams.err.strip().splitlines()
    assert "Expected" in line
    assert "Received" in line


def test_no_labels_file(tiny_tflite: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["inspect", str(tiny_tflite), "--labels", "nowhere.txt"]) == 2
    assert "Received: nowhere.txt" in capfd.readouterr().err


def test_a_name_steers_no_terminal(tiny_tflite: Path, tmp_path: Path, monkeypatch, capfd) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a\x1b[31m.tflite").write_bytes(tiny_tflite.read_bytes())
    assert run(["inspect", "a\x1b[31m.tflite"]) == 0
    assert capfd.readouterr().out.startswith("a\\x1b[31m.tflite, ")
