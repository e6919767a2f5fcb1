"""The command and the function behind it, on real files."""

import json
import subprocess
import sys

import pytest

import pocketlens.benchmarks
from pocketlens.benchmarks import benchmark
from pocketlens.benchmarks.latency import Settings
from pocketlens.cli.benchmark import benchmark_command
from pocketlens.cli.main import run
from pocketlens.runtime import Classifier
from pocketlens.runtime.interpreters import BACKENDS

QUICK = ["--num-runs", "2", "--min-secs", "0", "--warmup-runs", "1"]


def test_backends_to_choose_from_are_those_that_there_are():
    (option,) = (entry for entry in benchmark_command.params if entry.name == "backend")
    assert list(option.type.choices) == list(BACKENDS)


def test_exported_names():
    for name in pocketlens.benchmarks.__all__:
        assert getattr(pocketlens.benchmarks, name).__name__ == name
    with pytest.raises(AttributeError, match="nothing_such"):
        pocketlens.benchmarks.nothing_such  # noqa: B018


def test_everything_at_once(tiny_models, tiny_photos, tmp_path, capsys):
    pytest.importorskip("matplotlib", reason="plots need the report extra")
    target, plot, report = tmp_path / "result.json", tmp_path / "plot.png", tmp_path / "report"
    files = [str(tiny_models[key]) for key in ("int8", "float32")]
    arguments = [*files, "--photos", str(tiny_photos), "--threads", "2,1", *QUICK]
    outputs = ["--json", str(target), "--plot", str(plot), "--report", str(report)]
    code = run(["benchmark", *arguments, *outputs, "--sustained", "0.03"])
    printed = capsys.readouterr().out
    assert code == 0
    assert "Use " in printed
    payload = json.loads(target.read_text("utf-8"))
    assert payload["reference"] == tiny_models["float32"].name
    int8, float32 = payload["files"]
    assert float32["accuracy"]["agreement"] == 1.0
    with Classifier(tiny_models["float32"]) as classifier:
        correct = sum(
            classifier.classify_photo(path).top.label == path.parent.name
            for path in tiny_photos.glob("*/*.png")
        )
    assert float32["accuracy"]["correct"] == correct
    assert int8["accuracy"]["total"] == payload["photos"] > 0
    assert int8["size_bytes"] < float32["size_bytes"]
    assert [entry["threads"] for entry in int8["latencies"]] == [1, 2]
    assert float32["latencies"][1]["classify"]["ratio"] == 1.0
    assert int8["partitions"] >= 1
    assert int8["macs"] == float32["macs"] > 1_000_000
    assert int8["parameters"] == float32["parameters"] > 100_000
    for entry in (*int8["latencies"], *float32["latencies"]):
        assert all(value > 0 for value in entry["parts"].values())
        # Medians of parts need not add up, but nearly do.
        share = sum(entry["parts"].values()) / entry["classify"]["median_ms"]
        assert 0.3 < share < 1.7
    assert plot.stat().st_size > 1000
    assert float32["answer_pairs"] is None
    photos = sum(pair["photos"] for pair in int8["answer_pairs"])
    same = [pair for pair in int8["answer_pairs"] if pair["own"] == pair["reference"]]
    assert photos == payload["photos"]
    assert sum(pair["photos"] for pair in same) == round(photos * int8["accuracy"]["agreement"])
    assert payload["sustained"]["file"] == payload["verdict"]["file"]
    assert payload["sustained"]["moments"][-1]["at_s"] >= 1.8
    assert json.loads((report / "benchmark.json").read_text("utf-8")) == payload
    page = (report / "index.html").read_text("utf-8")
    assert payload["verdict"]["sentence"].split(":")[0] in page.replace("<wbr>", "")
    # The JSON alone makes the same page, anywhere.
    assert run(["report", str(target)]) == 0
    made = tmp_path / "result-report" / "index.html"
    assert capsys.readouterr().out == f"Written: {made}\n"
    assert made.read_text("utf-8") == page
    assert run(["report", str(target)]) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert run(["report", str(target), "--overwrite"]) == 0
    assert "without a pause" in printed
    assert "without a pause" in page


