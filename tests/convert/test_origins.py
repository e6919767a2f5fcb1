"""Third-party models: what is taken, with the same answers, and what is refused."""

import re
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="conversion needs the train extra")

import keras
import tensorflow as tf

from pocketlens.convert.flatbuffers import pack_model, unpack_model
from pocketlens.convert.graphs import trace_function
from pocketlens.convert.origins import picture_size, read_origin
from pocketlens.errors import LabelsError, ModelFileError, UsageError
from pocketlens.runtime import Classifier
from pocketlens.runtime.hints import ModelHints

SIZE = 32
PIXELS = np.random.default_rng(5).integers(0, 256, (3, SIZE, SIZE, 3), dtype=np.uint8)


def network(*, inside: bool = False, channels: int = 3, size: int | None = SIZE) -> keras.Model:
    """A small network whose scores differ from picture to picture."""
    keras.utils.set_random_seed(1)
    pixels = keras.Input((size, size, channels))
    x = keras.layers.Rescaling(1 / 127.5, -1.0)(pixels) if inside else pixels
    x = keras.layers.Conv2D(8, 3, strides=2)(x)
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.ReLU()(x))
    return keras.Model(pixels, keras.layers.Dense(3, activation="softmax")(x))


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    path = tmp_path / "labels.txt"
    path.write_text("a\nb\nc\n")
    return path


def normalised_scores(model: keras.Model) -> np.ndarray:
    return model.predict(PIXELS / np.float32(127.5) - 1, verbose=0)


def saved(model: keras.Model, folder: Path, kind: str) -> Path:
    """Save a model as one of the kinds that `convert` reads."""
    if kind == "keras":
        path = folder / "model.keras"
        model.save(path)
    elif kind == "SavedModel":
        path = folder / "exported"
        model.export(path, verbose=False)
    else:
        path = folder / "model.tflite"
        function = trace_function(model, (SIZE, SIZE), 1.0, 0.0).pixels
        path.write_bytes(tf.lite.TFLiteConverter.from_concrete_functions([function]).convert())
    return path


@pytest.mark.parametrize("kind", ["keras", "SavedModel", "tflite"])
def test_described_model_gives_its_own_scores(kind: str, labels: Path, tmp_path: Path) -> None:
    model = network()
    path = saved(model, tmp_path, kind)
    origin = read_origin(path, ModelHints(labels, 127.5, 127.5, resize_mode="crop"))
    assert origin.card.labels == ("a", "b", "c")
    assert origin.card.input_size_wh == (SIZE, SIZE)
    assert origin.card.resize_mode == "crop"
    np.testing.assert_allclose(origin.scores(PIXELS), normalised_scores(model), atol=1e-5)


def test_float_file_takes_raw_pixels(labels: Path, tmp_path: Path) -> None:
    model = network()
    path = saved(model, tmp_path, "tflite")
    origin = read_origin(path, ModelHints(labels, 127.5, 127.5))
    raw = tmp_path / "raw.tflite"
    raw.write_bytes(origin.float_model().float32())
    with Classifier(raw, hints=ModelHints(mean=0.0, std=1.0)) as classifier:
        scores = np.stack([classifier.scores(one) for one in PIXELS])
    np.testing.assert_allclose(scores, normalised_scores(model), atol=1e-5)


def test_normalisation_inside_needs_no_description(labels: Path, tmp_path: Path) -> None:
    model = network(inside=True)
    origin = read_origin(saved(model, tmp_path, "keras"), ModelHints(labels))
    expected = model.predict(PIXELS.astype(np.float32), verbose=0)
    np.testing.assert_allclose(origin.scores(PIXELS), expected, atol=1e-6)


def test_any_size_needs_one(labels: Path, tmp_path: Path) -> None:
    path = saved(network(inside=True, size=None), tmp_path, "keras")
    with pytest.raises(UsageError, match="--image-size"):
        read_origin(path, ModelHints(labels))
    assert read_origin(path, ModelHints(labels, image_size=48)).card.input_size_wh == (48, 48)


@pytest.mark.parametrize("size", [32, 48])
def test_no_size_is_that_of_an_oblong_input(size: int) -> None:
    with pytest.raises(UsageError, match=f"whose input is 48x32. Received: {size}"):
        picture_size(Path("m"), (1, 32, 48, 3), ModelHints(image_size=size))


