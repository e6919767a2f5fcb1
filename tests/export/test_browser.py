"""Folders for the web: what is in them, whatever the labels and the task."""

import hashlib
import json
import re
from pathlib import Path

import pytest

from pocketlens.card import ModelCard, pack, unpack
from pocketlens.errors import ModelFileError, UsageError
from pocketlens.export import browser as litertjs
from pocketlens.export import export
from pocketlens.export.browser import HEADERS
from pocketlens.names import to_labels
from pocketlens.runtime import Classifier

ODD_LABELS = (
    '"quoted" \' & <b>bold</b> @VERSION@ </script>',
    "\u05e9\u05dc\u05d5\u05dd \u202eback\u202c \N{GRINNING FACE}",
    "long " * 199 + "x",
)


def test_folder_of_five_files(
    tiny_models: dict[str, Path], tiny_photos: Path, tmp_path: Path
) -> None:
    out = tmp_path / "app"
    exported = export(list(tiny_models.values()), out, "web", images=tiny_photos)
    app = json.loads((out / "app.json").read_text("utf-8"))
    card = ModelCard.from_json((out / "card.json").read_bytes())
    assert tuple(app["labels"]) == card.labels
    assert (app["task"], app["threshold"]) == (card.task, card.threshold)
    assert (tuple(app["size"]), app["resize_mode"]) == (card.input_size_wh, card.resize_mode)
    assert [entry["format"] for entry in app["models"]] == list(tiny_models)
    golden = json.loads((out / "golden.json").read_text("utf-8"))
    for entry, path in zip(app["models"], tiny_models.values(), strict=True):
        assert (out / entry["file"]).read_bytes() == path.read_bytes()
        assert entry["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
        assert entry["file"] in golden["models"]
        with Classifier(path) as classifier:
            signature = classifier.signature
        assert (entry["input"], entry["output"]) == (signature.input.dtype, signature.output.dtype)
        assert (entry["scale"], entry["zero_point"]) == (
            signature.output.scale,
            signature.output.zero_point,
        )
    texts = {
        name: (out / name).read_text("utf-8")
        for name in exported.sha256
        if Path(name).suffix in (".html", ".js", ".css", ".md") and not name.startswith("litert/")
    }
    assert not [name for name, text in texts.items() if re.search("@[A-Z]+@", text)]
    (first,) = re.findall(r"const FILES = (\[.*\]);", texts["service-worker.js"])
    assert {name.removeprefix("./") or "index.html" for name in json.loads(first)} <= {
        *exported.sha256
    }
    for name, text in texts.items():
        hosts = set(re.findall(r"(?:src|href|url|fetch|importScripts)[=(]+[\"']?https?:", text))
        assert not hosts, name


def test_policy_of_the_page_is_that_of_its_headers(tiny_tflite: Path, tmp_path: Path) -> None:
    export([tiny_tflite], tmp_path / "app", "web")
    page = (tmp_path / "app" / "index.html").read_text("utf-8")
    (policy,) = re.findall('Content-Security-Policy" content="([^"]*)"', page)
    # This one counts in headers only.
    assert HEADERS["content-security-policy"] == f"{policy}; frame-ancestors 'none'"
    assert not re.search("unsafe-(inline|eval)", policy.replace("'wasm-unsafe-eval'", ""))
    assert not re.search(r"<style|style=|<script>|\son\w+=", page)


def test_another_model_is_another_version(tiny_models: dict[str, Path], tmp_path: Path) -> None:
    versions = []
    for name, entry in (("a", "int8"), ("b", "int8"), ("c", "weights8")):
        export([tiny_models[entry]], tmp_path / name, "web")
        text = (tmp_path / name / "service-worker.js").read_text("utf-8")
        versions += re.findall(r"CACHE = `(.*)`", text)
    assert len(versions) == 3
    assert versions[0] == versions[1] != versions[2]


def test_odd_labels_and_name(tiny_tflite: Path, tmp_path: Path, with_card) -> None:
    model = with_card(
        tiny_tflite, tmp_path / "m.tflite", labels=ODD_LABELS, name='<i>"&@POLICY@ \u05e9'
    )
    export([model], tmp_path / "app", "web")
    app = json.loads((tmp_path / "app" / "app.json").read_text("utf-8"))
    assert tuple(app["labels"]) == to_labels(ODD_LABELS)
    page = (tmp_path / "app" / "index.html").read_text("utf-8")
    assert "<title>&lt;i&gt;&quot;&amp;@POLICY@ \u05e9</title>" in page


def test_thousand_classes(elsewhere_model: Path, tmp_path: Path) -> None:
    labels = tuple(f"label {index}" for index in range(1001))
    model = tmp_path / "large.tflite"
    flatbuffer = unpack(elsewhere_model.read_bytes()).flatbuffer
    model.write_bytes(pack(flatbuffer, ModelCard("large", labels, (128, 128), format="int8")))
    export([model], tmp_path / "app", "web")
    app = json.loads((tmp_path / "app" / "app.json").read_text("utf-8"))
    assert tuple(app["labels"]) == labels


def test_resize_modes_may_differ_from_phones_but_not_from_each_other(
    tiny_tflite: Path, tmp_path: Path, with_card
) -> None:
    models = [
        with_card(tiny_tflite, tmp_path / f"{mode}.tflite", resize_mode=mode)
        for mode in ("crop", "pad")
    ]
    export(models[:1], tmp_path / "app", "web")
    assert json.loads((tmp_path / "app" / "app.json").read_text())["resize_mode"] == "crop"
    with pytest.raises(UsageError, match="or resize mode"):
        export(models, tmp_path / "both", "web")


def test_engine_is_the_one_that_was_packed(monkeypatch: pytest.MonkeyPatch) -> None:
    names = set(litertjs.engine_files())
    builds = {f"litert/{name}.{kind}" for name in litertjs.BUILDS for kind in ("js", "wasm")}
    assert names == {"litert/LICENSE", "litert/NOTICE", *builds}
    monkeypatch.setattr(litertjs, "ARCHIVE_SHA256", "0")
    with pytest.raises(ModelFileError, match="Install pocketlens again"):
        litertjs.engine_files()
