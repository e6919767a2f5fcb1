"""The full ImageNet MobileNetV2 on sample photos: all formats, beside plain ones.

Run by hand (`make imagenet`), with POCKETLENS_SHARED naming the folder of shared test material and
KERAS_HOME the cache with the weights. Three tables:

- all samples scored, calibrated on photos of flowers only;
- 300 of the samples scored, calibrated on 100 others;
- 300 samples scored in twelve views each, calibrated on 70 others, in each of four splits: of
  14,400 answers chance changes few.
"""

import argparse
import os
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
from plain import PLAIN, convert_plainly, predict

from pocketlens.card import ModelCard
from pocketlens.convert import FORMATS, Comparison, Reference
from pocketlens.convert.encoders import Encoder
from pocketlens.convert.formats import rerun
from pocketlens.convert.graphs import trace
from pocketlens.convert.photos import load_pixels
from pocketlens.evaluation.intervals import wilson
from pocketlens.quiet import quiet
from pocketlens.runtime.pictures import decode, resize

_SIZE = 224
_CALIBRATION = 100

# The share of a photo's sides that a crop keeps, and where the crops lie between its borders.
_CROP = 0.88
_PLACES = ((0.0, 0.0), (0.0, 1.0), (1.0, 0.0), (1.0, 1.0), (0.5, 0.5))


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=["flowers", "samples", "views"])
    only = parser.parse_args().only
    data = Path(os.environ["POCKETLENS_SHARED"]) / "data"
    labels = tuple((data / "imagenet_samples" / "labels.txt").read_text("utf-8").splitlines())
    samples = sorted((data / "imagenet_samples").rglob("*.jpg"))
    flowers = sorted((data / "flowers").rglob("*.jpg"))
    order = np.random.default_rng(0).permutation(len(samples))
    known = [samples[index] for index in order[:100]]
    scored = [samples[index] for index in order[100:]]
    model = whole_model()
    if only in (None, "flowers"):
        test = reference(model, samples, labels)
        table("calibrated on flowers", model, flowers[::5][:_CALIBRATION], test)
    if only in (None, "samples"):
        test = reference(model, scored, labels)
        table("calibrated on samples", model, known[:70], test)
    if only in (None, "views"):
        many_views(model, [samples[index] for index in order], labels)


def whole_model() -> keras.Model:
    """Return the model with its normalisation inside, for raw pixels."""
    entry = keras.Input((_SIZE, _SIZE, 3))
    network = keras.applications.MobileNetV2(weights="imagenet")
    scores = network(keras.layers.Rescaling(1 / 127.5, -1)(entry))
    return keras.Model(entry, scores)


def pixels(paths: list[Path]) -> list[np.ndarray]:
    """Load photos at the model's size."""
    return load_pixels(paths, (_SIZE, _SIZE), "stretch")


def reference(model: keras.Model, paths: list[Path], labels: tuple[str, ...]) -> Reference:
    """Return photos with the class that their names number, and the model's answers on them."""
    return told(model, paths, [[picture] for picture in pixels(paths)], labels)


def reference_of_views(model: keras.Model, paths: list[Path], labels: tuple[str, ...]) -> Reference:
    """Return what `reference` does of photos in twelve views each."""
    return told(model, paths, [views(path) for path in paths], labels)


def views(path: Path) -> list[np.ndarray]:
    """Return a photo and five crops of it, and all of them mirrored."""
    picture = decode(path)
    height, width = picture.shape[:2]
    high, wide = int(_CROP * height), int(_CROP * width)
    corners = [(round(y * (height - high)), round(x * (width - wide))) for y, x in _PLACES]
    cut = [picture, *(picture[top : top + high, left : left + wide] for top, left in corners)]
    upright = [resize(part, (_SIZE, _SIZE)) for part in cut]
    return upright + [np.ascontiguousarray(part[:, ::-1]) for part in upright]


def told(
    model: keras.Model,
    paths: list[Path],
    shown: list[list[np.ndarray]],
    labels: tuple[str, ...],
) -> Reference:
    """Return pictures of each photo with what the model answers on them."""
    # Flowers have no class among them, and only their scores are compared.
    classes = [(int(path.stem),) if path.stem.isdigit() else () for path in paths]
    loaded = [picture for pictures in shown for picture in pictures]
    truth = [known for known, pictures in zip(classes, shown, strict=True) for _ in pictures]
    card = ModelCard("imagenet", labels, (_SIZE, _SIZE))
    return Reference(loaded, truth, predict(model, loaded), card)


def table(title: str, model: keras.Model, calibration: list[Path], test: Reference) -> None:
    """Print what every format of a model answers on the scored photos."""
    print(f"\n{title}; {len(test.truth)} photos scored", flush=True)
    photos = pixels(calibration)
    encoder = Encoder(trace(model), photos)

    def run(flatbuffer: bytes, told: Reference) -> np.ndarray:
        return rerun(flatbuffer, told.card, told.pixels, Path("imagenet.tflite")).scores

    for name in FORMATS:
        show(name, test.compare(run(encoder.encode(name), test)))
    for name in PLAIN:
        with quiet():
            flatbuffer = convert_plainly(model, name, photos)
        show(f"{name}, plain", test.compare(run(flatbuffer, test)))


def many_views(model: keras.Model, samples: list[Path], labels: tuple[str, ...]) -> None:
    """Print how many answers differ over all splits of the samples into known and scored ones."""
    found: dict[str, list[Comparison]] = defaultdict(list)
    for start in range(0, len(samples), _CALIBRATION):
        known = samples[start : start + _CALIBRATION]
        scored = samples[:start] + samples[start + _CALIBRATION :]
        test = reference_of_views(model, scored, labels)
        for name, scores in plain_and_own(model, known[:70], test):
            found[name].append(test.compare(scores))
    print(f"\nIn twelve views, {len(samples) // _CALIBRATION} splits together", flush=True)
    for name, results in sorted(found.items()):
        photos = sum(result.photos for result in results)
        differ = sum(round((1 - result.agreement) * result.photos) for result in results)
        distance = np.mean([result.distance for result in results])
        print(f"{name:24} {differ:4} of {photos} answers differ  distance {distance:.4f}")


def plain_and_own(
    model: keras.Model, calibration: list[Path], test: Reference
) -> Iterator[tuple[str, np.ndarray]]:
    """Yield 8-bit files' names and scores on the scored photos."""
    photos = pixels(calibration)
    encoder = Encoder(trace(model), photos)
    for name in ("weights8", "dynamic", "int8"):
        yield name, rerun(encoder.encode(name), test.card, test.pixels, Path("own.tflite")).scores
    with quiet():
        plain = convert_plainly(model, "int8", photos)
    yield "plain int8", rerun(plain, test.card, test.pixels, Path("plain.tflite")).scores


def show(name: str, result: Comparison) -> None:
    """Print one line."""
    low, high = wilson(round(result.agreement * result.photos), result.photos)
    print(
        f"{name:24} accuracy {result.accuracy:.4f} (original {result.original_accuracy:.4f})  "
        f"agreement {result.agreement:.4f} ({low:.4f} to {high:.4f})  "
        f"distance {result.distance:.4f}",
        flush=True,
    )


if __name__ == "__main__":
    main()
