"""Classifiers that others made: what goes in and comes out, against a loop written by hand."""

from __future__ import annotations

import logging
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from pocketlens.errors import LabelsError, ModelFileError, UsageError
from pocketlens.names import say_once
from pocketlens.runtime import Classifier
from pocketlens.runtime.answers import describe
from pocketlens.runtime.hints import ModelHints
from pocketlens.runtime.inspection import inspect
from pocketlens.runtime.interpreters import load_interpreter
from pocketlens.runtime.model_files import read_labels, read_model_file
from pocketlens.runtime.pictures import Pixels, decode, resize
from pocketlens.runtime.third_party import complete

RAW = ModelHints(mean=0, std=1)
FRAME = np.random.default_rng(5).integers(0, 256, (70, 90, 3), np.uint8)


def tensorflow() -> Any:
    return pytest.importorskip("tensorflow", reason="makes the model")


def network(*shape: int | None, end: Callable[[Any], Any], classes: int = 3) -> Any:
    """Return a small convolutional network as a function of pixels, and its input."""
    tf = tensorflow()
    rng = np.random.default_rng(1)
    first = shape[1] in (1, 3) and shape[3] not in (1, 3)
    channels = shape[1 if first else 3]
    kernel = tf.constant(rng.normal(0, 0.01, (3, 3, channels, 8)), tf.float32)
    dense = tf.constant(rng.normal(0, 2, (8, classes)), tf.float32)

    def function(pixels: Any) -> Any:
        values = tf.cast(pixels, tf.float32)
        values = tf.transpose(values, (0, 2, 3, 1)) if first else values
        values = tf.nn.relu(tf.nn.conv2d(values, kernel, 2, "SAME"))
        return end(tf.matmul(tf.reduce_mean(values, axis=(1, 2)), dense))

    return tf.function(function), tf.TensorSpec(shape, tf.float32)


def convert(function: Any, spec: Any, kind: str = "float32") -> bytes:
    """Return a `.tflite` file; an 8-bit one takes and gives `kind`."""
    tf = tensorflow()
    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [function.get_concrete_function(spec)]
    )
    if kind != "float32":
        rng = np.random.default_rng(2)
        sides = [side or 1 for side in spec.shape]
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: (
            [np.full(sides, level, np.float32)]
            if level in (0, 255)
            else [rng.integers(0, 256, sides).astype(np.float32)]
            for level in range(0, 256, 15)
        )
        converter.inference_input_type = converter.inference_output_type = getattr(tf, kind)
    data: bytes = converter.convert()
    return data


