"""`convert` of the network in full size: published work, sizes, answers on unseen photos."""

import shutil
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="conversion needs the train extra")

import keras

from pocketlens.convert import Demands, convert
from pocketlens.convert.encoders import mixed_recipe
from pocketlens.runtime import Classifier
from pocketlens.runtime.inspection import inspect
from pocketlens.runtime.model_files import read_model_file
from pocketlens.runtime.pictures import decode, resize
from pocketlens.train import Settings, train

# All in one process, so that it is trained once.
pytestmark = [pytest.mark.networks, pytest.mark.xdist_group("full_size")]


@pytest.fixture(scope="module")
def flower_run(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short training of the full-size network on 40 real photos a class."""
    home = tmp_path_factory.mktemp("flowers")
    for folder in sorted((shared / "data" / "flowers").iterdir()):
        (home / "photos" / folder.name).mkdir(parents=True)
        for path in sorted(folder.iterdir())[:40]:
            shutil.copy(path, home / "photos" / folder.name / path.name)
    name = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5"
    weights = shared / "weights" / "keras" / "models" / name
    settings = Settings(
        weights=str(weights),
        head_epochs=8,
        fine_tune_epochs=1,
        grid_epochs=1,
        batch_size=16,
        unknown="off",
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("POCKETLENS_CACHE", str(home / "cache"))
        train(home / "photos", home / "run", settings)
    return home / "run"


@pytest.fixture(scope="module")
def flower_models(flower_run: Path) -> dict[str, Path]:
    files = convert(
        flower_run, flower_run.parent / "models", samples=50, demands=Demands(force=True)
    )
    return {file.format: file.path for file in files}


def test_work_is_the_published_one(flower_models: dict[str, Path]) -> None:
    """Sandler et al. 2018, table 4: 300 million multiply-adds with a head of 1,000 classes."""
    inspection = inspect(flower_models["int8"])
    head = 1280 * (1000 - 5)
    assert sum(inspection.macs.values()) + head == pytest.approx(300e6, rel=0.005)
    # Keras counts 3,538,984 parameters with that head, 3 * 17,056 of which fold away.
    assert inspection.parameters + head + 995 == 3_538_984 - 3 * 17_056


def test_sizes(flower_models: dict[str, Path]) -> None:
    sizes = {entry: path.stat().st_size for entry, path in flower_models.items()}
    for entry, most in (("float16", 0.51), ("dynamic", 0.30), ("weights8", 0.30), ("int8", 0.30)):
        assert sizes[entry] <= most * sizes["float32"], entry


def test_float32_scores_are_keras_scores(
    flower_run: Path, flower_models: dict[str, Path], shared: Path
) -> None:
    photos = sorted((shared / "data" / "flowers").rglob("*.jpg"))[::10]
    assert len(photos) == 100
    model = keras.models.load_model(flower_run / "model.keras", compile=False)
    with Classifier(flower_models["float32"]) as classifier:
        pixels = [resize(decode(path), classifier.size_wh) for path in photos]
        ours = np.stack([classifier.scores(entry) for entry in pixels])
    theirs = model.predict(np.stack(pixels).astype(np.float32), verbose=0)
    assert np.abs(ours - theirs).max() < 1e-4


@pytest.mark.parametrize(
    ("entry", "least"),
    [("float16", 0.98), ("weights8", 0.98), ("dynamic", 0.96), ("int8", 0.93)],
)
def test_formats_agree_on_unseen_photos(
    flower_models: dict[str, Path], shared: Path, entry: str, least: float
) -> None:
    photos = [
        path
        for folder in (shared / "data" / "flowers").iterdir()
        for path in sorted(folder.iterdir())[100:130]
    ]
    with (
        Classifier(flower_models["float32"]) as reference,
        Classifier(flower_models[entry]) as classifier,
    ):
        same = sum(
            reference.classify_photo(path).top.index == classifier.classify_photo(path).top.index
            for path in photos
        )
    assert same / len(photos) >= least


def test_dynamic_calculates_in_int8_only_where_it_pays(flower_models: dict[str, Path]) -> None:
    flatbuffer = read_model_file(flower_models["float32"]).flatbuffer
    recipe = mixed_recipe(flatbuffer)
    dynamic = [entry for entry in recipe if entry["op_config"]["compute_precision"] == "INTEGER"]
    assert 20 <= len(dynamic) <= 32
    assert all(entry["operation"] == "CONV_2D" for entry in dynamic)
