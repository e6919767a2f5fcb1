"""Loading `.keras` files, the same way wherever one is needed: looked through before Keras does.

A `.keras` file names the classes that it is to be made of, and Keras makes them. `safe_mode` keeps
it from code in Lambda layers; ways around it were found again and again (CVE-2025-1550,
CVE-2025-8747, CVE-2025-9906), it did not look at layers that read files (CVE-2025-12058), and it
lets classes run that a program has registered. So nothing is made but the classes that are listed
here: those that can hold neither code nor paths.
"""

from __future__ import annotations

import importlib
import io
import json
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pocketlens.errors import ModelFileError
from pocketlens.quiet import quiet

# The largest of keras.applications, ConvNeXtXLarge, takes 1.4 GB.
MOST_BYTES = 2 << 30

_SUFFIX = ".keras"
_CONFIG = "config.json"
_WEIGHTS = "model.weights.h5"
_NAMES = {"metadata.json", _CONFIG, _WEIGHTS}

# What a file begins with that is something else, what to say of it, and what to do.
# In one line: a message's line breaks are shown escaped, as those of the names in it.
_AGAIN = (
    "If you trust it, save it again in Python: import keras; "
    "model = keras.models.load_model({name!r}, compile=False); model.save({target!r})"
)
_FOREIGN = {
    b"\x89HDF\r\n\x1a\n": ("an HDF5 file, from which Keras may run code", _AGAIN),
    b"version https://git-lfs": ("a Git LFS pointer in its place", "Fetch it with: git lfs pull"),
    b"<!DOCTYPE html": ("a web page", "Download the file itself (on GitHub: Raw or Download)."),
    # Protocols 2 to 5.
    **{
        bytes((0x80, protocol)): (
            "a pickle, which runs code as it is opened",
            "If you trust it, load it and save it with model.save({target!r}).",
        )
        for protocol in range(2, 6)
    },
}

# Policies under which Keras computes in 16 bits, which no operator of a `.tflite` file does.
_HALF_POLICIES = {"mixed_float16", "mixed_bfloat16", "float16", "bfloat16"}

_MODELS = {
    ("keras", "Functional"),
    ("keras", "Model"),
    ("keras", "Sequential"),
    ("keras.models", "Functional"),
    ("keras.models", "Model"),
    ("keras.models", "Sequential"),
    ("keras.src.engine.functional", "Functional"),
    ("keras.src.models.functional", "Functional"),
    ("keras.src.models.sequential", "Sequential"),
}

# Not here: Lambda, TFSMLayer, TorchModuleWrapper, FlaxLayer and JaxLayer hold code; StringLookup,
# IntegerLookup and TextVectorization read a vocabulary from a path.
_LAYERS = frozenset(
    """
    Activation ActivityRegularization AdaptiveAveragePooling2D AdaptiveMaxPooling2D Add
    AdditiveAttention AlphaDropout Attention AugMix AutoContrast Average AveragePooling1D
    AveragePooling2D AveragePooling3D BatchNormalization CategoryEncoding CenterCrop Concatenate
    Conv1D Conv1DTranspose Conv2D Conv2DTranspose Conv3D Conv3DTranspose Cropping1D Cropping2D
    Cropping3D CutMix Dense DepthwiseConv1D DepthwiseConv2D Discretization Dot Dropout ELU
    EinsumDense Embedding Equalization Flatten GaussianDropout GaussianNoise
    GlobalAveragePooling1D GlobalAveragePooling2D GlobalAveragePooling3D GlobalMaxPooling1D
    GlobalMaxPooling2D GlobalMaxPooling3D GroupNormalization GroupQueryAttention Identity
    InputLayer LayerNormalization LeakyReLU Masking MaxPooling1D MaxPooling2D MaxPooling3D Maximum
    Minimum MixUp MultiHeadAttention Multiply Normalization PReLU Permute Pipeline RMSNormalization
    RandAugment RandomBrightness RandomColorDegeneration RandomColorJitter RandomContrast
    RandomCrop RandomElasticTransform RandomErasing RandomFlip RandomGaussianBlur RandomGrayscale
    RandomHue RandomInvert RandomPerspective RandomPosterization RandomRotation RandomSaturation
    RandomSharpness RandomShear RandomTranslation RandomZoom ReLU RepeatVector Rescaling Reshape
    Resizing SeparableConv1D SeparableConv2D Softmax Solarization SpatialDropout1D
    SpatialDropout2D SpatialDropout3D SpectralNormalization Subtract UnitNormalization
    UpSampling1D UpSampling2D UpSampling3D ZeroPadding1D ZeroPadding2D ZeroPadding3D
    """.split()  # noqa: SIM905 (as a list it would fill two pages)
)
_CLASSES = {
    *_MODELS,
    *(("keras.layers", name) for name in _LAYERS),
    ("keras", "DTypePolicy"),
    ("keras.src.applications.convnext", "LayerScale"),
    ("keras.src.applications.inception_resnet_v2", "CustomScaleLayer"),
}

