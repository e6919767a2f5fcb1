"""What each byte of a pixel becomes in a model's input, and each of its output as a score."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pocketlens.errors import UsageError
from pocketlens.runtime.model_files import ModelFile, Tensor

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pocketlens.runtime.hints import ModelHints

# Of a quantization step: more than float32 errs on 256 steps.
_HALF_ERROR = 1e-3

_Channels = tuple[float, float, float]


def input_table(
    model: ModelFile, tensor: Tensor, hints: ModelHints | None = None
) -> NDArray[Any] | None:
    """Return what each byte 0-255 becomes in the input tensor, or None if it stays itself.

    The hints' mean and std count before the file's metadata. Quantized inputs of third-party files
    follow r = scale * (q - zero_point)
    (https://ai.google.dev/edge/litert/models/quantization_spec); a uint8 input takes raw pixels,
    since by convention its quantization's range is theirs.

    Returns:
        The tensor's dtype, (256,) where all channels are alike, else (3, 256).

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
        raise UsageError(
            f"Expected the normalisation of {model.path}, a float model without a card. "
            "Received: none. Add --mean and --std, for example --mean 127.5 --std 127.5."
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
    if (table == table[0]).all():
        table = table[0]
    return table.astype(tensor.dtype)
