"""The table of architectures: what it says, what it refuses, and how each sees its pixels."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="training needs the train extra")

import keras

from pocketlens.cli.main import run
from pocketlens.errors import UsageError, WeightsError
from pocketlens.runtime.pictures import decode, resize
from pocketlens.train.architectures import ARCHITECTURES
from pocketlens.train.networks import BASE_NAME, NORMALISATION_NAME, build, normalisation
from pocketlens.train.settings import Settings

# The first layer of the last two stages.
FIRST_TRAINED = {
    "mobilenet_v2": "block_6_expand",
    "mobilenet_v3_small": "expanded_conv_3_expand",
    "mobilenet_v3_large": "expanded_conv_6_expand",
    "efficientnet_b0": "block4a_expand_conv",
    "resnet50": "conv4_block1_1_conv",
    "vgg16": "block4_conv1",
    "cnn_small": "stage3_conv",
    "cnn_deep": "stage3_1_conv",
}
# What keras.applications calls the normalisations of the published weights.
PREPROCESS_MODES = {
    "mobilenet_v2": "tf",
    "mobilenet_v3_small": "tf",
    "mobilenet_v3_large": "tf",
    "efficientnet_b0": "torch",
    "resnet50": "caffe",
    "vgg16": "caffe",
    "inception_v3": "tf",
}


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_table_is_what_is_built(arch: str) -> None:
    architecture = ARCHITECTURES[arch]
    network = build(3, Settings(arch=arch, image_size=architecture.min_image_size, weights="none"))
    base = network.get_layer(BASE_NAME)
    width = next(width for width in architecture.widths if width.alpha == 1.0)
    assert base.count_params() == width.parameters
    first = base.layers[-architecture.fine_tune_layers]
    if arch == "inception_v3":
        # Keras numbers its layers; the third size begins behind the third block.
        assert base.layers[-architecture.fine_tune_layers - 1].name == "mixed2"
    else:
        assert first.name == FIRST_TRAINED[arch]
    # The normalisation is there once: whatever is in the base, it is none.
    kinds = (keras.layers.Rescaling, keras.layers.Normalization, keras.layers.Lambda)
    assert not [layer.name for layer in base.layers if isinstance(layer, kinds)]


@pytest.mark.parametrize("arch", PREPROCESS_MODES)
def test_normalisation_is_the_publishers(arch: str, shared: Path) -> None:
    photo = next((shared / "data" / "flowers" / "roses").iterdir())
    pixels = resize(decode(photo), (64, 48))[None].astype(np.float32)
    layer = normalisation(ARCHITECTURES[arch].normalisation)
    assert layer.name == NORMALISATION_NAME
    mode = PREPROCESS_MODES[arch]
    expected = keras.applications.imagenet_utils.preprocess_input(pixels.copy(), mode=mode)
    np.testing.assert_allclose(layer(pixels), expected, atol=1e-3)
    own = getattr(keras.applications, arch, None)
    if own:
        np.testing.assert_allclose(layer(pixels), own.preprocess_input(pixels.copy()), atol=1e-3)


def test_defaults_follow_the_architecture() -> None:
    assert Settings().image_size == 224
    assert Settings(arch="inception_v3").image_size == 299
    assert Settings(arch="resnet50").fine_tune_layers == 94
    assert Settings(arch="resnet50").weights == "imagenet"
    assert Settings(arch="cnn_small").weights == "none"
    assert not Settings(arch="cnn_deep").pretrained


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"arch": "inception_v3", "image_size": 64}, "75 to 1024 pixels for inception_v3"),
        ({"arch": "resnet50", "image_size": 31}, "32 to 1024 pixels for resnet50"),
        ({"arch": "vgg16", "alpha": 0.5}, "no --alpha for vgg16"),
        ({"arch": "cnn_deep", "weights": "imagenet"}, "--weights none or an earlier run"),
        ({"arch": "alexnet"}, "--arch alexnet"),
    ],
    ids=lambda value: value.get("arch") if isinstance(value, dict) else "",
)
def test_what_an_architecture_cannot_take(change: dict[str, object], text: str) -> None:
    with pytest.raises(UsageError, match=text) as caught:
        Settings(**change)  # type: ignore[arg-type]
    assert "Received" in str(caught.value)


@pytest.mark.parametrize("arch", PREPROCESS_MODES)
def test_weights_that_cannot_be_downloaded(arch: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: object, **__: object) -> None:
        raise OSError("name resolution failed")

    monkeypatch.setattr(keras.applications, ARCHITECTURES[arch].application, unreachable)
    with pytest.raises(WeightsError, match=f"ImageNet weights of {arch}") as caught:
        build(2, Settings(arch=arch))
    assert "--weights none" in str(caught.value)


def test_alpha_without_published_weights() -> None:
    with pytest.raises(UsageError, match=r"mobilenet_v3_small .*\(0\.75, 1\.0\)"):
        Settings(arch="mobilenet_v3_small", alpha=0.5)


def test_weights_of_the_usual_size_do_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """MobileNetV2 1.3 was published at 224 pixels only."""
    made = []
    original = keras.applications.MobileNetV2

    def record(**options: object) -> keras.Model:
        made.append((options["input_shape"], options["weights"]))
        return original(**{**options, "weights": None})

    monkeypatch.setattr(keras.applications, "MobileNetV2", record)
    network = build(2, Settings(alpha=1.3, image_size=96))
    assert network.input_shape == (None, 96, 96, 3)
    assert made == [((224, 224, 3), "imagenet"), ((96, 96, 3), None)]


def test_list_architectures(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["train", "--list-architectures"]) == 0
    printed = capsys.readouterr().out
    lines = printed.splitlines()
    for architecture in ARCHITECTURES.values():
        assert any(line.startswith(architecture.name) for line in lines)
        assert architecture.source in printed
    vgg = next(line for line in lines if line.startswith("vgg16")).split()
    assert vgg == ["vgg16", "224", "14.71", "M", "58.9", "138.36", "M", "553.4", "71.3%", "[3]"]
    assert max(map(len, lines)) <= 100