def by_hand(path: Path, values: Any) -> Any:
    """Return what a model gives for an input, as real numbers."""
    tf = tensorflow()
    interpreter = tf.lite.Interpreter(model_path=str(path))
    source = interpreter.get_input_details()[0]
    interpreter.resize_tensor_input(source["index"], values.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(source["index"], values.astype(source["dtype"]))
    interpreter.invoke()
    output = interpreter.get_output_details()[0]
    scale, zero_point = output["quantization"]
    found = interpreter.get_tensor(output["index"]).astype(np.float64).reshape(-1)
    return (found - zero_point) * scale if scale else found


def softmax(logits: Any) -> Any:
    powers = np.exp(logits - np.max(logits))
    return powers / powers.sum()


def sigmoid(logits: Any) -> Any:
    return 1 / (1 + np.exp(-logits))


def nhwc(pixels: Pixels) -> Any:
    return pixels[None]


def nchw(pixels: Pixels) -> Any:
    return pixels.transpose(2, 0, 1)[None]


def grey(pixels: Pixels) -> Any:
    """ITU-R BT.601, by hand."""
    return np.round(pixels @ np.array([0.299, 0.587, 0.114]))[None, ..., None]


def as_int8(pixels: Pixels) -> Any:
    return pixels[None].astype(int) - 128


SAME = np.asarray
CASES: dict[str, tuple[Callable[[], bytes], ModelHints, int, Callable[..., Any], Any, float]] = {
    "open batch": (
        lambda: convert(*network(None, 40, 40, 3, end=tensorflow().nn.softmax)),
        *(RAW, 40, nhwc, SAME, 1e-4),
    ),
    "pixels in -1 to 1": (
        lambda: convert(*network(None, 96, 96, 3, end=tensorflow().nn.softmax)),
        *(ModelHints(mean=127.5, std=127.5), 96),
        *(lambda pixels: (pixels[None] - 127.5) / 127.5, SAME, 1e-4),
    ),
    "logits": (
        lambda: convert(*network(1, 32, 32, 3, end=SAME_TENSOR)),
        *(RAW, 32, nhwc, softmax, 1e-4),
    ),
    "one logit": (
        lambda: convert(*network(None, 30, 30, 3, end=SAME_TENSOR, classes=1)),
        *(RAW, 30, nhwc, sigmoid, 1e-4),
    ),
    "logits of a multilabel model": (
        lambda: convert(*network(None, 30, 30, 3, end=SAME_TENSOR)),
        *(ModelHints(mean=0, std=1, task="multilabel"), 30, nhwc, sigmoid, 1e-4),
    ),
    "one score": (
        lambda: convert(*network(1, 30, 30, 3, end=tensorflow().sigmoid, classes=1)),
        *(RAW, 30, nhwc, SAME, 1e-4),
    ),
    "grey": (
        lambda: convert(*network(None, 28, 28, 1, end=tensorflow().nn.softmax)),
        *(RAW, 28, grey, SAME, 1e-4),
    ),
    "channels first": (
        lambda: convert(*network(1, 3, 48, 48, end=tensorflow().nn.softmax)),
        *(RAW, 48, nchw, SAME, 1e-4),
    ),
    "open size": (
        lambda: convert(*network(None, None, None, 3, end=SAME_TENSOR)),
        *(ModelHints(mean=0, std=1, image_size=56), 56, nhwc, softmax, 1e-4),
    ),
    "uint8": (
        lambda: convert(*network(None, 64, 64, 3, end=tensorflow().nn.softmax), "uint8"),
        *(ModelHints(), 64, nhwc, SAME, 1e-6),
    ),
    "uint8 logits": (
        lambda: convert(*network(None, 64, 64, 3, end=SAME_TENSOR), "uint8"),
        *(ModelHints(), 64, nhwc, softmax, 1e-6),
    ),
    "int8": (
        lambda: convert(*network(None, 64, 64, 3, end=tensorflow().nn.softmax), "int8"),
        *(ModelHints(), 64, as_int8, SAME, 1e-6),
    ),
    "grey int8": (
        lambda: convert(*network(1, 96, 96, 1, end=tensorflow().nn.softmax), "int8"),
        *(ModelHints(), 96, lambda pixels: grey(pixels) - 128, SAME, 1 / 256 + 1e-6),
    ),
    "channels first uint8": (
        lambda: convert(*network(1, 3, 48, 48, end=tensorflow().nn.softmax), "uint8"),
        *(ModelHints(), 48, nchw, SAME, 1e-6),
    ),
}


def SAME_TENSOR(values: Any) -> Any:  # noqa: N802 (stands beside tf.nn.softmax)
    return tensorflow().identity(values)


@pytest.mark.parametrize("name", CASES)
def test_scores_are_those_of_a_loop_by_hand(name: str, tmp_path: Path) -> None:
    make, hints, size, values, finish, tolerance = CASES[name]
    path = tmp_path / "model.tflite"
    path.write_bytes(make())
    with Classifier(path, hints=hints) as classifier:
        assert classifier.size_wh == (size, size)
        pixels = resize(FRAME, (size, size))
        wanted = finish(by_hand(path, values(pixels[..., ::-1])))
        np.testing.assert_allclose(
            classifier.scores(np.ascontiguousarray(pixels[..., ::-1])), wanted, atol=tolerance
        )
        result = classifier.classify(FRAME)
        np.testing.assert_allclose(result.scores[-len(wanted) :], wanted, atol=tolerance)


@pytest.fixture
def logits(tmp_path: Path) -> Path:
    path = tmp_path / "logits.tflite"
    path.write_bytes(convert(*network(None, 30, 30, 3, end=SAME_TENSOR)))
    return path


def test_logits_are_said_once_and_shown(logits: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "pocketlens")
    for _ in range(3):
        with Classifier(logits, hints=RAW) as classifier:
            assert classifier.card.activation == "softmax"
    assert sum("gives logits, so their softmax" in text for text in caplog.messages) == 1
    assert inspect(logits).activation == "softmax"


@pytest.mark.parametrize("activation", ["softmax", "sigmoid", "none"])
def test_the_activation_can_be_said(
    activation: str, logits: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "pocketlens")
    functions = {"softmax": softmax, "sigmoid": sigmoid, "none": SAME}
    hints = ModelHints(mean=0, std=1, activation=activation)
    pixels = resize(FRAME, (30, 30))
    with Classifier(logits, hints=hints) as classifier:
        wanted = functions[activation](by_hand(logits, nhwc(pixels)))
        np.testing.assert_allclose(classifier.scores(pixels), wanted, rtol=1e-4, atol=1e-5)
    assert not any("logits" in text for text in caplog.messages)
    assert inspect(logits, ModelHints(activation=activation)).activation == activation


def means(values: Any) -> Any:
    """Return what is in 0 to 1, without an operator that says so."""
    tf = tensorflow()
    return tf.reduce_mean(tf.stack([tf.nn.softmax(values), tf.nn.softmax(2 * values)]), axis=0)


def products(values: Any) -> Any:
    return tensorflow().tanh(values) * 3.0


@pytest.mark.parametrize(("end", "activation"), [(means, "none"), (products, "softmax")])
def test_where_the_last_operator_does_not_tell_the_first_answers_do(
    end: Any, activation: str, tmp_path: Path
) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(convert(*network(1, 30, 30, 3, end=end)))
    with Classifier(path, hints=RAW) as classifier:
        assert classifier.card.activation == activation


def test_an_open_size_has_to_be_said(tmp_path: Path) -> None:
    path = tmp_path / "open.tflite"
    path.write_bytes(convert(*network(None, None, None, 3, end=SAME_TENSOR)))
    with pytest.raises(UsageError, match=r"open\.tflite, which takes any.*--image-size"):
        Classifier(path, hints=RAW)
    # What is run elsewhere is the same model of that size.
    model = complete(read_model_file(path), ModelHints(image_size=40))
    assert complete(model, ModelHints(image_size=40)) is model
    (details,) = load_interpreter(model.flatbuffer).get_input_details()
    assert details["shape"].tolist() == details["shape_signature"].tolist() == [1, 40, 40, 3]


def test_a_size_of_its_own_stays(logits: Path) -> None:
    with Classifier(logits, hints=ModelHints(mean=0, std=1, image_size=30)) as classifier:
        assert classifier.size_wh == (30, 30)
    with pytest.raises(UsageError, match=r"whose input is 30x30\. Received: 224"):
        Classifier(logits, hints=ModelHints(mean=0, std=1, image_size=224))


@pytest.mark.parametrize(
    ("first", "raw"),
    [
        (lambda pixels: pixels * (1 / 127.5) - 1.0, True),
        (lambda pixels: (pixels - [123.7, 116.3, 103.5]) / [58.4, 57.1, 57.4], True),
        # Pixels in 0-1 that become -1 to 1, as TensorFlow Hub's models take them.
        (lambda pixels: pixels * 2.0 - 1.0, False),
        (lambda pixels: pixels - 0.5, False),
        (lambda pixels: pixels * 1.0, False),
    ],
    ids=["-1 to 1", "ImageNet", "hub", "centred", "plain"],
)
def test_a_model_that_scales_pixels_itself_needs_no_mean(
    first: Any, raw: bool, tmp_path: Path
) -> None:
    tf = tensorflow()
    function, spec = network(None, 30, 30, 3, end=tf.nn.softmax)
    path = tmp_path / "model.tflite"
    path.write_bytes(convert(tf.function(lambda pixels: function(first(pixels))), spec))
    if not raw:
        with pytest.raises(UsageError, match="--mean and --std"):
            Classifier(path)
        return
    pixels = resize(FRAME, (30, 30))
    assert "which it scales itself" in inspect(path).pixels
    with Classifier(path) as classifier:
        np.testing.assert_allclose(
            classifier.scores(pixels), by_hand(path, nhwc(pixels)), atol=1e-4
        )


@pytest.fixture
def two_outputs(tmp_path: Path) -> Path:
    tf = tensorflow()
    path = tmp_path / "two.tflite"
    module = tf.Module()

    @tf.function(input_signature=[tf.TensorSpec((1, 16, 16, 3), tf.float32)])
    def serve(pixels: Any) -> Any:
        found = tf.reduce_mean(pixels, axis=(1, 2))
        return {"colours": tf.nn.softmax(found), "features": found[:, :2] * 3.0}

    module.serve = serve
    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [serve.get_concrete_function()], module
    )
    path.write_bytes(converter.convert())
    return path


