"""Loading `.keras` files, the same way wherever one is needed: looked through before Keras does."""

from __future__ import annotations

import importlib
import io
import json
import tempfile
import zipfile
from pathlib import Path
from typing import Any

from pocketlens.errors import ModelFileError
from pocketlens.keras_classes import MODELS, find_unknown_class
from pocketlens.quiet import quiet

# The largest of keras.applications, ConvNeXtXLarge, takes 1.4 GB.
MOST_BYTES = 2 << 30

_SUFFIX = ".keras"
_CONFIG = "config.json"
_WEIGHTS = "model.weights.h5"
_NAMES = {"metadata.json", _CONFIG, _WEIGHTS}

# What a file begins with that is something else: HDF5's signature, and pickle's protocols 2 to 5.
_FOREIGN = {
    b"\x89HDF\r\n\x1a\n": "an HDF5 file, in which Keras does not keep code from running",
    **{
        bytes((0x80, protocol)): "a pickle, which runs code as it is opened"
        for protocol in range(2, 6)
    },
}


def load_keras_model(path: Path) -> Any:
    """Load a `.keras` file without running any code or opening any other file that it may name.

    The file is read whole and looked through, and Keras gets a copy of what was looked through.
    Keras is imported here and only here, since this module is also on the device.

    Raises:
        ModelFileError: it is not a model that can be loaded safely.
    """
    data = _read(path)
    try:
        config, weights = _open(data)
        unknown = find_unknown_class(config)
        _check_weights(weights)
    except Exception as error:  # From zipfile's errors to RecursionError.
        raise _refused(path, str(error) or type(error).__name__) from error
    if unknown is not None:
        raise ModelFileError(
            f"Expected a model of Keras's own layers at {path}, and no code or paths in it. "
            f"Received: {unknown}. Build the model without it and save it again."
        )
    with quiet():
        keras = importlib.import_module("keras")
    try:
        with tempfile.TemporaryDirectory() as folder, quiet():
            copy = Path(folder) / f"model{_SUFFIX}"
            copy.write_bytes(data)
            return keras.models.load_model(copy, compile=False, safe_mode=True)
    except Exception as error:  # Keras raises everything from KeyError to zipfile's errors.
        raise _refused(path, str(error)) from error


def _read(path: Path) -> bytes:
    if not path.is_file():
        raise _refused(path, "a folder" if path.is_dir() else "nothing there")
    if path.stat().st_size > MOST_BYTES:
        raise _refused(path, f"{path.stat().st_size / 1e9:.1f} GB, more than any such model")
    data = path.read_bytes()
    for start, what in _FOREIGN.items():
        if data.startswith(start):
            raise ModelFileError(
                f"Expected a {_SUFFIX} file at {path}. Received: {what}. "
                f'Load it where you trust it, and save it with model.save("model{_SUFFIX}").'
            )
    return data


def _open(data: bytes) -> tuple[dict[str, Any], bytes]:
    """Return what the model is made of, without what it was trained with, and its weights."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        entries = archive.infolist()
        names = [entry.filename for entry in entries]
        if set(names) - _NAMES:
            raise ValueError(f"an archive that also has {sorted(set(names) - _NAMES)[0]!r}")
        if len(names) > len(set(names)):
            raise ValueError("an archive that has a file twice")
        if sum(entry.file_size for entry in entries) > MOST_BYTES:
            raise ValueError(f"an archive of more than {MOST_BYTES >> 30} GB when opened")
        config, weights = json.loads(archive.read(_CONFIG)), archive.read(_WEIGHTS)
    kind = (config.get("module"), config.get("class_name")) if isinstance(config, dict) else None
    if kind not in MODELS:
        raise ValueError(f"a {_CONFIG} that is no model")
    # Keras leaves it out too: `compile=False`.
    return {**config, "compile_config": None}, weights


def _check_weights(weights: bytes) -> None:
    """Refuse what leads out of the file, which Keras itself does from 3.13 on (CVE-2026-1669)."""
    h5py = importlib.import_module("h5py")
    size = 0
    seen = set()
    with h5py.File(io.BytesIO(weights), "r") as file:
        waiting = [file]
        while waiting:
            group = waiting.pop()
            for name in group:
                if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                    raise ValueError(f"weights with a link, {name!r}")
                entry = group[name]
                address = h5py.h5o.get_info(entry.id).addr
                if address in seen:
                    continue
                seen.add(address)
                if isinstance(entry, h5py.Group):
                    waiting.append(entry)
                    continue
                if entry.external or entry.is_virtual:
                    raise ValueError(f"weights that lie in another file, {name!r}")
                size += entry.nbytes
                if size > MOST_BYTES:
                    raise ValueError(f"weights of more than {MOST_BYTES >> 30} GB")


def _refused(path: Path, reason: str) -> ModelFileError:
    reason = " ".join(reason.split())[:200]
    return ModelFileError(
        f"Expected a Keras model at {path}. Received: {reason}. Train or save it again."
    )
