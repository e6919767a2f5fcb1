"""The classifier: pixels in, labels out, at next to no cost over the interpreter."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import cv2
import numpy as np

from pocketlens.choices import BINARY, MULTILABEL
from pocketlens.errors import ModelFileError, ScoresError, UsageError
from pocketlens.runtime.answers import (
    ACTIVATE,
    Answer,
    answer_of,
    best_scores,
    describe,
    in_label_set,
    label_scores,
    set_score,
)
from pocketlens.runtime.model_files import (
    ModelFile,
    Tensor,
    layout_of,
    read_model_file,
    read_signature,
)
from pocketlens.runtime.pictures import Pixels, Resizer, decode, resize
from pocketlens.runtime.trial import load_model

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from pocketlens.card import ModelCard
    from pocketlens.runtime.hints import ModelHints

DEFAULT_TOP_K = 5

# Of a quantization step: more than float32 errs on 256 steps.
_HALF_ERROR = 1e-3

_Channels = tuple[float, float, float]

_UINT8 = np.dtype(np.uint8)


@dataclass(frozen=True)
class Category:
    """A label, its score in 0-1, and the index of the label."""

    label: str
    score: float
    index: int


class Timing(NamedTuple):
    """Where the time of one frame went, in milliseconds.

    `resize_ms` is all until the pixels are in the input tensor, `invoke_ms` the inference alone,
    `post_ms` all from its scores to the result.
    """

    resize_ms: float = 0.0
    invoke_ms: float = 0.0
    post_ms: float = 0.0


@dataclass(frozen=True)
class Result:
    """What is said of one picture: the best labels, and which of them are the answer.

    `categories` are the best labels with their scores, best first, with at least those that are the
    answer. The answer, the first ones among them, is one label; for a multilabel model every label
    whose score is high enough, so several or none. A binary model's answer is the positive label
    from its threshold up, whatever that is; the score of the other label is 1 less the first.
    `scores` are those of all labels, float32 (labels,), in 0-1; `timing` is 0 where nothing was
    measured. Neither counts when two results are compared. `unknown` is the index of the label for
    photos that show none of the others (`ModelCard.unknown`), None where the model has none.

    `label_set`, best first, are the labels that together hold the right one in the share of photos
    that `Classifier(sets=...)` asked for, never empty; the first of `categories` are these. Without
    that it is ().

    `novelty` in 0-1 says how unlike the photos that the model knows a picture is. It is the score
    of the label for unknown photos where there is one; for a binary or multilabel model it is 0.5
    where 95 % of known photos are lower (or what `train --known-kept` says). None for a model that
    was trained without.
    """

    categories: tuple[Category, ...]
    answers: tuple[Category, ...]
    scores: NDArray[np.float32] = field(
        default_factory=lambda: np.empty(0, np.float32), repr=False, compare=False
    )
    timing: Timing = field(default=Timing(), repr=False, compare=False)
    unknown: int | None = field(default=None, repr=False, compare=False)
    label_set: tuple[str, ...] = ()
    novelty: float | None = None

    @property
    def top(self) -> Category:
        """The best label, whether it is an answer or not."""
        return self.categories[0]

    @property
    def is_unknown(self) -> bool:
        """Whether the answer is that the picture shows none of what the model knows."""
        return self.unknown is not None and self.answers[0].index == self.unknown


def to_json(
    categories: Sequence[Category],
    answers: Sequence[Category],
    label_set: Sequence[str] = (),
    novelty: float | None = None,
) -> dict[str, Any]:
    """Return a result's parts as plain JSON; `label_set` and `novelty` only where there is one."""
    return {
        "categories": [
            {"label": entry.label, "score": round(entry.score, 6)} for entry in categories
        ],
        "answers": [entry.label for entry in answers],
        **({"label_set": list(label_set)} if label_set else {}),
        **({} if novelty is None else {"novelty": round(novelty, 6)}),
    }