def test_run_folder_as_data(tiny_models, tiny_run, capsys):
    arguments = [str(tiny_models["float16"]), "--photos", str(tiny_run), *QUICK, "--json", "-"]
    assert run(["benchmark", *arguments]) == 0
    payload = json.loads(capsys.readouterr().out)
    assert payload["photos"] > 0
    assert payload["files"][0]["format"] == "float16"


def test_photos_may_be_given_as_they_are(tiny_models, tiny_photos):
    from pocketlens.runtime.photos import scan

    results = [
        benchmark([tiny_models["int8"]], data=data, settings=Settings(1, 0, warmup_runs=0))
        for data in (tiny_photos, scan(tiny_photos))
    ]
    assert results[0].files[0].accuracy == results[1].files[0].accuracy
    assert results[0].files[0].accuracy.total == 90


def test_model_from_elsewhere(elsewhere_model, capsys):
    assert run(["benchmark", str(elsewhere_model), *QUICK, "--json", "-"]) == 0
    payload = json.loads(capsys.readouterr().out)
    assert payload["files"][0]["format"] is None
    assert payload["files"][0]["accuracy"] is None


def test_backend_is_the_one_that_is_measured(elsewhere_model, capsys):
    pytest.importorskip("tensorflow", reason="tf.lite is in the train extra")
    assert (
        run(["benchmark", str(elsewhere_model), *QUICK, "--backend", "tf.lite", "--json", "-"]) == 0
    )
    payload = json.loads(capsys.readouterr().out)
    assert payload["machine"]["interpreter"].startswith("tf.lite ")


def test_backend_that_is_not_installed(elsewhere_model, capsys, monkeypatch):
    monkeypatch.setitem(BACKENDS, "tflite-runtime", "no_such_package.interpreter")
    assert run(["benchmark", str(elsewhere_model), *QUICK, "--backend", "tflite-runtime"]) == 1
    assert "Install one: pip install 'pocketlens[tflite]'" in capsys.readouterr().err


def test_same_names_are_told_apart(elsewhere_model, tmp_path, capsys):
    copy = tmp_path / "copy" / elsewhere_model.name
    copy.parent.mkdir()
    copy.write_bytes(elsewhere_model.read_bytes())
    assert run(["benchmark", str(elsewhere_model), str(copy), *QUICK, "--json", "-"]) == 0
    names = [file["name"] for file in json.loads(capsys.readouterr().out)["files"]]
    assert names == [f"models/{elsewhere_model.name}", f"copy/{elsewhere_model.name}"]


