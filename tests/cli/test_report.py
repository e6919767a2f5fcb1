"""Pages of JSON that commands wrote; what becomes of real JSON is in the commands' own tests."""

import json

import pytest

pytest.importorskip("matplotlib", reason="pages need the report extra")

from pocketlens.cli.main import run


@pytest.mark.parametrize(
    ("content", "said"),
    [
        pytest.param(None, "nothing there", id="missing"),
        pytest.param("{", "not JSON", id="cut off"),
        pytest.param("[]", "other JSON", id="a list"),
        pytest.param({"a": 1}, "other JSON", id="another program's"),
        pytest.param(
            {"schema_version": 5, "files": [], "machine": {}, "verdict": {}},
            "of version 5",
            id="older",
        ),
        pytest.param(
            {"schema_version": 6, "task": "binary", "files": [], "machine": {}, "verdict": {}},
            "nothing usable at files",
            id="damaged",
        ),
        pytest.param({"options": [], "benchmark": None}, "other JSON", id="damaged recommendation"),
    ],
)
def test_others_are_refused_in_one_sentence(tmp_path, capsys, content, said):
    path = tmp_path / "old.json"
    if content is not None:
        path.write_text(content if isinstance(content, str) else json.dumps(content))
    assert run(["report", str(path)]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("Error: Expected ")
    assert said in captured.err
    assert captured.err.count("\n") == 1
    assert not (tmp_path / "old-report").exists()