def test_one_of_two_outputs_is_chosen(two_outputs: Path) -> None:
    with pytest.raises(UsageError, match=r"--output .*two\.tflite.*\[1, 3\].*Received: none"):
        Classifier(two_outputs, hints=RAW)
    details = load_interpreter(two_outputs.read_bytes()).get_output_details()
    (name,) = (one["name"] for one in details if one["shape"][1] == 3)
    hints = ModelHints(mean=0, std=1, output=name)
    pixels = resize(FRAME, (16, 16))
    with Classifier(two_outputs, hints=hints) as classifier:
        wanted = softmax(pixels.mean(axis=(0, 1)))
        np.testing.assert_allclose(classifier.scores(pixels), wanted, atol=1e-4)
    with pytest.raises(UsageError, match="Received: other"):
        Classifier(two_outputs, hints=ModelHints(mean=0, std=1, output="other"))


def test_an_input_of_unknown_rank(logits: Path) -> None:
    schema = pytest.importorskip(
        "tensorflow.lite.python.schema_py_generated", reason="makes the model"
    )
    flatbuffers = pytest.importorskip("flatbuffers", reason="makes the model")
    model = schema.ModelT.InitFromPackedBuf(bytearray(logits.read_bytes()), 0)
    tensor = model.subgraphs[0].tensors[model.subgraphs[0].inputs[0]]
    tensor.shape = tensor.shapeSignature = None
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    logits.write_bytes(bytes(builder.Output()))
    with pytest.raises(ModelFileError, match="does not say how many dimensions"):
        Classifier(logits, hints=RAW)


