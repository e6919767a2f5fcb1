"""The page that starts check, train and convert, in a real browser and with real trainings."""

import json
import signal
from contextlib import ExitStack
from importlib.util import find_spec

import pytest
from timing import wait_for

pytest.importorskip("starlette", reason="the studio extra is not installed")
pytest.importorskip("jinja2", reason="the studio extra is not installed")
if find_spec("tensorflow") is None:
    pytest.skip("training needs the train extra", allow_module_level=True)
import shutil

from studio_project import JOB_MS, make_project, pages_of, start_server, wait_long

from pocketlens.runtime.runs import read_run
from pocketlens.studio.curves import read_epochs
from pocketlens.studio.jobs import Jobs
from pocketlens.studio.names import from_key, to_key
from pocketlens.train.unfinished import UnfinishedRun

DESKTOP, PHONE = (1440, 900), (390, 844)


@pytest.fixture
def project(tmp_path, tiny_photos):
    found = make_project(tmp_path / "shapes", tiny_photos)
    yield found
    jobs = Jobs(found.root)
    running = jobs.running()
    if running:
        jobs.cancel(running, at_once=True)
        wait_for(lambda: not jobs.running())


def look(client, key, from_byte=0, epochs=0):
    return client.get(f"/train/job/{key}?from={from_byte}&epochs={epochs}").json


def end_of(client, key):
    return wait_long(lambda: (now := look(client, key)) and not now["running"] and now)


def filled(client, command, **values):
    """Start a command with the project's settings and what is said beside them."""
    return client.post("/train/start", {"command": command, **values})


def test_the_line_is_what_the_form_means(serve, project):
    client = serve(*pages_of(project))
    assert client.get("/train/line?command=check&strict=on").text == (
        "pocketlens check photos --strict"
    )
    line = client.get("/train/line?command=train&name=my+run&arch=cnn_small&seed=3").text
    assert line.startswith("pocketlens train photos --out 'runs/my run'")
    assert "--arch cnn_small" in line
    assert "--seed 3" in line
    answer = client.get("/train/line?command=train&name=a&arch=resnet")
    assert (answer.status, answer.text[:26]) == (400, "Expected --arch as one of ")
    assert client.get("/train/line?command=convert").text == (
        "Expected a run to convert. Received: none. Train one first."
    )
    assert client.get("/train?command=live").status == 404


def test_from_photos_to_files_in_a_browser(serve, project, open_page, lowest_contrast):
    client = serve(*pages_of(project))
    page = open_page(f"{client.url}train")
    assert page.get_by_text("30 photos: circle 10, cross 10, stripes 10.").is_visible()
    line = page.locator("#form-line")
    page.locator("#form-line", has_text="cnn_small").wait_for()
    # By keys alone.
    page.get_by_label("Name of the run").fill("first")
    page.locator("#form-line", has_text="first").wait_for()
    shown = line.text_content()
    page.get_by_label("Name of the run").press("Enter")
    page.wait_for_url("**job=*")
    assert page.locator("#job-line").text_content() in ("", shown)
    page.locator("#job-state[data-state=live]").wait_for()
    page.get_by_role("button", name="Cancel").wait_for()
    page.get_by_text("train is done.").first.wait_for(timeout=JOB_MS)
    assert page.locator("#job-line").text_content() == shown
    assert "Report: runs/first/report/index.html" in page.locator("#job-log").text_content()
    charts = page.get_by_role("img")
    assert charts.count() == 2
    assert charts.first.get_attribute("aria-label").startswith("Epoch 2: training ")
    assert read_run(project.runs / "first").card.labels == ("circle", "cross", "stripes")
    for size_wh in (DESKTOP, PHONE):
        for scheme in ("light", "dark"):
            other = open_page(page.url, size_wh, scheme)
            other.get_by_text("train is done.").first.wait_for(timeout=JOB_MS)
            assert lowest_contrast(other) >= 4.5
            assert other.errors == []
            assert all(url.startswith((client.url, "data:")) for url in other.requested)
            assert other.evaluate("document.documentElement.scrollWidth") <= size_wh[0]
    page.get_by_role("link", name="Convert it to files").click()
    page.wait_for_url("**command=convert**")
    page.get_by_label("float16").check()
    page.get_by_text("More settings").click()
    page.get_by_label("force").check()
    page.locator("#form-line", has_text="--force").wait_for()
    page.get_by_role("button", name="Convert the run").click()
    page.get_by_text("convert is done.").first.wait_for(timeout=JOB_MS)
    assert [path.name for path in (project.models / "first").iterdir()] == ["first_float16.tflite"]
    assert page.get_by_role("link", name="Try the files").is_visible()
    # What fails says so, in the command's own words.
    page.goto(f"{client.url}train")
    page.get_by_label("Name of the run").fill("first")
    page.get_by_role("button", name="Start the training").click()
    page.get_by_text("train failed (exit code 2).").first.wait_for(timeout=JOB_MS)
    assert (
        "Error: Expected a new folder for the results." in page.locator("#job-log").text_content()
    )
    assert page.errors == []


