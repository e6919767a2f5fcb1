"""Whether a training step waits for its pictures: epochs of photos against one repeated batch.

Run by hand (`make input-pipeline PHOTOS=… WEIGHTS=…`). The network, the step and the number of
steps are those of fine-tuning; the two kinds of epoch take turns.
"""

import argparse
import time
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from pocketlens.train.augmentation import PRESETS, augment
from pocketlens.train.batches import Shuffling, same_every_epoch, training_batches
from pocketlens.train.data_check import check_data
from pocketlens.train.devices import compile_with_xla
from pocketlens.train.networks import build, freeze
from pocketlens.train.optimization import loss
from pocketlens.train.pixel_cache import load_pixels
from pocketlens.train.settings import Settings


def main() -> None:
    """Time epochs of both kinds in turn and print their ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--weights", default="imagenet")
    parser.add_argument("--augment", choices=("none", "light", "strong"), default="light")
    parser.add_argument("--alpha", type=float, default=1.0)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--repetitions", type=int, default=7)
    chosen = parser.parse_args()
    settings = Settings(weights=chosen.weights, alpha=chosen.alpha, image_size=chosen.size)
    divided = check_data(chosen.photos).divide(settings.seed)
    size_wh = (settings.image_size, settings.image_size)
    split = load_pixels(divided, size_wh, settings.resize_mode)["train"]
    network = build(len(divided.labels), settings)
    freeze(network, settings.fine_tune_layers)
    network.compile(
        keras.optimizers.Adam(settings.rates.main),
        loss(settings.task, len(divided.labels)),
        jit_compile=compile_with_xla(),
    )
    ranges = PRESETS[chosen.augment]
    change = partial(augment, ranges=ranges) if ranges else None
    photos = training_batches(
        same_every_epoch(split.pixels, split.labels),
        (split.pixels, split.labels),
        settings.batch_size,
        Shuffling(settings.seed, change),
    ).take(len(split.labels) // settings.batch_size)
    steps = int(photos.cardinality())
    repeated = tf.data.Dataset.from_tensors(next(iter(photos))).repeat(steps)
    # The first epochs trace the step and fill the system's memory of the cache's file.
    epoch_s(network, photos)
    epoch_s(network, repeated)
    ratios = []
    for repetition in range(chosen.repetitions):
        kinds = (photos, repeated) if repetition % 2 else (repeated, photos)
        seconds = {id(kind): epoch_s(network, kind) for kind in kinds}
        ratios.append(seconds[id(photos)] / seconds[id(repeated)])
        print(
            "photos {:.2f} s ({:.2f} s of processor), one batch {:.2f} s ({:.2f} s); "
            "ratio {:.3f} ({:.3f})".format(
                *seconds[id(photos)], *seconds[id(repeated)], *ratios[-1]
            ),
            flush=True,
        )
    wall, processor = np.median(ratios, axis=0)
    print(f"median ratio {wall:.3f}, of processor time {processor:.3f} ({steps} steps an epoch)")


def epoch_s(network: keras.Model, batches: Any) -> NDArray[np.float64]:
    """Return the seconds of one epoch, on the clock and of all processor cores together.

    On a machine with other work only the second kind says something.
    """
    started = np.array([time.perf_counter(), time.process_time()])
    network.fit(batches, epochs=1, shuffle=False, verbose=0)
    return np.array([time.perf_counter(), time.process_time()]) - started


if __name__ == "__main__":
    main()