@pytest.mark.parametrize(
    ("name", "content", "text"),
    [
        ("a.tflite", b"version https://git-lfs.github.com/spec/v1\noid 1", "git lfs pull"),
        (
            "a.h5",
            b"\x89HDF\r\n\x1a\n" + bytes(99),
            "import keras; model = keras.models.load_model(",
        ),
        ("a.tflite", b"<!DOCTYPE html>\n<html>", "a web page"),
        ("a.tflite", b"", "something else"),
    ],
    ids=["git lfs", "hdf5", "web page", "empty"],
)
def test_what_is_no_tflite_file(name: str, content: bytes, text: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ModelFileError, match=r"Expected a \.tflite file") as caught:
        read_model_file(path)
    assert text in str(caught.value)


def test_a_custom_operator_says_what_the_file_is_for(logits: Path) -> None:
    schema = pytest.importorskip(
        "tensorflow.lite.python.schema_py_generated", reason="makes the model"
    )
    flatbuffers = pytest.importorskip("flatbuffers", reason="makes the model")
    for name, text in (("edgetpu-custom-op", "Edge TPU"), ("FlexErf", "TensorFlow itself")):
        model = schema.ModelT.InitFromPackedBuf(bytearray(logits.read_bytes()), 0)
        code = schema.OperatorCodeT()
        code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM
        code.customCode = name.encode()
        model.operatorCodes.append(code)
        builder = flatbuffers.Builder(1024)
        builder.Finish(model.Pack(builder), b"TFL3")
        path = logits.with_name(f"{name}.tflite")
        path.write_bytes(bytes(builder.Output()))
        with pytest.raises(ModelFileError, match=text):
            Classifier(path, hints=RAW)