# Every class in these is arithmetic with numbers from the file.
_MODULES = {
    "keras.constraints",
    "keras.dtype_policies",
    "keras.initializers",
    "keras.regularizers",
    "keras.src.ops.nn",
    "keras.src.ops.numpy",
}

# What Keras writes plain values as, `serialization_lib.py`.
_VALUES = {"__keras_tensor__", "__tensor__", "__numpy__", "__ellipsis__", "__slice__"}


def load_keras_model(path: Path) -> Any:
    """Load a `.keras` file without running any code or opening any other file that it may name.

    The file is read whole and looked through, and Keras gets a copy of what was looked through.
    Layers that compute in 16 bits (`mixed_float16`) compute in float32. Keras is imported here and
    only here, since this module is also on the device.

    Raises:
        ModelFileError: it is not a model that can be loaded safely.
    """
    data = _read(path)
    try:
        config, weights = _open(data)
        _compute_in_float32(config)
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
            _write(copy, data, config)
            return keras.models.load_model(copy, compile=False, safe_mode=True)
    except Exception as error:  # Keras raises everything from KeyError to zipfile's errors.
        raise _refused(path, str(error)) from error


def find_unknown_class(config: Any) -> str | None:
    """Return the name of a class that must not be made of a model's configuration, or None.

    Args:
        config: what `config.json` holds.
    """
    for entry in _dictionaries(config):
        if "class_name" not in entry:
            continue
        module, name = entry.get("module"), entry["class_name"]
        # A name under which somebody registered a class of their own goes before the module.
        registered = entry.get("registered_name")
        if not (_is_known(module, name) and registered in (None, name)):
            own = f", registered as {registered}" if registered not in (None, name) else ""
            return f"{module or 'no module'}.{name}{own}"
    return None


def _read(path: Path) -> bytes:
    if not path.is_file():
        raise _refused(path, "a folder" if path.is_dir() else "nothing there")
    if path.stat().st_size > MOST_BYTES:
        raise _refused(path, f"{path.stat().st_size / 1e9:.1f} GB, more than any such model")
    data = path.read_bytes()
    refuse_foreign(path, data)
    return data


def refuse_foreign(path: Path, data: bytes, expected: str = f"a {_SUFFIX} file") -> None:
    """Raise ModelFileError where what a file begins with is known as something else."""
    for start, (what, advice) in _FOREIGN.items():
        if data.startswith(start):
            advice = advice.format(name=str(path), target=str(path.with_suffix(_SUFFIX)))
            raise ModelFileError(f"Expected {expected} at {path}. Received: {what}. {advice}")


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
    if kind not in _MODELS:
        raise ValueError(f"a {_CONFIG} that is not a model")
    # Keras leaves it out too: `compile=False`.
    return {**config, "compile_config": None}, weights


def _write(path: Path, data: bytes, config: Mapping[str, Any]) -> None:
    """Write a model again with another configuration."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive, zipfile.ZipFile(path, "w") as copy:
        for name in archive.namelist():
            copy.writestr(name, json.dumps(config) if name == _CONFIG else archive.read(name))


def _compute_in_float32(config: Any) -> None:
    """Take 16 bits out of a configuration; what is stored in them is the same number in 32."""
    for entry in _dictionaries(config):
        if entry.get("class_name") == "DTypePolicy" and isinstance(entry.get("config"), dict):
            policy, key = entry["config"], "name"
        else:
            policy, key = entry, "dtype"
        if isinstance(policy.get(key), str) and policy[key] in _HALF_POLICIES:
            policy[key] = "float32"


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


def _is_known(module: Any, name: Any) -> bool:
    if not isinstance(name, str):
        return False
    if module is None:
        return name in _VALUES
    return (module, name) in _CLASSES or (module in _MODULES and name.isidentifier())


def _dictionaries(config: Any) -> Iterator[dict[str, Any]]:
    # Without recursion, since a file may be nested deeper than Python's stack.
    waiting = [config]
    while waiting:
        entry = waiting.pop()
        if isinstance(entry, dict):
            yield entry
            waiting.extend(entry.values())
        elif isinstance(entry, list):
            waiting.extend(entry)
