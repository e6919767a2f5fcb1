"""The exported app in a real browser: pixels, scores, camera, offline, policy, screens."""

import base64
import io
import json
import os
import re
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms

from pocketlens.card import ModelCard, pack, unpack
from pocketlens.export import export
from pocketlens.runtime import Classifier
from pocketlens.runtime.photos import find_pictures
from pocketlens.runtime.pictures import decode, resize

pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

PHONE, DESKTOP = (390, 844), (1440, 900)
READY_MS = 60_000
# Defines the page's own resizing in the page, which has it only in its worker.
LOAD_PIXELS = """() => new Promise((done, failed) => {
  const script = document.createElement("script");
  script.src = "pixels.js"; script.onload = done; script.onerror = failed;
  document.head.append(script); })"""
# What becomes of picture files, in base64 as they came.
RESIZED = """async ([files, size, mode]) => {
  const resizer = new Resizer(size, mode), results = [];
  for (const file of files) {
    const bytes = Uint8Array.from(atob(file), character => character.charCodeAt(0));
    const bitmap = await createImageBitmap(new Blob([bytes]), { colorSpaceConversion: "none" });
    const target = new Uint8Array(3 * size[0] * size[1]).fill(77);
    resizer.resize(bitmap, target);
    let text = "";
    for (const value of target) text += String.fromCharCode(value);
    results.push(btoa(text));
  }
  return results; }"""
# The scores of picture files, from the page's own worker.
SCORES = """async files => {
  const results = [];
  for (const file of files) {
    const bytes = Uint8Array.from(atob(file), character => character.charCodeAt(0));
    results.push((await classify(await bitmapOf(new Blob([bytes])))).scores);
  }
  return results; }"""

# What the policy has to refuse.
FORBIDDEN = (
    "fetch('https://example.org/')",
    """new Promise((done, failed) => { const image = new Image(); image.onload = done;
    image.onerror = failed; image.src = 'https://example.org/picture.png'; })""",
    """new Promise((done, failed) => { const script = document.createElement('script');
    script.onload = done; script.onerror = failed; script.src = 'data:text/javascript,ran = 1';
    document.head.append(script); })""",
    """new Promise((done, failed) => { const frame = document.createElement('iframe');
    document.addEventListener('securitypolicyviolation', failed); frame.onload = done;
    frame.src = 'https://example.org/'; document.body.append(frame); })""",
)


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def ready(page):
    page.wait_for_function(
        "() => document.getElementById('status').dataset.state === 'ready'", timeout=READY_MS
    )
    return page


def text_of(page, name):
    return page.inner_text(f"#{name}")


def choose(page, path):
    """Choose a photo and wait for its answer."""
    page.evaluate("clear()")
    page.set_input_files("#file", str(path))
    page.wait_for_function("() => document.querySelector('#bars li')")


@pytest.fixture(scope="module")
def five(tiny_models, tmp_path_factory):
    """An app with five files."""
    folder = tmp_path_factory.mktemp("five") / "app"
    export(list(tiny_models.values()), folder, "web")
    return folder


@pytest.fixture(scope="module")
def flowers(shared):
    """Fifty real photos of all classes."""
    return sorted((shared / "data" / "flowers").rglob("*.jpg"))[::20]


@pytest.mark.parametrize("mode", ["stretch", "crop", "pad"])
def test_pixels_are_those_of_training_to_the_last_bit(five, serve, open_page, flowers, mode):
    rng = np.random.default_rng(3)
    sizes = [(97, 53), (96, 96), (192, 192), (193, 385), (50, 40), (1, 1), (3, 500), (640, 480)]
    files = [photo.read_bytes() for photo in flowers[:12]]
    for width, height in sizes:
        buffer = io.BytesIO()
        Image.fromarray(rng.integers(0, 256, (height, width, 3), np.uint8)).save(buffer, "PNG")
        files.append(buffer.getvalue())
    page = ready(open_page(serve(five)))
    page.evaluate(LOAD_PIXELS)
    for width, height in ((96, 96), (224, 160)):
        found = page.evaluate(RESIZED, [list(map(encoded, files)), [width, height], mode])
        for data, text in zip(files, found, strict=True):
            pixels = np.frombuffer(base64.b64decode(text), np.uint8).reshape(height, width, 3)
            np.testing.assert_array_equal(pixels, resize(decode(data), (width, height), mode))


