"""Training the head on cached features against training it through the frozen base.

Run by hand (`make head-cache PHOTOS=… WEIGHTS=…`). Both ways see the same photos, augmentation,
optimizer and schedule; a way that stops early is counted as if it had gone on.
"""

import argparse
import logging
import statistics
import tempfile
import time
from pathlib import Path

import keras
import numpy as np

from pocketlens.train.callbacks import History
from pocketlens.train.checkpoints import Checkpoints
from pocketlens.train.data_check import check_data
from pocketlens.train.networks import build, freeze
from pocketlens.train.phases import Trainer, predict_scores
from pocketlens.train.pixel_cache import SplitPixels, load_pixels
from pocketlens.train.settings import HEAD, Settings


class ThroughBase(Trainer):
    """Trains the head with every photo going through the frozen base in every epoch."""

    def _train_head(self) -> None:
        settings = self._settings
        freeze(self.network, 0)
        self._fit(
            HEAD,
            self.network,
            self._training(self._pictures, self._splits["train"].pixels, self.augmentation),
            self._validation(self._splits["val"].pixels),
            settings.head_epochs,
            settings.rates.head,
        )


def main() -> None:
    """Train both ways with every seed and print times and accuracies."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--weights", default="imagenet")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    chosen = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    ratios, accuracies = [], []
    for seed in chosen.seeds:
        settings = Settings(
            weights=chosen.weights,
            seed=seed,
            head_epochs=chosen.epochs,
            fine_tune_epochs=0,
            grid_epochs=0,
        )
        divided = check_data(chosen.photos).divide(seed)
        size_wh = (settings.image_size, settings.image_size)
        splits = load_pixels(divided, size_wh, settings.resize_mode)
        figures = [
            measured(way, len(divided.labels), settings, splits) for way in (Trainer, ThroughBase)
        ]
        (cached_s, cached), (through_s, through) = figures
        ratios.append(through_s / cached_s)
        accuracies.append((cached, through))
        print(
            f"seed {seed}: cached {cached_s:.1f} s, test accuracy {cached:.4f}; through the base "
            f"{through_s:.1f} s, {through:.4f}; {ratios[-1]:.1f} times faster",
            flush=True,
        )
    cached, through = np.mean(accuracies, axis=0)
    print(
        f"median {statistics.median(ratios):.1f} times faster; mean test accuracy {cached:.4f} "
        f"against {through:.4f}"
    )


def measured(
    way: type[Trainer], classes: int, settings: Settings, splits: dict[str, SplitPixels]
) -> tuple[float, float]:
    """Return the seconds for all epochs and the test accuracy of the best one."""
    keras.utils.set_random_seed(settings.seed)
    network = build(classes, settings)
    with tempfile.TemporaryDirectory() as folder:
        history = History(Path(folder))
        checkpoints = Checkpoints(Path(folder) / "checkpoint.npz", network, history, {})
        trainer = way(network, settings, splits, history, checkpoints, Path(folder))
        started = time.perf_counter()
        trainer.train()
        total_s = time.perf_counter() - started
    epochs_s = [epoch.seconds for epoch in history.epochs]
    missing = settings.head_epochs - len(epochs_s)
    test = splits["test"]
    predicted = predict_scores(network, test, settings.batch_size).argmax(axis=1)
    return total_s + missing * statistics.median(epochs_s), float((predicted == test.labels).mean())


if __name__ == "__main__":
    main()
