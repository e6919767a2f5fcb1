"""The settings of a training of seconds, for what does not depend on the network."""

from typing import Any

SMALL_TRAINING: dict[str, Any] = {
    "arch": "cnn_deep",
    "image_size": 32,
    "weights": "none",
    "augmentation": "light",
    "batch_size": 16,
    "fine_tune_epochs": 4,
    "grid_epochs": 0,
    "unknown": "off",
}