def test_large_photos_are_read_in_bands(five, serve, open_page):
    # More than a band of pixels.js, and an odd number of rows.
    picture = cv2.resize(
        np.random.default_rng(5).integers(0, 256, (30, 40, 3), np.uint8), (2101, 2003)
    )
    data = cv2.imencode(".png", picture, [cv2.IMWRITE_PNG_COMPRESSION, 1])[1].tobytes()
    page = ready(open_page(serve(five)))
    page.evaluate(LOAD_PIXELS)
    (text,) = page.evaluate(RESIZED, [[encoded(data)], [96, 96], "crop"])
    pixels = np.frombuffer(base64.b64decode(text), np.uint8).reshape(96, 96, 3)
    np.testing.assert_array_equal(pixels, resize(decode(data), (96, 96), "crop"))


def with_swapped_primaries(photo):
    """Return a photo whose colour profile calls red green: training takes no notice of profiles."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    swapped = profile.replace(b"rXYZ", b"____").replace(b"gXYZ", b"rXYZ").replace(b"____", b"gXYZ")
    buffer = io.BytesIO()
    Image.open(photo).save(buffer, "JPEG", quality=95, icc_profile=swapped)
    return buffer.getvalue()


def test_unusual_photos(five, serve, open_page, shared, flowers):
    folder = shared / "data" / "awkward_images"
    names = [f"exif_{number}.jpg" for number in range(1, 9)]
    names += ["grayscale.jpg", "gray16.png", "cmyk.jpg", "palette.png", "png_named.jpg"]
    names += ["bmp.bmp", "webp.webp", "animated.gif", "rgba.png", "one_pixel.png", "sliver.png"]
    files = {name: (folder / name).read_bytes() for name in names}
    files["colour profile"] = with_swapped_primaries(flowers[0])
    page = ready(open_page(serve(five)))
    page.evaluate(LOAD_PIXELS)
    found = page.evaluate(RESIZED, [[*map(encoded, files.values())], [96, 96], "stretch"])
    for (name, data), text in zip(files.items(), found, strict=True):
        pixels = np.frombuffer(base64.b64decode(text), np.uint8).reshape(96, 96, 3)
        expected = resize(decode(data), (96, 96))
        np.testing.assert_array_equal(pixels, expected, err_msg=name)


def test_scores_of_five_formats(five, tiny_models, serve, open_page, flowers):
    photos = flowers[::5]
    page = ready(open_page(serve(five)))
    for index, (name, path) in enumerate(tiny_models.items()):
        page.select_option("#model", index=index)
        ready(page)
        assert name in text_of(page, "facts")
        found = page.evaluate(SCORES, [encoded(photo.read_bytes()) for photo in photos])
        with Classifier(path) as classifier:
            for photo, scores in zip(photos, found, strict=True):
                expected = classifier.classify_photo(photo).scores
                np.testing.assert_allclose(scores, expected, atol=0.01, err_msg=name)
    assert page.errors == []


def test_the_label_unknown(unknown_models, serve, open_page, flowers, tiny_photos, tmp_path):
    models = [unknown_models[entry] for entry in ("float32", "int8")]
    export(models, tmp_path / "app", "web")
    page = ready(open_page(serve(tmp_path / "app")))
    with Classifier(models[0]) as classifier:
        # A network this small takes flowers for what it knows, and not all that it knows.
        for photo in sorted(find_pictures(tiny_photos)):
            if classifier.classify_photo(photo).is_unknown:
                break
        for each in (photo, flowers[0]):
            choose(page, each)
            assert text_of(page, "label") == classifier.classify_photo(each).top.label
    choose(page, photo)
    assert text_of(page, "label") == "unknown"


def test_top_one_of_fifty_photos_among_a_thousand_classes(
    elsewhere_model, flowers, serve, open_page, tmp_path
):
    labels = tuple(f"label {index}" for index in range(1001))
    model = tmp_path / "large.tflite"
    flatbuffer = unpack(elsewhere_model.read_bytes()).flatbuffer
    model.write_bytes(pack(flatbuffer, ModelCard("large", labels, (128, 128), format="int8")))
    export([model], tmp_path / "app", "web")
    page = ready(open_page(serve(tmp_path / "app")))
    found = page.evaluate(SCORES, [encoded(photo.read_bytes()) for photo in flowers])
    with Classifier(model) as classifier:
        results = [classifier.classify_photo(photo) for photo in flowers]
    same = [
        int(np.argmax(scores)) == result.top.index
        for scores, result in zip(found, results, strict=True)
    ]
    assert len({result.top.index for result in results}) > 10
    assert sum(same) >= 49
    choose(page, flowers[0])
    assert page.locator("#bars li").count() == 5


def test_check_compares_with_the_computer_that_made_it(five, serve, open_page, tmp_path):
    page = ready(open_page(serve(five)))
    page.click("#check")
    page.get_by_text("The same scores as on the computer").wait_for()
    shutil.copytree(five, tmp_path / "app")
    golden = json.loads((five / "golden.json").read_text("utf-8"))
    for expected in golden["models"].values():
        expected["scores"][0][0] += 0.2
    (tmp_path / "app" / "golden.json").write_text(json.dumps(golden))
    page = ready(open_page(serve(tmp_path / "app")))
    page.click("#check")
    page.get_by_text("they differ by 0.2").wait_for()


def test_code_for_a_page_of_ones_own(five, serve, open_page):
    (code,) = re.findall(r"```js\n(.*?)```", (five / "README.md").read_text("utf-8"), re.DOTALL)
    page = ready(open_page(serve(five)))
    scores = page.evaluate(
        f"async () => {{ const file = await (await fetch('golden_1.png')).blob();\n{code}\n"
        "return scores; }"
    )
    golden = json.loads((five / "golden.json").read_text("utf-8"))
    (expected, *_) = golden["models"].values()
    np.testing.assert_allclose(scores, expected["scores"][1], atol=expected["tolerance"])


@pytest.mark.parametrize("task", ["binary", "multilabel"])
def test_other_tasks(task, task_models, serve, open_page, flowers, tmp_path):
    models = [task_models[task][entry] for entry in ("float32", "int8")]
    export(models, tmp_path / "app", "web")
    page = ready(open_page(serve(tmp_path / "app")))
    with Classifier(models[0]) as classifier:
        for photo in flowers[:2]:
            choose(page, photo)
            result = classifier.classify_photo(photo)
            answers = ", ".join(entry.label for entry in result.answers)
            assert text_of(page, "label") == (answers or "None of the labels")
            shown = [item.split("\n")[0] for item in page.locator("#bars li").all_inner_texts()]
            assert shown == [entry.label for entry in result.categories]
            assert page.locator("#bars li.answered").count() == len(result.answers)


def test_threshold(five, serve, open_page, flowers):
    page = ready(open_page(serve(five)))
    choose(page, flowers[0])
    assert text_of(page, "label") == page.locator("#bars li span").first.inner_text()
    page.evaluate("app.threshold = 1")
    choose(page, flowers[0])
    assert text_of(page, "label") == "Not sure"
    assert text_of(page, "score") == ""
    assert page.locator("#bars li.answered").count() == 0


def test_works_offline_and_asks_no_other_host(five, serve, open_page, flowers):
    url = serve(five)
    page = ready(open_page(url))
    page.get_by_text("This page works offline.").wait_for()
    choose(page, flowers[0])
    before = page.locator("#bars li").all_inner_texts()
    serve.stop()
    page.context.set_offline(True)
    page.reload()
    ready(page)
    choose(page, flowers[0])
    assert page.locator("#bars li").all_inner_texts() == before
    assert all(address.startswith((url, "blob:")) for address in page.requested)
    assert len(page.requested) > 10
    assert page.errors == []


def test_newer_version_takes_the_place_of_the_old(five, task_models, serve, open_page, tmp_path):
    folder = tmp_path / "app"
    shutil.copytree(five, folder)
    page = ready(open_page(serve(folder, plain=True)))
    assert page.inner_text("h1") == "tiny"
    export([task_models["binary"]["int8"]], tmp_path / "new", "web")
    shutil.copytree(tmp_path / "new", folder, dirs_exist_ok=True)
    page.goto(page.url)
    page.wait_for_function("() => document.querySelector('h1').textContent === 'binary'")
    ready(page)
    assert page.evaluate("app.task") == "binary"
    assert len(page.evaluate("caches.keys()")) == 1


def test_policy_holds(five, serve, open_page):
    url = serve(five)
    page = open_page(url)
    response = page.goto(url)
    assert response.headers["content-security-policy"].startswith("default-src 'none'")
    ready(page)
    assert page.errors == []
    for attempt in FORBIDDEN:
        page.evaluate(
            """() => { window.violated = new Promise(done => document.addEventListener(
            "securitypolicyviolation", done, { once: true })); }"""
        )
        refused = page.evaluate(f"() => ({attempt}).then(() => false, () => true)")
        assert refused, attempt
        assert page.evaluate("violated.then(event => event.disposition)") == "enforce", attempt
    assert page.evaluate("window.ran") is None


def test_plain_host_gives_threads_too(five, serve, open_page, flowers):
    page = ready(open_page(serve(five, plain=True)))
    assert page.evaluate("crossOriginIsolated")
    cores = page.evaluate("navigator.hardwareConcurrency")
    assert f"Threads\n{min(4, cores)}" in text_of(page, "facts")
    threaded = page.evaluate(SCORES, [encoded(flowers[0].read_bytes())])
    page = open_page(f"{page.url}?threads=1")
    ready(page)
    assert "Threads\n1" in text_of(page, "facts")
    alone = page.evaluate(SCORES, [encoded(flowers[0].read_bytes())])
    np.testing.assert_allclose(threaded, alone, atol=1e-5)


def test_browser_without_relaxed_simd(five, serve, open_page, tiny_models, flowers, tmp_path):
    folder = tmp_path / "app"
    shutil.copytree(five, folder)
    worker = (folder / "worker.js").read_text("utf-8")
    # No such instruction: what validates as WebAssembly elsewhere does not here.
    worker, count = re.subn(r"253, 128, 2, 11\)", "253, 255, 15, 11)", worker)
    assert count == 1
    (folder / "worker.js").write_text(worker)
    page = ready(open_page(serve(folder)))
    assert "Engine\nSIMD" in text_of(page, "facts")
    assert "Threads\n1" in text_of(page, "facts")
    found = page.evaluate(SCORES, [encoded(flowers[0].read_bytes())])
    with Classifier(tiny_models["float32"]) as classifier:
        expected = classifier.classify_photo(flowers[0]).scores
    np.testing.assert_allclose(found[0], expected, atol=0.01)


def test_what_is_no_picture_and_a_damaged_model(five, serve, open_page, shared, flowers, tmp_path):
    page = ready(open_page(serve(five)))
    page.set_input_files("#file", str(shared / "data" / "awkward_images" / "text_named.jpg"))
    page.locator("#veil", has_text="This browser cannot read text_named.jpg").wait_for()
    assert text_of(page, "label") == "–"
    choose(page, flowers[0])
    assert page.locator("#veil").is_hidden()
    shutil.copytree(five, tmp_path / "app")
    model = tmp_path / "app" / json.loads((five / "app.json").read_text())["models"][0]["file"]
    model.write_bytes(model.read_bytes()[:-1000])
    page = open_page(serve(tmp_path / "app"))
    page.locator("#veil", has_text="is damaged. Load the page again.").wait_for(timeout=READY_MS)
    assert text_of(page, "status") == "Failed"


def test_odd_labels_are_shown_as_text(tiny_tflite, with_card, serve, open_page, flowers, tmp_path):
    labels = (
        '<b>"bold"</b> & \'',
        "\u05e9\u05dc\u05d5\u05dd \N{GRINNING FACE}",
        "long " * 60 + "x",
    )
    model = with_card(tiny_tflite, tmp_path / "m.tflite", labels=labels, name="<i>name</i>")
    export([model], tmp_path / "app", "web")
    page = ready(open_page(serve(tmp_path / "app"), PHONE))
    choose(page, flowers[0])
    shown = page.locator("#bars li span:first-child").all_text_contents()
    assert sorted(shown) == sorted(labels)
    assert page.inner_text("h1") == "<i>name</i>"
    assert page.locator("b, i").count() == 0
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE[0]


def test_keyboard_and_screen_reader(five, serve, open_page, flowers):
    page = ready(open_page(serve(five)))
    reached = []
    for _ in range(4):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.id"))
    assert reached == ["choose", "camera", "model", "check"]
    page.evaluate(
        """() => { window.asked = 0; document.getElementById("file").addEventListener(
        "click", event => { window.asked++; event.preventDefault(); }) }"""
    )
    page.focus("#choose")
    page.keyboard.press("Enter")
    assert page.evaluate("window.asked") == 1
    page.set_input_files("#file", str(flowers[0]))
    page.wait_for_function("() => document.getElementById('spoken').textContent")
    assert text_of(page, "label") == page.text_content("#spoken")
    assert page.get_attribute("#spoken", "aria-live") == "polite"
    assert page.get_attribute("#photo", "alt") == flowers[0].name
    # Dropped and pasted files go the same way as chosen ones.
    page.evaluate(
        """async () => {
        clear();
        const data = new DataTransfer();
        data.items.add(new File([await (await fetch("golden_0.png")).blob()], "dropped.png"));
        document.dispatchEvent(new DragEvent("drop", { dataTransfer: data })); }"""
    )
    page.wait_for_function("() => document.getElementById('photo').alt === 'dropped.png'")
    page.wait_for_function("() => document.querySelector('#bars li')")


@pytest.fixture(scope="module")
def scenes(shared, elsewhere_model):
    """Frames, uint8 (720, 1280, 3), BGR, that a model surely gives different labels, by label."""
    found = {}
    with Classifier(elsewhere_model) as classifier:
        for photo in sorted((shared / "data" / "imagenet_samples").glob("*.jpg")):
            frame_bgr = cv2.resize(cv2.imread(str(photo)), (1280, 720))
            top = classifier.classify(frame_bgr).top
            if top.score > 0.95:
                found.setdefault(top.label, frame_bgr)
            if len(found) == 3:
                break
    return found


def test_camera(scenes, elsewhere_model, launch_chromium, serve, tmp_path):
    video = tmp_path / "camera.y4m"
    with video.open("wb") as stream:
        stream.write(b"YUV4MPEG2 W1280 H720 F5:1 Ip A1:1 C420jpeg\n")
        for frame_bgr in scenes.values():
            frame = cv2.cvtColor(frame_bgr, cv2.COLOR_BGR2YUV_I420).tobytes()
            stream.write((b"FRAME\n" + frame) * 5)
    with Classifier(elsewhere_model) as classifier:
        labels = classifier.labels
    model = tmp_path / "m.tflite"
    flatbuffer = unpack(elsewhere_model.read_bytes()).flatbuffer
    model.write_bytes(pack(flatbuffer, ModelCard("large", labels, (128, 128), format="int8")))
    export([model], tmp_path / "app", "web")
    browser = launch_chromium(
        "--use-fake-ui-for-media-stream",
        "--use-fake-device-for-media-stream",
        f"--use-file-for-fake-video-capture={video}",
    )
    page = browser.new_page()
    page.goto(serve(tmp_path / "app"))
    ready(page).click("#camera")
    page.evaluate(
        """() => { window.shown = []; const label = document.getElementById("label");
        new MutationObserver(() => window.shown.push(label.textContent)).observe(
        label, {childList: true, characterData: true, subtree: true}) }"""
    )
    page.wait_for_function("() => window.shown.length >= 6")
    assert set(page.evaluate("window.shown")) == set(scenes)
    assert text_of(page, "status") == "Live"
    assert "fps" in text_of(page, "figures")
    assert page.evaluate("document.getElementById('video').videoWidth") == 1280
    assert page.locator("#turn").is_hidden()
    page.click("#camera")
    assert text_of(page, "status") == "Ready"
    assert text_of(page, "label") == "–"
    assert page.locator("#video").is_hidden()
    assert page.evaluate("document.getElementById('video').srcObject") is None


def test_other_camera(five, launch_chromium, serve):
    browser = launch_chromium(
        "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream=device-count=2"
    )
    page = browser.new_page()
    page.goto(serve(five))
    ready(page).click("#camera")
    page.click("#turn")
    page.wait_for_function("() => facing === 'user' && document.querySelector('#bars li')")
    assert text_of(page, "status") == "Live"
    # A photo takes the camera's place.
    page.evaluate("async () => openPhoto(await (await fetch('golden_0.png')).blob())")
    page.wait_for_function("() => document.querySelector('#bars li')")
    assert text_of(page, "status") == "Ready"
    assert page.locator("#video").is_hidden()
    assert page.locator("#photo").is_visible()


def test_camera_that_may_not_be_used(five, serve, open_page):
    page = ready(open_page(serve(five)))
    page.click("#camera")
    page.locator(
        "#veil", has_text=re.compile("may not use the camera|There is no camera")
    ).wait_for()
    assert text_of(page, "status") == "Ready"


@pytest.mark.parametrize("size_wh", [PHONE, DESKTOP, (320, 640)], ids=["phone", "desktop", "small"])
def test_it_fits_every_screen_and_can_be_read(
    five, serve, open_page, lowest_contrast, flowers, size_wh
):
    page = ready(open_page(serve(five), size_wh))
    choose(page, flowers[7])
    page.click("#check")
    page.get_by_text("The same scores").wait_for()
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        assert page.evaluate("document.documentElement.scrollWidth") <= size_wh[0]
        if folder := os.environ.get("POCKETLENS_SCREENSHOTS"):
            path = Path(folder) / f"web_{size_wh[0]}_{scheme}.png"
            page.screenshot(path=str(path), full_page=True)
        assert lowest_contrast(page) >= 4.5