@pytest.mark.parametrize("kind", ["keras", "SavedModel", "tflite"])
def test_unknown_pixels(kind: str, labels: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--mean"):
        read_origin(saved(network(), tmp_path, kind), ModelHints(labels))


@pytest.mark.parametrize("kind", ["keras", "SavedModel", "tflite"])
def test_no_labels(kind: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--labels"):
        read_origin(saved(network(), tmp_path, kind), ModelHints(mean=0.0, std=1.0))


@pytest.mark.parametrize("kind", ["keras", "SavedModel", "tflite"])
def test_other_number_of_labels(kind: str, tmp_path: Path) -> None:
    two = tmp_path / "two.txt"
    two.write_text("a\nb\n")
    with pytest.raises(LabelsError, match="Expected 3 labels"):
        read_origin(saved(network(), tmp_path, kind), ModelHints(two, 0.0, 1.0))


def two_inputs() -> keras.Model:
    one, other = keras.Input((SIZE, SIZE, 3)), keras.Input((SIZE, SIZE, 3))
    mixed = keras.layers.GlobalAveragePooling2D()(one + other)
    return keras.Model([one, other], keras.layers.Dense(3, activation="softmax")(mixed))


def map_output() -> keras.Model:
    pixels = keras.Input((SIZE, SIZE, 3))
    return keras.Model(pixels, keras.layers.Conv2D(3, 3)(pixels))


@pytest.mark.parametrize("kind", ["keras", "SavedModel"])
@pytest.mark.parametrize(
    ("model", "received"),
    [
        (two_inputs, "2 inputs"),
        (lambda: network(channels=1), r"\[any, 32, 32, 1\]"),
        (map_output, r"\[(any|1), 30, 30, 3\]"),
    ],
    ids=["two inputs", "grey", "a map"],
)
def test_no_image_classifier(model, received: str, kind: str, labels: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=received):
        read_origin(saved(model(), tmp_path, kind), ModelHints(labels, 0.0, 1.0))


def two_outputs() -> keras.Model:
    model = network(inside=True)
    features = model.layers[-2].output
    other = keras.layers.Dense(2, activation="softmax", name="colour")(features)
    return keras.Model(model.input, {"colour": other, "kind": model.output})


@pytest.mark.parametrize("kind", ["keras", "SavedModel", "tflite"])
def test_one_of_two_outputs(kind: str, labels: Path, tmp_path: Path) -> None:
    model = two_outputs()
    path = saved(model, tmp_path, kind)
    said = {} if kind == "keras" else {"mean": 0.0, "std": 1.0}
    with pytest.raises(UsageError, match="--output") as caught:
        read_origin(path, ModelHints(labels, **said))
    with pytest.raises(UsageError, match=r"--output.* nothing"):
        read_origin(path, ModelHints(labels, **said, output="nothing"))
    # In Keras's own file by the layer, else by what the export or the converter calls it.
    name = {"keras": model.layers[-1].name, "SavedModel": "kind"}.get(kind)
    if name is None:
        name = re.findall(r"(\S+) \[1, 3\]", str(caught.value))[0].lstrip("(")
    origin = read_origin(path, ModelHints(labels, **said, output=name))
    expected = model.predict(PIXELS.astype(np.float32), verbose=0)["kind"]
    np.testing.assert_allclose(origin.scores(PIXELS), expected, atol=1e-5)


@pytest.mark.parametrize("wrap", [lambda x: {"scores": x}, lambda x: [x]], ids=["dict", "list"])
def test_one_output_in_a_dictionary(wrap, labels: Path, tmp_path: Path) -> None:
    plain = network()
    model = keras.Model(plain.inputs, wrap(plain.outputs[0]))
    origin = read_origin(
        saved(model, tmp_path, "keras"), ModelHints(labels=labels, mean=127.5, std=127.5)
    )
    np.testing.assert_allclose(origin.scores(PIXELS), normalised_scores(plain), atol=1e-5)
    assert origin.float_model().float32()


def test_saved_model_with_augmentation(labels: Path, tmp_path: Path) -> None:
    """Its random layers set the state of their generator, also where they change nothing."""
    plain = network()
    pixels = keras.Input((SIZE, SIZE, 3))
    model = keras.Model(pixels, plain(keras.layers.RandomFlip()(pixels)))
    hints = ModelHints(labels=labels, mean=127.5, std=127.5)
    with pytest.raises(ModelFileError, match=r"sets variables.* Convert the \.keras file"):
        read_origin(saved(model, tmp_path, "SavedModel"), hints)
    origin = read_origin(saved(model, tmp_path, "keras"), hints)
    np.testing.assert_allclose(origin.scores(PIXELS), normalised_scores(plain), atol=1e-5)


@pytest.mark.parametrize("kind", ["keras", "SavedModel"])
def test_size_that_is_too_small(kind: str, labels: Path, tmp_path: Path) -> None:
    model = network(size=None)
    hints = ModelHints(labels=labels, mean=127.5, std=127.5, image_size=1)
    with pytest.raises(ModelFileError, match=r"for pictures of 1x1 at .* Received: "):
        read_origin(saved(model, tmp_path, kind), hints)


def signed(model: keras.Model, folder: Path, **signatures: tf.TensorSpec) -> Path:
    """Save a model with signatures of other names or shapes than usual."""
    module = tf.Module()
    module.model = model

    def call(pixels: tf.Tensor) -> tf.Tensor:
        return model(tf.reshape(pixels, (-1, SIZE, SIZE, 3)))

    functions = {
        name: tf.function(call).get_concrete_function(spec) for name, spec in signatures.items()
    }
    tf.saved_model.save(module, str(folder / "signed"), signatures=functions)
    return folder / "signed"


PICTURES = tf.TensorSpec((None, SIZE, SIZE, 3), name="pixels")


def test_only_signature_is_called_default(labels: Path, tmp_path: Path) -> None:
    model = network()
    for name in ("default", "anything"):
        path = signed(model, tmp_path / name, **{name: PICTURES})
        origin = read_origin(path, ModelHints(labels, 127.5, 127.5))
        np.testing.assert_allclose(origin.scores(PIXELS), normalised_scores(model), atol=1e-5)


@pytest.mark.parametrize(
    ("signatures", "received"),
    [
        ({"default": tf.TensorSpec(None, name="pixels")}, "any number of dimensions"),
        ({}, "no signature"),
        ({"one": PICTURES, "other": PICTURES}, "the signatures one, other"),
    ],
    ids=["unknown rank", "none", "two"],
)
def test_signatures_that_are_refused(
    signatures: dict[str, tf.TensorSpec], received: str, labels: Path, tmp_path: Path
) -> None:
    with pytest.raises(ModelFileError, match=received):
        read_origin(signed(network(), tmp_path, **signatures), ModelHints(labels, 0.0, 1.0))


@pytest.mark.parametrize("name", ["saved_model_v2_mini", "hub_module_v1_mini"])
def test_saved_models_of_others(name: str, labels: Path, shared: Path) -> None:
    path = shared / "models" / "elsewhere" / name
    if not path.exists():
        pytest.skip("this copy of the shared material has no third-party models")
    with pytest.raises(ModelFileError, match="any number of dimensions"):
        read_origin(path, ModelHints(labels, 0.0, 1.0))


def test_layers_that_were_never_called(labels: Path, tmp_path: Path) -> None:
    model = keras.Sequential([keras.layers.Conv2D(4, 3), keras.layers.GlobalMaxPooling2D()])
    model.save(tmp_path / "model.keras")
    with pytest.raises(ModelFileError, match="never called"):
        read_origin(tmp_path / "model.keras", ModelHints(labels))


def test_a_shape_in_the_first_layer(labels: Path, tmp_path: Path) -> None:
    """Such a Sequential model has no `output`, though it is built."""
    layers = [keras.layers.Conv2D(4, 3, input_shape=(SIZE, SIZE, 3)), keras.layers.Flatten()]
    model = keras.Sequential([*layers, keras.layers.Dense(3, "softmax")])
    path = saved(model, tmp_path, "keras")
    origin = read_origin(path, ModelHints(labels, 127.5, 127.5))
    np.testing.assert_allclose(origin.scores(PIXELS), normalised_scores(model), atol=1e-5)


def test_hdf5_and_what_to_do(tmp_path: Path) -> None:
    """The Python that the message gives makes a file that is taken."""
    model = network(inside=True)
    model.save(tmp_path / "model.h5")
    with pytest.raises(ModelFileError, match="HDF5") as caught:
        read_origin(tmp_path / "model.h5", ModelHints(("a", "b", "c")))
    # The terminal shows line breaks escaped, so there is none.
    exec(str(caught.value).partition("in Python: ")[2])
    origin = read_origin(tmp_path / "model.keras", ModelHints(("a", "b", "c")))
    expected = model.predict(PIXELS.astype(np.float32), verbose=0)
    np.testing.assert_allclose(origin.scores(PIXELS), expected, atol=1e-6)


@pytest.mark.parametrize(
    "name",
    ["model.keras", "model.tflite", "model.h5", "saved_model.pb", "variables/variables.data"],
)
def test_pointers_of_git_lfs(name: str, labels: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    (folder / "variables").mkdir(parents=True)
    if name.startswith("variables"):
        (folder / "saved_model.pb").write_bytes(b"")
    text = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
    (folder / name).write_text(text)
    path = folder if "variables" in name or name.endswith(".pb") else folder / name
    with pytest.raises(ModelFileError, match="git lfs pull"):
        read_origin(path, ModelHints(labels, 0.0, 1.0))


def test_saved_model_that_reads_files(labels: Path, tmp_path: Path) -> None:
    class Reader(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec((1, SIZE, SIZE, 3))])
        def __call__(self, pixels: tf.Tensor) -> tf.Tensor:
            size = tf.strings.length(tf.io.read_file("/etc/hostname"))
            return tf.reduce_mean(pixels, (1, 2)) * tf.cast(size, tf.float32)

    module = Reader()
    tf.saved_model.save(module, str(tmp_path / "reader"))
    with pytest.raises(ModelFileError, match="ReadFile"):
        read_origin(tmp_path / "reader", ModelHints(labels, 0.0, 1.0))


def test_damaged_saved_model(labels: Path, tmp_path: Path) -> None:
    (tmp_path / "saved_model.pb").write_bytes(b"\xff\xff nothing")
    with pytest.raises(ModelFileError, match="Expected a SavedModel"):
        read_origin(tmp_path, ModelHints(labels, 0.0, 1.0))


def test_quantized_file(tiny_models: dict[str, Path]) -> None:
    with pytest.raises(ModelFileError, match="tensors of int8"):
        read_origin(tiny_models["weights8"], ModelHints())
    with pytest.raises(ModelFileError, match="input of uint8"):
        read_origin(tiny_models["int8"], ModelHints())


def test_grey_file_is_refused(labels: Path, tmp_path: Path) -> None:
    converter = tf.lite.TFLiteConverter.from_keras_model(network(channels=1))
    (tmp_path / "grey.tflite").write_bytes(converter.convert())
    with pytest.raises(ModelFileError, match=r"Received: .*grey.tflite with an input of \[1, 32"):
        read_origin(tmp_path / "grey.tflite", ModelHints(labels, 0.0, 1.0))


def test_run_describes_itself(tiny_run: Path, labels: Path) -> None:
    origin = read_origin(tiny_run, ModelHints())
    assert origin.run is not None
    assert origin.card == origin.run.card
    assert read_origin(tiny_run / "model.keras", ModelHints()).run is not None
    with pytest.raises(UsageError, match="--labels"):
        read_origin(tiny_run, ModelHints(labels))


@pytest.mark.parametrize("name", ["nothing", "photo.jpg"])
def test_nothing_of_the_kind(name: str, tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"")
    with pytest.raises(UsageError, match="Expected a run folder"):
        read_origin(tmp_path / name, ModelHints())


def test_tensors_of_one_name_are_told_apart(labels: Path, tmp_path: Path) -> None:
    path = saved(network(), tmp_path, "tflite")
    model = unpack_model(path.read_bytes())
    for tensor in model.subgraphs[0].tensors:
        tensor.name = b"same"
    path.write_bytes(pack_model(model))
    origin = read_origin(path, ModelHints(labels, 127.5, 127.5))
    made = unpack_model(origin.float_model().float32()).subgraphs[0].tensors
    assert len({tensor.name for tensor in made}) == len(made)