def test_a_job_outlives_a_killed_server_is_found_by_a_new_one_and_cancelled(
    project, serve, open_page
):
    with ExitStack() as stack:
        server, url = start_server(project.root)
        stack.callback(server.kill)
        page = open_page(f"{url}train")
        page.get_by_label("Name of the run").fill("long")
        page.get_by_label("fine-tune-epochs").fill("3000")
        page.get_by_role("button", name="Start the training").click()
        page.wait_for_url("**job=*")
        page.get_by_role("button", name="Cancel").wait_for()
        server.send_signal(signal.SIGKILL)
        server.wait()
        page.get_by_text("no answer").wait_for()
    client = serve(*pages_of(project))
    key = to_key(Jobs(project.root).running().name)
    # Two servers at once: the other one sees it too, and starts nothing beside it.
    other = serve(*pages_of(project))
    answer = filled(other, "check")
    assert (answer.status, answer.text) == (
        409,
        "pocketlens train already runs in this project. Wait for it, or cancel it.",
    )
    wait_long(lambda: len(look(client, key)["epochs"] or ()) >= 3)
    new = open_page(f"{client.url}train")
    new.get_by_role("img").first.wait_for(timeout=JOB_MS)
    new.get_by_role("button", name="Cancel").click()
    new.get_by_text("train was cancelled.").first.wait_for(timeout=JOB_MS)
    log = new.locator("#job-log").text_content()
    assert "the same command with --resume continues from there." in log
    assert log.rstrip().endswith("Error: Interrupted.")
    assert look(other, key)["state"] == "cancelled"
    # It goes on from there, and is cancelled before it has begun.
    new.get_by_role("button", name="Continue the training").click()
    new.locator("#job-line", has_text="--resume").wait_for()
    job = Jobs(project.root).running()
    assert job.command[-1] == "--resume"
    new.get_by_role("button", name="Cancel").click()
    new.get_by_role("button", name="Kill now").click()
    new.get_by_text("train was cancelled").first.wait_for(timeout=JOB_MS)
    assert UnfinishedRun.of(project.runs / "long").checkpoint.is_file()
    assert new.errors == []


def test_only_what_was_interrupted_goes_on(serve, project):
    client = serve(*pages_of(project))
    key = filled(client, "check").json["job"]
    assert end_of(client, key)["state"] in ("done", "failed")
    answer = client.post("/train/resume", {"key": key})
    assert (answer.status, answer.text[:33]) == (400, "Expected an interrupted training.")
    assert client.post("/train/cancel", {"key": key}).json["state"] in ("done", "failed")
    # The page tells of it afterwards, and of what came before.
    text = client.get("/train").text
    assert f'data-key="{key}"' in text
    assert from_key(key) == Jobs(project.root).all()[0].name


def test_the_log_comes_in_parts(serve, project):
    client = serve(*pages_of(project))
    key = filled(client, "check").json["job"]
    whole = end_of(client, key)
    assert "circle" in whole["log"]
    rest = look(client, key, whole["next"])
    assert (rest["log"], rest["next"], rest["epochs"]) == ("", whole["next"], None)
    assert look(client, key, "-1")["log"] == whole["log"]
    assert look(client, key, "x" * 50)["log"] == whole["log"]


def test_names_are_text_and_no_markup(serve, project, plain_run):
    name = "<img src=x onerror=alert(1)>"
    shutil.copytree(plain_run, project.runs / name)
    client = serve(*pages_of(project))
    for path in ("/train?command=convert", "/runs"):
        text = client.get(path).text
        assert name not in text
        assert "&lt;img" in text


def test_the_history_of_an_earlier_run_is_not_this_one_s(plain_run, tmp_path):
    out = tmp_path / "run"
    shutil.copytree(plain_run, out)
    found = read_epochs(out)
    assert [epoch["epoch"] for epoch in found] == [1, 2, 3, 4]
    assert found[0]["phase"] == "scratch"
    later_s = (out / "history.csv").stat().st_mtime + 1
    assert read_epochs(out, later_s) == []
    # What is written just now, and what is none.
    (out / "history.csv").write_text("phase,epoch,loss\nhead,1,nan\n")
    assert read_epochs(out) == [
        {
            "phase": "head",
            "epoch": 1,
            "loss": None,
            "accuracy": None,
            "val_loss": None,
            "val_accuracy": None,
        }
    ]
    (out / "history.csv").write_bytes(b"phase,epoch\nhead,x\n\xff")
    assert read_epochs(out) == []
    assert json.dumps(found)


def test_the_names_of_phases_are_inside_the_curves(serve, project, open_page):
    page = open_page(f"{serve(*pages_of(project)).url}train")
    outside = page.evaluate(
        """() => {
          const values = { loss: 1, val_loss: 1, accuracy: .5, val_accuracy: .5 };
          const phases = [...Array(60).fill("scratch"), "grid"];
          curves.show(phases.map((phase, epoch) => ({ phase, epoch, ...values })));
          document.getElementById("job").hidden = false;
          const charts = [...document.querySelectorAll(".chart svg")];
          const texts = charts.flatMap(chart => [...chart.querySelectorAll("text")]
            .map(text => [chart.getBoundingClientRect(), text.getBoundingClientRect()]));
          return [charts.length, texts.filter(([chart, text]) =>
            text.right > chart.right + 1 || text.left < chart.left).length];
        }"""
    )
    assert outside == [2, 0]
    assert page.errors == []