class Classifier:
    """A `.tflite` image classifier, loaded and ready.

    It takes files that pocketlens wrote, which say by their card how to be used, and third-party
    ones. It may be used by one thread at a time.

    Args:
        model: path of a `.tflite` file, or one that `read_model_file` has read.
        threads: how many threads an inference uses; "auto" measures which number is best here.
        top_k: how many labels a result has at least.
        hints: what a third-party model does not say of itself, and the interpreter to take.
        sets: gives results a `label_set`, which holds the right label in this share of photos like
            those of the training's validation split: 0.8, 0.9, 0.95 or 0.99, if the card has it.

    Raises:
        ModelFileError: the file is not an image classifier.
        LabelsError: there are more or fewer labels than scores.
        UsageError: an argument cannot be, or a third-party float model came without `mean` and
            `std`, in its metadata or in the hints.
    """

    def __init__(
        self,
        model: str | Path | ModelFile,
        *,
        threads: int | Literal["auto"] = 1,
        top_k: int = DEFAULT_TOP_K,
        hints: ModelHints | None = None,
        sets: float | None = None,
    ) -> None:
        if (threads != "auto" and threads < 1) or top_k < 1:
            raise UsageError(
                f"Expected at least one thread and one label. Received: {threads=}, {top_k=}."
            )
        self.model = model if isinstance(model, ModelFile) else read_model_file(model)
        if self.model.card is None:
            from pocketlens.runtime.third_party import complete

            self.model = complete(self.model, hints)
        backend = hints.backend if hints else None
        if threads == "auto":
            from pocketlens.runtime.threads import choose_threads

            threads = choose_threads(self.model, backend=backend).threads
        self.threads = threads
        self.interpreter = load_model(self.model, threads=threads, backend=backend)
        self.signature = read_signature(self.interpreter, self.model.path)
        self.size_wh = self.signature.size_wh
        card = describe(
            self.model.path,
            self.size_wh,
            self.signature.classes,
            card=self.model.card,
            labels=self.model.labels,
            hints=hints,
        )
        if self.model.card is None and (hints is None or hints.activation is None):
            from pocketlens.runtime.third_party import find_activation

            activation = find_activation(self.model, self.interpreter, self.signature, card.task)
            card = replace(card, activation=activation)
        self.card = card
        self.labels, self.task, self.threshold = card.labels, card.task, card.threshold
        self.resize_mode, self._unknown = card.resize_mode, card.unknown_index
        self._top_k = top_k
        self._set_score = None if sets is None else set_score(card, sets, self.model.path)
        self._resize = Resizer(self.size_wh, self.resize_mode)
        self._rgb: Pixels = np.empty((self.size_wh[1], self.size_wh[0], 3), np.uint8)
        self._table = input_table(self.model, self.signature.input, hints)
        self._layout = layout = self.signature.layout
        self._usual = layout.channels == 3 and not layout.channels_first
        if self._table is not None and self._table.ndim == 2:
            self._table = np.ascontiguousarray(self._table.T)[None]
        self._raw = self._table is None and self.signature.input.dtype == np.uint8 and self._usual
        self._score_table = score_table(self.signature.output)
        self._finish = _finishing(self.model, card)
        # The functions are kept, not the arrays: a living view makes `invoke` raise.
        self._input = self.interpreter.tensor(self.signature.input.index)
        self._output = self.interpreter.tensor(self.signature.output.index)
        self._novelty: Callable[[], NDArray[Any]] | None = None
        if card.novelty is not None:
            tensor = self.signature.novelty
            if tensor is None:
                raise ModelFileError(
                    f"Expected the second output of {self.model.path}, which its card calls "
                    "novelty. Received: a model of one. Convert the model again."
                )
            self._novelty = self.interpreter.tensor(tensor.index)
            self._novelty_table = score_table(tensor)

    def classify(self, frame_bgr: Pixels) -> Result:
        """Classify a frame as OpenCV gives it.

        Args:
            frame_bgr: uint8 (height, width, 3), BGR, any size.

        Raises:
            UsageError: the frame has another shape or dtype.
            ScoresError: the model gives NaN or infinite scores.
        """
        started_s = time.perf_counter()
        _check_frame(frame_bgr)
        small = self._resize(frame_bgr)
        if self._raw:
            cv2.cvtColor(small, cv2.COLOR_BGR2RGB, dst=self._input()[0])
        else:
            cv2.cvtColor(small, cv2.COLOR_BGR2RGB, dst=self._rgb)
            self._put(self._rgb)
        ready_s = time.perf_counter()
        self.interpreter.invoke()
        invoked_s = time.perf_counter()
        categories, answers, scores, label_set = self._rank(self._read_scores())
        ended_s = time.perf_counter()
        timing = Timing(
            1000 * (ready_s - started_s),
            1000 * (invoked_s - ready_s),
            1000 * (ended_s - invoked_s),
        )
        novelty = self._novelty_of(scores)
        return Result(categories, answers, scores, timing, self._unknown, label_set, novelty)

    def classify_photo(self, photo: str | Path | bytes) -> Result:
        """Classify a picture file, decoded and resized as in training.

        Raises:
            PictureError: the picture cannot be decoded.
        """
        return self.classify_pixels(resize(decode(photo), self.size_wh, self.resize_mode))

    def classify_pixels(self, pixels_rgb: Pixels) -> Result:
        """Classify pixels that have the model's size, uint8 (height, width, 3) in RGB.

        Raises:
            UsageError: the pixels have another shape.
            ScoresError: the model gives NaN or infinite scores.
        """
        result = self.best(self.scores(pixels_rgb))
        return replace(result, novelty=self._novelty_of(result.scores))

    def scores(self, pixels_rgb: Pixels) -> NDArray[np.float32]:
        """Run the model on pixels that have its size.

        Args:
            pixels_rgb: uint8 (height, width, 3), RGB.

        Returns:
            float32 (classes,): the scores, in the order of `labels`; (1,) for a binary model, the
            score of the positive label.

        Raises:
            UsageError: the pixels have another shape.
        """
        if pixels_rgb.shape != self._rgb.shape:
            raise UsageError(
                f"Expected pixels of the model's size, {self._rgb.shape}. "
                f"Received: {pixels_rgb.shape}. Resize them first."
            )
        self._put(pixels_rgb)
        self.interpreter.invoke()
        return self._read_scores()

    def novelty(self) -> float:
        """Return the second output of a model that has one, for the pixels that it ran on last.

        Raises:
            ScoresError: it is NaN or infinite.
        """
        if self._novelty is None:
            raise UsageError(f"{self.model.path} has no second output for novelty.")
        value = self._novelty().reshape(-1)[0]
        if self._novelty_table is not None:
            value = self._novelty_table[value]
        if not math.isfinite(value):
            raise self._not_finite()
        return float(value)

    def best(self, scores: NDArray[np.float32]) -> Result:
        """Return what `scores` say of a picture; raises ScoresError if they are not finite.

        A `novelty` that does not follow from scores is None.
        """
        categories, answers, each, label_set = self._rank(scores)
        novelty = None if self._unknown is None else float(each[self._unknown])
        return Result(
            categories,
            answers,
            each,
            unknown=self._unknown,
            label_set=label_set,
            novelty=novelty,
        )

    def answer(self, scores: NDArray[np.float32]) -> Answer:
        """Return the indices of the labels that are the answer, ascending."""
        return answer_of(scores, self.task, self.threshold)

    def close(self) -> None:
        """Give the model's memory back."""
        for name in ("interpreter", "_input", "_output", "_novelty"):
            self.__dict__.pop(name, None)

    def __enter__(self) -> Classifier:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _put(self, pixels_rgb: Pixels) -> None:
        if not self._usual:
            self._put_other(pixels_rgb)
            return
        view = self._input()[0]
        if self._table is None:
            np.copyto(view, pixels_rgb, casting="unsafe")
        else:
            cv2.LUT(pixels_rgb, self._table, dst=view)

    def _put_other(self, pixels_rgb: Pixels) -> None:
        """Put pixels into an input of one channel, or with the channels first."""
        layout = self._layout
        values: NDArray[Any] = pixels_rgb
        if layout.channels == 1:
            # OpenCV's luma is that of ITU-R BT.601: 0.299 R + 0.587 G + 0.114 B.
            values = cv2.cvtColor(pixels_rgb, cv2.COLOR_RGB2GRAY)
        if self._table is not None:
            values = cv2.LUT(values, self._table)
        values = values.reshape(*pixels_rgb.shape[:2], layout.channels)
        view = self._input()[0]
        if layout.channels_first:
            view = view.transpose(1, 2, 0)
        np.copyto(view.reshape(values.shape), values, casting="unsafe")

    def _read_scores(self) -> NDArray[np.float32]:
        values: NDArray[Any] = self._output().reshape(-1)
        scores = values.copy() if self._score_table is None else self._score_table.take(values)
        return scores if self._finish is None else self._finish(scores)

    def _novelty_of(self, scores: NDArray[np.float32]) -> float | None:
        """Return the novelty of the picture that was classified last, whose scores these are."""
        if self._unknown is not None:
            return float(scores[self._unknown])
        return None if self._novelty is None else self.novelty()

    def _not_finite(self) -> ScoresError:
        return ScoresError(
            f"Expected scores between 0 and 1 to come out of {self.model.path}. Received: "
            "NaN or infinite scores. Convert the model again."
        )

    def _rank(
        self, scores: NDArray[np.float32]
    ) -> tuple[tuple[Category, ...], tuple[Category, ...], NDArray[np.float32], tuple[str, ...]]:
        # One call for all of them, since after an inference each finds the caches cold.
        if not math.isfinite(scores.dot(scores)):
            raise self._not_finite()
        each = label_scores(scores, self.task)
        answers = len(self.answer(scores)) if self.task == MULTILABEL else 1
        among = 0 if self._set_score is None else int(in_label_set(each, self._set_score).sum())
        best = best_scores(each, max(self._top_k, answers, among))
        if self.task == BINARY:
            (first,) = self.answer(scores)
            best = [(index, float(each[index])) for index in (first, 1 - first)][: self._top_k]
        categories = tuple(Category(self.labels[index], score, index) for index, score in best)
        label_set = tuple(entry.label for entry in categories[:among])
        return categories, categories[:answers], each, label_set