LABELS = ("rose", "tulip", "größe")


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("rose\ntulip\ngröße\n", LABELS),
        ("\ufeffrose\r\ntulip\r\ngröße", LABELS),
        ("0 rose\n1 tulip\n2 größe\n", LABELS),
        ("1: rose\n2: tulip\n3: größe\n", LABELS),
        ("0\trose\n1\ttulip\n2\tgröße\n", LABELS),
        ('["rose", "tulip", "größe"]', LABELS),
        ("{0: 'rose', 1: 'tulip',\n 2: 'größe'}", LABELS),
        ('{"0": "rose", "1": "tulip", "2": "größe"}', LABELS),
        ('{"größe": 2, "rose": 0, "tulip": 1}', LABELS),
        ('{"0": ["n1", "rose"], "1": ["n2", "tulip"], "2": ["n3", "größe"]}', LABELS),
        ('{"tfjs": 1, "labels": ["rose", "tulip", "größe"]}', LABELS),
        ('{"id2label": {"0": "rose", "1": "tulip", "2": "größe"}}', LABELS),
        # Names that begin with a number.
        ("1 euro\n2 euro\n", ("1 euro", "2 euro")),
        ("2 cent\n5 cent\n", ("2 cent", "5 cent")),
        ("3 daisies\nrose\n", ("3 daisies", "rose")),
        ("0\n1\n2\n", ("0", "1", "2")),
        ("[unknown]\nrose\n", ("[unknown]", "rose")),
        ("{0: 'rose', 2: 'tulip'}", ("{0: 'rose', 2: 'tulip'}",)),
    ],
)
def test_labels_as_others_write_them(text: str, labels: tuple[str, ...], tmp_path: Path) -> None:
    path = tmp_path / "names"
    path.write_text(text, encoding="utf-8")
    assert read_labels(path) == labels


def test_numbers_too_long_to_be_read(tmp_path: Path) -> None:
    path = tmp_path / "names"
    path.write_text(f"{'0' * 5000} rose\n{'1' * 5000} tulip\n")
    with pytest.raises(ModelFileError, match="at most 1000 characters"):
        read_labels(path)


def test_labels_as_json_beside_the_file(logits: Path) -> None:
    logits.with_name("labels.json").write_text('["rose", "tulip", "lily"]')
    with Classifier(logits, hints=RAW) as classifier:
        assert classifier.labels == ("rose", "tulip", "lily")


def test_labels_that_are_there_twice(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "pocketlens")
    say_once.cache_clear()
    labels = ("crane", "red", "crane", "crane (2)", "crane")
    card = describe("x/twice.tflite", (8, 8), 5, hints=ModelHints(labels))
    assert card.labels == ("crane", "red", "crane (3)", "crane (2)", "crane (4)")
    assert any("crane (3), crane (4)" in text for text in caplog.messages)
    with pytest.raises(LabelsError):
        describe("m", (8, 8), 3, hints=ModelHints(("a", "a")))


def test_old_operator_codes_are_read(logits: Path) -> None:
    schema = pytest.importorskip(
        "tensorflow.lite.python.schema_py_generated", reason="makes the model"
    )
    flatbuffers = pytest.importorskip("flatbuffers", reason="makes the model")
    path = logits.with_name("scores.tflite")
    path.write_bytes(convert(*network(1, 30, 30, 3, end=tensorflow().nn.softmax)))
    for file, activation in ((logits, "softmax"), (path, "none")):
        model = schema.ModelT.InitFromPackedBuf(bytearray(file.read_bytes()), 0)
        for code in model.operatorCodes:
            code.deprecatedBuiltinCode, code.builtinCode = code.builtinCode, 0
        builder = flatbuffers.Builder(1024)
        builder.Finish(model.Pack(builder), b"TFL3")
        file.write_bytes(bytes(builder.Output()))
        assert inspect(file).activation == activation


@pytest.fixture(scope="session")
def elsewhere(shared: Path) -> Path:
    return shared / "models" / "elsewhere"


@pytest.mark.parametrize(
    ("name", "hints", "values"),
    [
        ("vww_96_float", ModelHints(mean=0, std=255), lambda pixels: pixels[None] / 255),
        ("vww_96_int8", ModelHints(), as_int8),
        ("resnet8_cifar10_float", RAW, nhwc),
        ("resnet8_cifar10_int8", ModelHints(), as_int8),
    ],
)
def test_open_batches_of_others(name: str, hints: ModelHints, values: Any, elsewhere: Path) -> None:
    path = elsewhere / f"{name}.tflite"
    with Classifier(path, hints=hints) as classifier:
        pixels = resize(decode(elsewhere / "burger.jpg"), classifier.size_wh)
        wanted = by_hand(path, values(pixels))
        step = 1e-4 if "float" in name else 1 / 256
        np.testing.assert_allclose(classifier.scores(pixels), wanted, atol=step)


