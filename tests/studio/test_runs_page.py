"""The page of all runs, and the comparison of two: really made, in a real browser."""

import json
import shutil
from importlib.util import find_spec

import pytest
from timing import wait_for

pytest.importorskip("starlette", reason="the studio extra is not installed")
pytest.importorskip("jinja2", reason="the studio extra is not installed")
from studio_project import JOB_MS, make_project, pages_of

from pocketlens.studio.jobs import Jobs
from pocketlens.studio.names import to_key
from pocketlens.studio.runs_page import REPORT_POLICY

DESKTOP, PHONE = (1440, 900), (390, 844)


@pytest.fixture
def project(tmp_path, tiny_photos, plain_run, unknown_run, tiny_models):
    """Two runs whose photos are there, and two files."""
    found = make_project(tmp_path / "shapes", tiny_photos, each=30)
    for run in (plain_run, unknown_run):
        shutil.copytree(run, found.runs / run.name)
        split = found.runs / run.name / "split.json"
        values = json.loads(split.read_text("utf-8"))
        split.write_text(json.dumps({**values, "photos": "../../photos"}))
    (found.models / "tiny").mkdir()
    for name in ("int8", "float32"):
        shutil.copy(tiny_models[name], found.models / "tiny")
    return found


def test_runs_stand_side_by_side_with_what_differed(serve, project):
    client = serve(*pages_of(project))
    text = client.get("/runs").text
    for name in ("plain", "unknown"):
        assert f'<th scope="row">{name}</th>' in text
        assert f"/runs/report/{to_key(f'runs/{name}')}" in text
        assert f"/train?command=convert&amp;model={to_key(f'runs/{name}')}" in text
    assert '<th scope="col">labels</th>' in text
    assert "58 / 11 / 21" in text
    # What is the same in both is left out.
    assert '<th scope="col">image_size</th>' not in text
    # The newest may replace the one before.
    assert '<select id="model-a" name="a">' in text
    assert text.count("<optgroup") == 4


def test_without_runs_it_says_how_to_get_one(serve, tmp_path, tiny_photos):
    client = serve(*pages_of(make_project(tmp_path / "new", tiny_photos, each=1)))
    text = client.get("/runs").text
    assert "There is no run yet." in text
    assert "<select" not in text


def test_a_run_that_is_damaged_is_named_beside_the_others(serve, project):
    (project.runs / "plain" / "split.json").write_text("[")
    text = serve(*pages_of(project)).get("/runs").text
    assert "plain is left out." in text
    assert '<th scope="row">unknown</th>' in text


def test_a_report_runs_no_script_and_reaches_nothing(serve, project, open_page):
    report = project.runs / "plain" / "report" / "index.html"
    mark = "<script>document.title = 'run'</script><img src='/session'>"
    report.write_text(report.read_text("utf-8") + mark)
    client = serve(*pages_of(project))
    answer = client.get(f"/runs/report/{to_key('runs/plain')}")
    assert answer.headers["content-security-policy"] == REPORT_POLICY
    page = open_page(f"{client.url}runs")
    page.get_by_role("row", name="plain").get_by_role("link", name="report").click()
    page.get_by_role("heading").first.wait_for()
    assert page.title() != "run"
    assert page.evaluate("getComputedStyle(document.body).maxWidth") != "none"
    # A run that has none says so.
    report.unlink()
    assert client.get(f"/runs/report/{to_key('runs/plain')}").status == 404
    assert f"/runs/report/{to_key('runs/plain')}" not in client.get("/runs").text


def test_two_files_are_compared_in_the_browser(serve, project, open_page, lowest_contrast):
    client = serve(*pages_of(project))
    page = open_page(f"{client.url}runs")
    page.get_by_label("A, what there is").select_option(label="tiny_float32.tflite")
    page.get_by_label("B, what might replace it").select_option(label="tiny_float32.tflite")
    page.get_by_role("button", name="Compare").click()
    # The same twice is none.
    page.get_by_text("Expected two different models.").wait_for()
    page.go_back()
    page.get_by_label("A, what there is").select_option(label="tiny_float32.tflite")
    page.get_by_label("B, what might replace it").select_option(label="tiny_int8.tflite")
    page.get_by_role("button", name="Compare").click()
    page.get_by_text("These two were not compared yet.").wait_for()
    page.get_by_role("button", name="Compare", exact=True).click()
    # It fails in the command's own words: nothing says where the test photos of these are.
    page.get_by_text("compare failed").first.wait_for(timeout=JOB_MS)
    assert "Error: " in page.locator("#job-log").text_content()
    for name in "ab":
        assert client.get(f"/runs/compare?{name}=x").status == 404
    assert page.errors == []


