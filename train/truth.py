"""What photos truly show, as the arrays that losses and metrics take."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pocketlens.card import MULTILABEL
from pocketlens.runtime.answers import Answer


def truth(labels: Sequence[Answer], classes: int, task: str) -> NDArray[Any]:
    """Return the truth of photos, from the indices of their labels.

    Returns:
        float32 (N, classes) of zeros and ones for multilabel; otherwise int64 (N,), the index of
        each photo's label, which for binary is 1 where it is the positive one.
    """
    if task != MULTILABEL:
        return np.array([index for (index,) in labels], np.int64)
    rows = np.zeros((len(labels), classes), np.float32)
    for row, indices in zip(rows, labels, strict=True):
        row[list(indices)] = 1
    return rows
