"""What can be chosen about a training run, and what is chosen when nothing is said."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pocketlens.card import BINARY, MULTICLASS, MULTILABEL, RESIZE_MODES, TASKS
from pocketlens.errors import UsageError
from pocketlens.train.architectures import DEFAULT_ARCHITECTURE, Architecture, find_architecture

WEIGHTS_IMAGENET = "imagenet"
WEIGHTS_NONE = "none"

AUGMENTATIONS = ("none", "light", "strong")
BALANCES = ("weights", "oversample", "none")
OPTIMIZERS = ("adam", "adamw", "sgd")
SCHEDULES = ("constant", "cosine", "exponential", "plateau")
# Stands for what the architecture prescribes until the settings are made.
_ARCHITECTURE_SAYS: Any = None


@dataclass(frozen=True)
class Settings:
    """How to train.

    `positive` is the label that a binary task looks for; None takes the second by name. Size,
    weights and fine-tuned layers are those that the architecture prescribes when they are not
    given. `weights` is "imagenet", "none", or the path of a weights file or run.
    `fine_tune_epochs` of None means 10 on pretrained weights, and 40 without any, where this
    phase trains every layer from scratch. Zero epochs skip a phase. `balance` makes uneven classes
    count the same, by weights or by drawing photos of rare ones more often; multilabel training
    knows no balance. Learning rates are those of Adam, from which the other optimizers' follow.
    `mixed_precision` of None takes it where it pays.
    """

    task: str = MULTICLASS
    positive: str | None = None
    arch: str = DEFAULT_ARCHITECTURE
    alpha: float = 1.0
    image_size: int = _ARCHITECTURE_SAYS
    weights: str = _ARCHITECTURE_SAYS
    resize_mode: str = "stretch"
    augmentation: str = "light"
    flip: bool = True
    balance: str = "weights"
    optimizer: str = "adam"
    schedule: str = "cosine"
    label_smoothing: float = 0.0
    mixed_precision: bool | None = None
    seed: int = 0
    batch_size: int = 32
    head_epochs: int = 30
    fine_tune_epochs: int | None = None
    grid_epochs: int = 4
    fine_tune_layers: int = _ARCHITECTURE_SAYS
    head_learning_rate: float = 1e-3
    fine_tune_learning_rate: float = 5e-5
    grid_learning_rate: float = 2e-5
    scratch_learning_rate: float = 2e-3
    scratch_grid_learning_rate: float = 2e-4
    dropout: float = 0.2

    def __post_init__(self) -> None:
        """Fill in what the architecture prescribes, and refuse what cannot be trained."""
        architecture = self.architecture
        prescribed = {
            "image_size": architecture.image_size,
            "weights": WEIGHTS_IMAGENET if architecture.published_alphas else WEIGHTS_NONE,
            "fine_tune_layers": architecture.fine_tune_layers,
        }
        for name, value in prescribed.items():
            if getattr(self, name) is _ARCHITECTURE_SAYS:
                object.__setattr__(self, name, value)
        architecture.check_size(self.image_size)
        architecture.check_alpha(self.alpha)
        _expect(
            bool(architecture.published_alphas) or self.weights != WEIGHTS_IMAGENET,
            f"--weights none or an earlier run for {self.arch}, which nobody has trained on "
            "ImageNet",
            f"--weights {self.weights}",
        )
        _expect(self.batch_size >= 1, "a batch of at least one", f"--batch-size {self.batch_size}")
        for what, option, value, known in (
            ("a resize mode", "resize", self.resize_mode, RESIZE_MODES),
            ("a task", "task", self.task, TASKS),
            ("an augmentation", "augment", self.augmentation, AUGMENTATIONS),
            ("a balance", "balance", self.balance, BALANCES),
            ("an optimizer", "optimizer", self.optimizer, OPTIMIZERS),
            ("a schedule", "schedule", self.schedule, SCHEDULES),
        ):
            _expect(value in known, f"{what} of {', '.join(known)}", f"--{option} {value}")
        _expect(
            not (self.task == MULTILABEL and self.balance == "oversample"),
            "one class a photo to oversample by",
            f"--oversample with --task {self.task}",
        )
        _expect(
            0 <= self.label_smoothing < 1,
            "a label smoothing of 0 to less than 1",
            f"--label-smoothing {self.label_smoothing}",
        )
        _expect(
            self.positive is None or self.task == BINARY,
            "--positive only with --task binary",
            f"--task {self.task}",
        )
        epochs = (self.head_epochs, self.fine_tune_epochs or 0, self.grid_epochs)
        _expect(min(epochs) >= 0, "epochs of 0 or more", f"{epochs}")
        trained = epochs if self.pretrained else (0, self.main_epochs, self.grid_epochs)
        _expect(sum(trained) > 0, "at least one epoch in one phase", "none")

    @property
    def architecture(self) -> Architecture:
        """What is known of the architecture that was chosen."""
        return find_architecture(self.arch)

    @property
    def pretrained(self) -> bool:
        """Whether training starts from weights that have seen other photos."""
        return self.weights != WEIGHTS_NONE

    @property
    def main_epochs(self) -> int:
        """How many epochs the second phase has."""
        if self.fine_tune_epochs is not None:
            return self.fine_tune_epochs
        return 10 if self.pretrained else 40


def _expect(holds: bool, expected: str, received: str) -> None:
    if not holds:
        raise UsageError(f"Expected {expected}. Received: {received}.")