@pytest.mark.parametrize(
    ("name", "scores"),
    [
        ("mobilenet_v1_0.25_224_1_metadata_1", (0.988, 0.0024, 0.0021)),
        ("mobilenet_calibrated", (0.527, 0.2, 0.2)),
        ("mobilenet_locales", (0.988, 0.0024, 0.0021)),
    ],
)
def test_metadata_of_others(name: str, scores: tuple[float, ...], elsewhere: Path) -> None:
    with Classifier(elsewhere / f"{name}.tflite") as classifier:
        result = classifier.classify_photo(elsewhere / "burger.jpg")
    assert result.top.label == "cheeseburger"
    np.testing.assert_allclose([one.score for one in result.categories[:3]], scores, atol=0.01)


def test_the_language_of_the_labels(elsewhere: Path) -> None:
    path = elsewhere / "mobilenet_locales.tflite"
    with Classifier(path, hints=ModelHints(locale="de")) as classifier:
        result = classifier.classify_photo(elsewhere / "burger.jpg")
        assert result.top.label == "de_cheeseburger"
    with pytest.raises(UsageError, match=r"--locale .*\(en, de\). Received: fr"):
        Classifier(path, hints=ModelHints(locale="fr"))


def test_calibration_is_shown(elsewhere: Path) -> None:
    metadata = inspect(elsewhere / "mobilenet_calibrated.tflite").metadata
    assert metadata is not None
    assert metadata.calibration is not None
    assert metadata.calibration.file == "score_calibration.txt"
    assert metadata.calibration.default_score == pytest.approx(0.2)


def test_logits_of_others(elsewhere: Path) -> None:
    path = elsewhere / "mobilenet_v2_logits_quant.tflite"
    with Classifier(path) as classifier:
        pixels = resize(decode(elsewhere / "burger.jpg"), (224, 224))
        wanted = softmax(by_hand(path, nhwc(pixels)))
        np.testing.assert_allclose(classifier.scores(pixels), wanted, atol=1 / 256)


def test_one_sentence_once(elsewhere: Path) -> None:
    with pytest.raises(ModelFileError, match="compiled for an Edge TPU: use the file without"):
        Classifier(elsewhere / "mobilenet_v1_0.25_128_quant_edgetpu.tflite")
    path = elsewhere / "person_detect_grey_int8.tflite"
    refused = None
    try:
        classifier = Classifier(path)
    except ModelFileError as error:
        refused = str(error)
    if refused is not None:
        assert refused.count("quantized_dimension") == 1
    else:
        pixels = resize(decode(elsewhere / "burger.jpg"), (96, 96))
        np.testing.assert_allclose(
            classifier.scores(pixels), by_hand(path, grey(pixels) - 128), atol=1 / 256
        )


def test_flowers_of_others(elsewhere: Path, shared: Path) -> None:
    with Classifier(elsewhere / "automl_labeler_model.tflite") as classifier:
        photos = sorted((shared / "data" / "flowers").glob("*/*0.jpg"))
        right = [classifier.classify_photo(path).top.label == path.parent.name for path in photos]
    assert 0.82 < np.mean(right) < 0.95


def test_luma_is_that_of_the_resized_pixels(tmp_path: Path) -> None:
    """OpenCV's luma is BT.601's to the byte, but for halves."""
    pixels = np.random.default_rng(8).integers(0, 256, (64, 64, 3), np.uint8)
    away = np.abs(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY) - grey(pixels)[0, ..., 0])
    assert away.max() <= 1
    assert (away > 0).mean() < 0.002


def test_changed_vectors_lie_behind_everything(logits: Path) -> None:
    before = logits.read_bytes()
    after = complete(read_model_file(logits)).flatbuffer
    assert len(after) > len(before)
    assert struct.unpack_from("<I4i", after, len(after) - 20) == (4, 1, 30, 30, 3)