def _finishing(
    model: ModelFile, card: ModelCard
) -> Callable[[NDArray[np.float32]], NDArray[np.float32]] | None:
    """Return what makes scores of a model's outputs, None where they are scores already."""
    activate, calibrate = ACTIVATE.get(card.activation), None
    if model.metadata is not None and model.metadata.calibration is not None:
        from pocketlens.runtime.third_party import calibration_of

        calibrate = calibration_of(model, len(card.score_labels))
    if activate is not None and calibrate is not None:
        return lambda outputs: calibrate(activate(outputs))
    return activate or calibrate


def _check_frame(frame_bgr: Any) -> None:
    if (
        not isinstance(frame_bgr, np.ndarray)
        or frame_bgr.dtype != _UINT8
        or frame_bgr.ndim != 3
        or frame_bgr.shape[2] != 3
        or 0 in frame_bgr.shape
    ):
        came = f"{type(frame_bgr).__name__} {getattr(frame_bgr, 'dtype', '')} " + str(
            getattr(frame_bgr, "shape", "")
        )
        raise UsageError(
            f"Expected a frame as uint8 (height, width, 3) in BGR. Received: {came.strip()}."
        )


def input_table(
    model: ModelFile, tensor: Tensor, hints: ModelHints | None = None
) -> NDArray[Any] | None:
    """Return what each byte 0-255 becomes in the input tensor, or None if it stays itself.

    The hints' mean and std count before the file's metadata. Quantized inputs of third-party files
    follow r = scale * (q - zero_point)
    (https://ai.google.dev/edge/litert/models/quantization_spec); a uint8 input takes raw pixels,
    since by convention its quantization's range is theirs, and so does a float model that scales
    them itself.

    Returns:
        The tensor's dtype, (256,) where all channels are alike, or there is only one, else
        (3, 256).

    Raises:
        UsageError: nothing says how a float model wants its pixels.
    """
    if model.card is not None:
        return None
    if hints is not None and hints.mean is not None and hints.std is not None:
        return _table((hints.mean,) * 3, (hints.std,) * 3, tensor)
    if tensor.dtype == np.uint8:
        return None
    if model.metadata is not None and model.metadata.normalisation is not None:
        normalisation = model.metadata.normalisation
        return _table(normalisation.mean, normalisation.std, tensor)
    if tensor.dtype == np.float32:
        from pocketlens.runtime.third_party import scales_pixels

        if scales_pixels(model.flatbuffer):
            return None
        raise UsageError(
            f"Expected the normalization of {model.path}, a float model without a card. Received: "
            "none. Add --mean and --std, for example --mean 127.5 --std 127.5."
        )
    return (np.arange(256) - 128).astype(np.int8)


def score_table(tensor: Tensor) -> NDArray[np.float32] | None:
    """Return the score for each value of a quantized output, or None if it is float32.

    Returns:
        float32 (256,), at 0-255 for uint8; for int8 -128 to -1 count from the end, as NumPy does.
    """
    if tensor.dtype == np.float32:
        return None
    table = np.arange(256, dtype=np.uint8).view(tensor.dtype).astype(np.float32)
    if tensor.scale:
        table -= tensor.zero_point
        table *= tensor.scale
    return table


def _table(mean: _Channels, std: _Channels, tensor: Tensor) -> NDArray[Any]:
    table: NDArray[Any] = (np.arange(256) - np.array(mean)[:, None]) / np.array(std)[:, None]
    if tensor.dtype != np.float32:
        limits = np.iinfo(tensor.dtype)
        # With a mean of 127.5 every value is a half, give or take the scale's float error. All of
        # them have to go the same way, or two neighbouring bytes become one.
        table = np.floor(table / (tensor.scale or 1.0) + 0.5 + _HALF_ERROR) + tensor.zero_point
        table = np.clip(table, limits.min, limits.max)
    if (table == table[0]).all() or layout_of(tensor.shape).channels == 1:
        table = table[0]
    return table.astype(tensor.dtype)