def test_an_unusable_file_among_good_ones_is_said_and_the_rest_is_measured(
    elsewhere_model, tmp_path, capsys
):
    text, cut = tmp_path / "text.tflite", tmp_path / "cut.tflite"
    text.write_text("hello")
    content = elsewhere_model.read_bytes()
    cut.write_bytes(content[: len(content) // 2])
    target = tmp_path / "out.json"
    files = [str(path) for path in (text, elsewhere_model, cut)]
    assert run(["benchmark", *files, *QUICK, "--json", str(target)]) == 1
    captured = capsys.readouterr()
    for name in (text.name, cut.name):
        assert f"{name} was left out. " in " ".join(captured.out.split())
    assert "Use mobilenet" in captured.out
    payload = json.loads(target.read_text("utf-8"))
    assert [entry["name"] for entry in payload["left_out"]] == [text.name, cut.name]
    assert [file["name"] for file in payload["files"]] == [elsewhere_model.name]
    # Where nothing is left it is an error, said once.
    assert run(["benchmark", str(text), str(cut), *QUICK]) == 1
    captured = capsys.readouterr()
    assert captured.err.count("Error:") == 1
    assert captured.out == ""


def test_only_plots_import_matplotlib(elsewhere_model):
    code = (
        "import sys; from pocketlens.cli.main import run; "
        f"code = run(['benchmark', {str(elsewhere_model)!r}, *{QUICK!r}]); "
        "heavy = {'matplotlib', 'tensorflow', 'keras', 'sklearn'} & set(sys.modules); "
        "sys.exit(f'{code} {heavy}')"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert answer.stderr.strip().splitlines()[-1] == "0 set()"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        pytest.param([], "MODEL", id="no models"),
        pytest.param(["{model}", "--threads", "0"], "--threads '0'", id="no threads"),
        pytest.param(["{model}", "--threads", "a"], "--threads 'a'", id="letters"),
        pytest.param(["{model}", "--threads", "1,,2"], "--threads '1,,2'", id="gap"),
        pytest.param(["{model}", "--threads", "100000"], "Received: 100000", id="far too many"),
        pytest.param(
            ["{model}", "--num-runs", "0"],
            "Expected --num-runs as a number of 1 or more. Received: 0.",
            id="no runs",
        ),
        pytest.param(["{model}", "{model}"], "more than once", id="twice"),
        pytest.param(["{tmp}/none.tflite"], "none.tflite", id="missing model"),
        pytest.param(["{tmp}"], "a folder", id="folder for a model"),
        pytest.param(["{model}", "--photos", "{tmp}/none"], "nothing there", id="missing data"),
        pytest.param(["{model}", "--photos", "{other}"], "Received: ants", id="other classes"),
        pytest.param(["{model}", "--json", "{taken}"], "--overwrite", id="json exists"),
        pytest.param(["{model}", "--plot", "{taken}"], "--overwrite", id="plot exists"),
        pytest.param(["{model}", "--plot", "{tmp}/plot.txt"], "plot.txt", id="plot's name"),
        pytest.param(["{model}", "--report", "{tmp}"], "not replaced", id="report's folder"),
        pytest.param(
            ["{model}", "--sustained", "-1"],
            "--sustained as a number of 0 or more. Received: -1.",
            id="less than no time",
        ),
        pytest.param(["{model}", "--mean", "1"], "--std", id="mean alone"),
        pytest.param(["{model}", "--labels", "{tmp}/none"], "labels", id="missing labels"),
    ],
)
def test_wrong_calls(elsewhere_model, tmp_path, capsys, monkeypatch, arguments, said):
    if {"--plot", "--report"} & set(arguments):
        pytest.importorskip("matplotlib", reason="pages and plots need the report extra")

    def measured(*_, **__):
        pytest.fail("measured before it complained")

    monkeypatch.setattr("pocketlens.benchmarks.benchmarking.time_in_processes", measured)
    monkeypatch.setattr("pocketlens.benchmarks.benchmarking.measure_footprint", measured)
    taken = tmp_path / "taken.png"
    taken.write_text("precious")
    (tmp_path / "other" / "ants").mkdir(parents=True)
    (tmp_path / "other" / "ants" / "1.png").write_bytes(b"")
    names = {"model": elsewhere_model, "tmp": tmp_path, "taken": taken, "other": tmp_path / "other"}
    code = run(["benchmark", *(argument.format(**names) for argument in arguments)])
    captured = capsys.readouterr()
    assert code == 2
    assert said in captured.err
    assert "Traceback" not in captured.err
    assert captured.out == ""
    assert taken.read_text() == "precious"


def test_data_without_a_readable_photo(elsewhere_model, tmp_path, capsys):
    (tmp_path / "background").mkdir()
    (tmp_path / "background" / "1.png").write_bytes(b"no picture")
    assert run(["benchmark", str(elsewhere_model), "--photos", str(tmp_path), *QUICK]) == 1
    assert "at least one readable photo" in capsys.readouterr().err


def test_no_models_for_the_function():
    with pytest.raises(ValueError, match=r"at least one \.tflite file"):
        benchmark([])
