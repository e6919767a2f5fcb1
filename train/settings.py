"""What can be chosen about a training run, and what is chosen when nothing is said."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from pocketlens.choices import (
    AUGMENTATIONS,
    BALANCES,
    BINARY,
    DEFAULT_KNOWN_KEPT,
    MULTICLASS,
    MULTILABEL,
    OPTIMIZERS,
    RESIZE_MODES,
    SCHEDULES,
    SEEDS,
    TASKS,
    UNKNOWN_AUTO,
    UNKNOWN_MODES,
)
from pocketlens.errors import UsageError
from pocketlens.runtime.runs import is_run, read_run
from pocketlens.train.architectures import DEFAULT_ARCHITECTURE, Architecture, find_architecture

# What weights files begin with.
_HDF5, _ZIP = b"\x89HDF\r\n\x1a\n", b"PK"

# The phases, as the history calls them.
HEAD, FINE_TUNE, SCRATCH, GRID = "head", "fine-tune", "scratch", "grid"

WEIGHTS_IMAGENET = "imagenet"
WEIGHTS_NONE = "none"

# What a retraining takes from an earlier run's card, where nothing else is said.
_OF_RUN = ("arch", "alpha", "flip", "unknown")

# Stands for what the architecture prescribes until the settings are made.
_ARCHITECTURE_SAYS: Any = None


class Rates(NamedTuple):
    """Where the learning rate of each phase starts."""

    head: float
    main: float
    grid: float


# Adam's learning rates: its steps are about as long as the rate whatever the gradient. Plain
# gradients of these networks are much smaller and want a higher rate.
_RATE_FACTORS = {"adam": 1.0, "adamw": 1.0, "sgd": 5.0}
_FINE_TUNE_RATES = Rates(1e-3, 5e-5, 2e-5)
_SCRATCH_RATES = Rates(1e-3, 2e-3, 2e-4)

# From scratch a network needs steps, however few photos make an epoch, and photos that are never
# the same twice. Best validation loss of MobileNetV2 0.35/96 on 650 photos of flowers, mean of two
# seeds: 1.04 in 40 epochs, 0.97 in 100, 0.87 in 160, 0.77 in 153 with "strong" augmentation.
_SCRATCH_STEPS = 3200
_LEAST_SCRATCH_EPOCHS, _MOST_SCRATCH_EPOCHS = 40, 200


@dataclass(frozen=True)
class Settings:
    """How to train.

    `positive` is the label that a binary task looks for; None takes the second by name. Size,
    weights and fine-tuned layers are those that the architecture prescribes when they are not
    given. `weights` is "imagenet", "none", or the path of a weights file or run. `from_run` is a
    run whose weights are taken in their place if a head does better on them (see `train.start`);
    where the architecture has no others, or "none" were asked for, they are taken anyway.
    `splits_of` are runs whose photos keep their split, None for the earlier runs of the project
    that the photos are in; those of a run that training starts from, or may start from, always do.
    `augmentation` is "light" on weights and "strong" without any where it is not given.
    `fine_tune_epochs` of None means 10 on weights; without any, where this phase trains every layer
    from scratch, 40, and up to 200 where photos are few. Zero epochs skip a phase. `balance` makes
    uneven classes count the same, by weights or by drawing photos of rare ones more often;
    multilabel training knows no balance. `learning_rate` is where the second phase starts; `rates`
    says what None means, and a rate that is given moves the one on the grid in proportion.
    `mixed_precision` of None takes it where it pays. Without `test` no test photos are taken from
    the training photos. `unknown` of "auto" gives a multiclass model one more label, for photos
    that show none of the others, and a binary or multilabel one a second output, `novelty`;
    `known_kept` is the share of the known validation photos that are to keep their label, or to
    have a novelty below 0.5.
    """

    task: str = MULTICLASS
    positive: str | None = None
    arch: str = DEFAULT_ARCHITECTURE
    alpha: float = 1.0
    image_size: int = _ARCHITECTURE_SAYS
    weights: str = _ARCHITECTURE_SAYS
    resize_mode: str = "stretch"
    augmentation: str = _ARCHITECTURE_SAYS
    flip: bool = True
    balance: str = "weights"
    optimizer: str = "adam"
    schedule: str = "cosine"
    label_smoothing: float = 0.0
    mixed_precision: bool | None = None
    seed: int = 0
    test: bool = True
    batch_size: int = 32
    head_epochs: int = 30
    fine_tune_epochs: int | None = None
    grid_epochs: int = 4
    fine_tune_layers: int = _ARCHITECTURE_SAYS
    head_learning_rate: float | None = None
    learning_rate: float | None = None
    grid_learning_rate: float | None = None
    dropout: float = 0.2
    unknown: str = UNKNOWN_AUTO
    known_kept: float = DEFAULT_KNOWN_KEPT
    from_run: str | None = None
    splits_of: tuple[str, ...] | None = None

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
        self._check_runs()
        if self.augmentation is _ARCHITECTURE_SAYS:
            object.__setattr__(self, "augmentation", "light" if self.pretrained else "strong")
        self._check_choices()
        architecture.check_size(self.image_size)
        architecture.check_alpha(self.alpha)
        _expect(
            bool(architecture.published_alphas) or self.weights != WEIGHTS_IMAGENET,
            f"--weights none or an earlier run for {self.arch}, which nobody has trained on "
            "ImageNet",
            f"--weights {self.weights}",
        )
        _expect(
            self.weights != WEIGHTS_IMAGENET or self.alpha in architecture.published_alphas,
            f"an alpha for which {self.arch} has published ImageNet weights "
            f"({', '.join(map(str, architecture.published_alphas))}), or --weights none",
            f"--alpha {self.alpha}",
        )
        named = self.weights in (WEIGHTS_IMAGENET, WEIGHTS_NONE)
        wrong = "" if named else _wrong(self.weights) or self._other_network(self.weights)
        _expect(
            not wrong,
            "--weights imagenet, none, an earlier run, or a .keras or .h5 file",
            f"--weights {self.weights}, {wrong}",
        )
        _expect(
            self.learning_rate is None or 0 < self.learning_rate < math.inf,
            "a learning rate above 0",
            f"--learning-rate {self.learning_rate}",
        )
        _expect(0 <= self.seed < SEEDS, f"a seed from 0 to {SEEDS - 1}", f"--seed {self.seed}")
        _expect(self.batch_size >= 1, "a batch of at least one", f"--batch-size {self.batch_size}")
        _expect(
            not (self.task == MULTILABEL and self.balance == "oversample"),
            "one class a photo to oversample by",
            f"--balance oversample with --task {self.task}",
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
        for name in ("head", "fine_tune", "grid"):
            epochs = getattr(self, f"{name}_epochs") or 0
            option = f"--{name.replace('_', '-')}-epochs"
            _expect(epochs >= 0, "epochs of 0 or more", f"{option} {epochs}")
        _expect(
            0.5 <= self.known_kept < 1,
            "a share of 0.5 to less than 1",
            f"--known-kept {self.known_kept}",
        )
        first = self.head_epochs if self.pretrained else 0
        none = first == self.fine_tune_epochs == self.grid_epochs == 0
        _expect(not none, "at least one epoch in one phase", "none")

    def _check_runs(self) -> None:
        """Refuse what are no runs, and take the weights of `from_run` where there are no others."""
        named = [("--splits-of", run) for run in self.splits_of or ()]
        named += [("--from", self.from_run)] if self.from_run is not None else []
        for option, run in named:
            came = "a file or folder that is not a run" if Path(run).exists() else "no such folder"
            _expect(
                is_run(Path(run)), f"the folder of an earlier run for {option}", f"{run}, {came}"
            )
        if self.from_run is None:
            return
        other = self._other_network(self.from_run)
        _expect(
            not other,
            f"--arch and --alpha as in the run of --from, or none, to take the run's ({other})",
            f"{self.arch} with alpha {self.alpha}",
        )
        # Random weights give no features to compare, and not every width has published ones.
        published = self.alpha in self.architecture.published_alphas
        if self.weights == WEIGHTS_NONE or (self.weights == WEIGHTS_IMAGENET and not published):
            object.__setattr__(self, "weights", self.from_run)

    def _other_network(self, weights: str) -> str:
        """Return in words of which other network a run's weights are, "" if they are of this."""
        if not is_run(Path(weights)):
            return ""
        trained = read_run(Path(weights)).card.training
        found = {name: trained.get(name, getattr(self, name)) for name in ("arch", "alpha")}
        if found == {name: getattr(self, name) for name in found}:
            return ""
        return f"which is {found['arch']} with alpha {found['alpha']}"

    def _check_choices(self) -> None:
        for what, option, value, known in (
            ("a resize mode", "resize", self.resize_mode, RESIZE_MODES),
            ("a task", "task", self.task, TASKS),
            ("an augmentation", "augment", self.augmentation, AUGMENTATIONS),
            ("a balance", "balance", self.balance, BALANCES),
            ("an optimizer", "optimizer", self.optimizer, OPTIMIZERS),
            ("a schedule", "schedule", self.schedule, SCHEDULES),
            ("a mode", "unknown", self.unknown, UNKNOWN_MODES),
        ):
            _expect(value in known, f"{what} of {', '.join(known)}", f"--{option} {value}")

    @property
    def rates(self) -> Rates:
        """The learning rates at which the phases start."""
        factor = _RATE_FACTORS[self.optimizer]
        usual = _FINE_TUNE_RATES if self.pretrained else _SCRATCH_RATES
        head, main, grid = (factor * rate for rate in usual)
        if self.learning_rate is not None:
            main, grid = self.learning_rate, grid / main * self.learning_rate
        return Rates(
            head if self.head_learning_rate is None else self.head_learning_rate,
            main,
            grid if self.grid_learning_rate is None else self.grid_learning_rate,
        )

    @property
    def architecture(self) -> Architecture:
        """What is known of the architecture that was chosen."""
        return find_architecture(self.arch)

    @property
    def wants_unknown(self) -> bool:
        """Whether the model is to say of photos that they show nothing it knows."""
        return self.unknown == UNKNOWN_AUTO

    @property
    def pretrained(self) -> bool:
        """Whether training starts from weights that have seen other photos."""
        return self.weights != WEIGHTS_NONE

    def planned_epochs(self, photos: int) -> dict[str, int]:
        """Return the epochs of each phase in its order, with so many photos to train on."""
        first = self.head_epochs if self.pretrained else 0
        planned = {
            HEAD: first,
            FINE_TUNE if self.pretrained else SCRATCH: self.main_epochs(photos),
            GRID: self.grid_epochs,
        }
        return {phase: epochs for phase, epochs in planned.items() if epochs}

    def main_epochs(self, photos: int) -> int:
        """Return how many epochs the second phase has with so many photos to train on."""
        if self.fine_tune_epochs is not None:
            return self.fine_tune_epochs
        if self.pretrained:
            return 10
        enough = -(-_SCRATCH_STEPS // -(-photos // self.batch_size))
        return min(max(enough, _LEAST_SCRATCH_EPOCHS), _MOST_SCRATCH_EPOCHS)


def as_in_run(run: Path, chosen: Mapping[str, Any]) -> dict[str, Any]:
    """Return what was chosen of `Settings`, and what an earlier run had of what was not.

    That is the network, its input, and what the labels mean: without these the run's weights do
    not fit, or its figures and those of a new run are of different tasks.

    Raises:
        UsageError: it is not a run.
        ModelFileError: its card is damaged.
    """
    card = read_run(run).card
    had = {name: card.training[name] for name in _OF_RUN if name in card.training}
    had |= {"resize_mode": card.resize_mode, "task": card.task, "image_size": card.input_size_wh[0]}
    if card.task == BINARY and chosen.get("task", BINARY) == BINARY:
        had["positive"] = card.labels[1]
    return {**had, **chosen}


def _wrong(weights: str) -> str:
    """Return in words why a path cannot have weights, "" where it can."""
    path = Path(weights)
    if path.is_dir():
        return "" if is_run(path) else "a folder that is not a run"
    if not path.is_file():
        return "which is not there"
    with path.open("rb") as file:
        head = file.read(len(_HDF5))
    if path.suffix == ".keras":
        return "" if head.startswith(_ZIP) else "whose content is not a Keras model"
    if path.suffix in (".h5", ".hdf5"):
        return "" if head == _HDF5 else "whose content is not HDF5"
    return "a file of another kind"


def _expect(holds: bool, expected: str, received: str) -> None:
    if not holds:
        raise UsageError(f"Expected {expected}. Received: {received}.")
