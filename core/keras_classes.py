"""Which of Keras's classes may be in a model file: those that can hold neither code nor paths.

A `.keras` file names what is to be made of it, and Keras makes it. `safe_mode` keeps it from code
in Lambda layers; ways around it were found again and again (CVE-2025-1550, CVE-2025-8747,
CVE-2025-9906), it did not look at layers that read files (CVE-2025-12058), and it lets classes run
that a program has registered. So nothing is made that is not here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

MODELS = {
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
    *MODELS,
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


def _is_known(module: Any, name: Any) -> bool:
    if not isinstance(name, str):
        return False
    if module is None:
        return name in _VALUES
    return (module, name) in _CLASSES or (module in _MODULES and name.isidentifier())


def _dictionaries(config: Any) -> Iterator[Mapping[str, Any]]:
    # Without recursion, since a file may be nested deeper than Python's stack.
    waiting = [config]
    while waiting:
        entry = waiting.pop()
        if isinstance(entry, dict):
            yield entry
            waiting.extend(entry.values())
        elif isinstance(entry, list):
            waiting.extend(entry)