def test_two_files_are_compared_on_a_folder_of_the_project(serve, project, tiny_photos, open_page):
    for folder in tiny_photos.iterdir():
        (project.root / "held" / folder.name).mkdir(parents=True)
        for photo in sorted(folder.iterdir())[-3:]:
            shutil.copy(photo, project.root / "held" / folder.name)
    client = serve(*pages_of(project))
    page = open_page(f"{client.url}runs")
    choice = page.get_by_label("Photos", exact=True)
    folders = ["test photos of both", "held/", "photos/"]
    assert choice.locator("option").all_inner_texts() == folders
    page.get_by_label("A, what there is").select_option(label="tiny_float32.tflite")
    page.get_by_label("B, what might replace it").select_option(label="tiny_int8.tflite")
    choice.select_option(label="held/")
    page.get_by_role("button", name="Compare").click()
    page.get_by_text("It takes the photos in held/").wait_for()
    page.get_by_role("button", name="Compare", exact=True).click()
    page.locator(".verdict").wait_for(timeout=JOB_MS)
    assert "of 9 photos" in page.locator(".verdict").inner_text()
    assert "on held/" in page.get_by_role("heading", level=1).inner_text()
    # What is chosen stays when others are, and the test photos are another comparison.
    page.get_by_role("link", name="Choose others").click()
    assert choice.locator("option:checked").inner_text() == "held/"
    models = {
        name: to_key(f"models/tiny/tiny_{kind}.tflite")
        for name, kind in (("a", "float32"), ("b", "int8"))
    }
    path = "/runs/compare?a={a}&b={b}".format(**models)
    assert "were not compared yet" in client.get(path).text
    for name in ("inbox", "runs/plain", "..", "/tmp", ".studio"):
        assert client.get(f"{path}&data={to_key(name)}").status == 404, name
        wrong = client.post("/runs/compare/start", {**models, "data": to_key(name)})
        assert wrong.status == 404
    assert page.errors == []


def test_two_runs_are_compared_and_the_comparison_stays(serve, project, open_page, lowest_contrast):
    if find_spec("tensorflow") is None:
        pytest.skip("training needs the train extra")
    client = serve(*pages_of(project))
    a, b = (to_key(f"runs/{name}") for name in ("plain", "unknown"))
    url = client.post("/runs/compare/start", {"a": a, "b": b}).json["url"]
    page = open_page(client.url + url[1:])
    # The page loads itself anew when it is done.
    page.get_by_role("heading", name="Photos that changed").wait_for(timeout=JOB_MS)
    text = page.locator("main").inner_text()
    assert "unknown cannot be told apart from plain" in text or "than plain" in text
    assert "McNemar's p" in text
    assert "of 21 photos" in text
    for size_wh in (DESKTOP, PHONE):
        for scheme in ("light", "dark"):
            other = open_page(page.url, size_wh, scheme)
            assert other.get_by_role(
                "heading", name="By class, the largest loss first"
            ).is_visible()
            assert lowest_contrast(other) >= 4.5
            assert other.errors == []
            assert other.evaluate("document.documentElement.scrollWidth") <= size_wh[0]
    # A newer run makes the comparison old, and one that is damaged is made again.
    Jobs(project.root)
    (project.runs / "unknown" / "model.keras").touch()
    assert "newer than this comparison" in client.get(url).text
    found = next((project.root / ".studio" / "compared").glob("*/comparison.json"))
    found.write_text("{}")
    assert "cannot be read. Make it again." in client.get(url).text
    wait_for(lambda: Jobs(project.root).running() is None)
