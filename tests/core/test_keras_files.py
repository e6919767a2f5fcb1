"""`.keras` files that are out for harm: refused before anything of them runs."""

import io
import json
import os
import pickle
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pocketlens import keras_files
from pocketlens.errors import ModelFileError
from pocketlens.keras_files import load_keras_model

keras = pytest.importorskip("keras", reason="loading Keras models needs the train extra")
h5py = pytest.importorskip("h5py", reason="comes with Keras")


@keras.saving.register_keras_serializable("hostile")
class Writer(keras.layers.Layer):
    """Writes a file as soon as it is made, as any custom object might."""

    def __init__(self, target: str, **options: Any) -> None:
        super().__init__(**options)
        self.target = target
        Path(target).write_text("was here")

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "target": self.target}


def small_model(*more: Any) -> Any:
    return keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            keras.layers.Conv2D(4, 3),
            *more,
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(2, "softmax"),
        ]
    )


@pytest.fixture(scope="module")
def harmless(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("keras") / "model.keras"
    model = small_model()
    # Neither the loss nor the metric is made: they belong to training.
    model.compile("adam", loss=lambda truth, scores: scores, metrics=["accuracy"])
    model.save(path)
    return path


def rewritten(
    path: Path,
    target: Path,
    change: Callable[[dict[str, Any]], object] = lambda config: None,
    **more: bytes,
) -> Path:
    """Write a model again with a changed configuration and other or more files."""
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(files["config.json"])
    change(config)
    files["config.json"] = json.dumps(config).encode()
    with zipfile.ZipFile(target, "w") as archive:
        for name, content in {**files, **more}.items():
            archive.writestr(name, content)
    return target


def layer(name: str, values: dict[str, Any], module: str = "keras.layers") -> dict[str, Any]:
    return {"module": module, "class_name": name, "config": values, "registered_name": None}


def added(entry: dict[str, Any]) -> Callable[[dict[str, Any]], object]:
    return lambda config: config["config"]["layers"].insert(2, entry)


def weights(fill: Callable[[Any], object]) -> bytes:
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        fill(file)
    return buffer.getvalue()


def test_harmless_model_is_loaded(harmless: Path) -> None:
    pixels = np.random.default_rng(0).random((2, 8, 8, 3), np.float32)
    ours = load_keras_model(harmless)
    theirs = keras.models.load_model(harmless, compile=False)
    np.testing.assert_array_equal(ours.predict(pixels), theirs.predict(pixels))


def test_models_with_operations_and_layers_of_their_own_are_loaded(tmp_path: Path) -> None:
    model = keras.applications.MobileNetV3Small((32, 32, 3), weights=None, classes=2)
    model.save(tmp_path / "model.keras")
    assert load_keras_model(tmp_path / "model.keras").count_params() == model.count_params()


def test_lambda_with_code(tmp_path: Path) -> None:
    victim = tmp_path / "victim"

    def payload(values: Any) -> Any:
        victim.write_text("was here")
        return values

    path = tmp_path / "model.keras"
    small_model(keras.layers.Lambda(lambda values: payload(values))).save(path)
    victim.unlink()
    with pytest.raises(ModelFileError, match=r"Received: keras\.layers\.Lambda"):
        load_keras_model(path)
    assert not victim.exists()


def test_registered_class_does_not_run(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    path = tmp_path / "model.keras"
    small_model(Writer(str(victim))).save(path)
    victim.unlink()
    with pytest.raises(ModelFileError, match="registered as hostile>Writer"):
        load_keras_model(path)
    assert not victim.exists()
    # What it is kept from: Keras's safe mode lets it write.
    keras.models.load_model(path, compile=False, safe_mode=True)
    assert victim.exists()


@pytest.mark.parametrize(
    ("entry", "named"),
    [
        (layer("function", "system", "os"), "os.function"),  # type: ignore[arg-type]
        (layer("Popen", {"args": "id"}, "subprocess"), "subprocess.Popen"),
        (layer("get_file", {"fname": "a"}, "keras.utils"), "keras.utils.get_file"),
        (layer("TorchModuleWrapper", {"module": "gASVCg=="}), "keras.layers.TorchModuleWrapper"),
        (layer("TFSMLayer", {"filepath": "/tmp/saved"}), "keras.layers.TFSMLayer"),
        (layer("StringLookup", {"vocabulary": "/etc/passwd"}), "keras.layers.StringLookup"),
        (layer("Dense", {"units": 2}) | {"registered_name": "hostile>Writer"}, "hostile>Writer"),
        ({"class_name": "Lambda", "config": {"function": ["x", None, None]}}, "no module.Lambda"),
        (layer("TimeDistributed", {"layer": layer("Lambda", {})}), "Lambda|TimeDistributed"),
        (layer("Dense", {"units": {"class_name": "__lambda__", "config": {}}}), "__lambda__"),
        (layer("Dense", {"units": 2}, "keras.src.layers.core.lambda_layer"), "lambda_layer"),
        ({"class_name": ["Dense"], "config": {}}, "Dense"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_may_not_be_made(
    harmless: Path, tmp_path: Path, entry: dict[str, Any], named: str
) -> None:
    path = rewritten(harmless, tmp_path / "model.keras", added(entry))
    with pytest.raises(ModelFileError, match=rf"Expected .* Received: .*({named})"):
        load_keras_model(path)


@pytest.mark.parametrize(
    "name", ["../../outside.txt", "/outside.txt", "assets/../../outside.txt", "assets/vocab.txt"]
)
def test_other_files_in_the_archive(harmless: Path, tmp_path: Path, name: str) -> None:
    place = tmp_path / "deep" / "deeper"
    place.mkdir(parents=True)
    path = rewritten(harmless, place / "model.keras", **{name: b"was here"})
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ModelFileError, match="an archive that also has"):
        load_keras_model(path)
    assert sorted(tmp_path.rglob("*")) == before
    assert not Path("/outside.txt").exists()


def test_the_same_name_twice(harmless: Path, tmp_path: Path) -> None:
    path = Path(shutil.copy(harmless, tmp_path / "model.keras"))
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("config.json", "{}")
    with pytest.raises(ModelFileError, match="a file twice"):
        load_keras_model(path)


def test_bomb(harmless: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "model.keras"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("config.json", bytes(50 << 20))
    assert path.stat().st_size < 1 << 20
    monkeypatch.setattr(keras_files, "MOST_BYTES", 1 << 20)
    with pytest.raises(ModelFileError, match="when opened"):
        load_keras_model(path)


@pytest.mark.parametrize(
    ("fill", "what"),
    [
        (lambda file: file.__setitem__("a", h5py.ExternalLink("other.h5", "b")), "a link"),
        (lambda file: file.__setitem__("a", h5py.SoftLink("/b")), "a link"),
        (
            lambda file: file.create_dataset(
                "a", (4,), "u1", external=[("/etc/hostname", 0, h5py.h5f.UNLIMITED)]
            ),
            "in another file",
        ),
        (lambda file: file.create_dataset("a", (1 << 40,), "f4", chunks=(1024,)), "weights of"),
    ],
    ids=["external link", "soft link", "external storage", "shape bomb"],
)
def test_weights_that_lead_elsewhere(
    harmless: Path, tmp_path: Path, fill: Callable[[Any], object], what: str
) -> None:
    path = rewritten(harmless, tmp_path / "model.keras", **{"model.weights.h5": weights(fill)})
    with pytest.raises(ModelFileError, match=what):
        load_keras_model(path)


class Bomb:
    def __init__(self, victim: Path) -> None:
        self.victim = victim

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.victim}",)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("suffix", [".keras", ".pkl"])
def test_pickle(tmp_path: Path, suffix: str, protocol: int) -> None:
    victim = tmp_path / "victim"
    path = tmp_path / f"model{suffix}"
    path.write_bytes(pickle.dumps(Bomb(victim), protocol))
    with pytest.raises(ModelFileError, match="a pickle" if protocol >= 2 else "not a zip"):
        load_keras_model(path)
    assert not victim.exists()
    pickle.loads(path.read_bytes())
    assert victim.exists()


@pytest.mark.parametrize("suffix", [".keras", ".h5", ".hdf5"])
def test_hdf5(tmp_path: Path, suffix: str) -> None:
    small_model().save(tmp_path / "model.h5")
    path = (tmp_path / "model.h5").rename(tmp_path / f"copy{suffix}")
    with pytest.raises(ModelFileError, match="an HDF5 file"):
        load_keras_model(path)


def test_folder_with_a_configuration(harmless: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(harmless) as archive:
        archive.extractall(tmp_path / "model.keras")
    with pytest.raises(ModelFileError, match="Received: a folder"):
        load_keras_model(tmp_path / "model.keras")


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "not a zip"),
        (b"hello", "not a zip"),
        (b"[" * 100_000 + b"]" * 100_000, "recursion"),
        (b"[]", "not a model"),
        (b'{"class_name": "Dense"}', "not a model"),
    ],
    ids=["empty", "text", "deep", "list", "not a model"],
)
def test_no_model(harmless: Path, tmp_path: Path, content: bytes, what: str) -> None:
    path = tmp_path / "model.keras"
    if what == "not a zip":
        path.write_bytes(content)
    else:
        rewritten(harmless, path, **{"config.json": content})
    with pytest.raises(ModelFileError, match=what):
        load_keras_model(path)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="nothing there"):
        load_keras_model(tmp_path / "model.keras")


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_cut_file(harmless: Path, tmp_path: Path, share: float) -> None:
    data = harmless.read_bytes()
    (tmp_path / "model.keras").write_bytes(data[: int(len(data) * share)])
    with pytest.raises(ModelFileError, match="Received"):
        load_keras_model(tmp_path / "model.keras")
