"""The networks to choose from: what each takes, and what its publishers say of it.

Only facts, so that the list is there at once; `networks` builds them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pocketlens.errors import UsageError

# What a network makes of raw RGB pixels in 0-255 before its first layer.
SYMMETRIC = "symmetric"  # -1 to 1.
IMAGENET_BGR = "imagenet-bgr"  # BGR, the mean colour of ImageNet subtracted.
IMAGENET_RGB = "imagenet-rgb"  # Mean 0 and standard deviation 1 over ImageNet.

MAX_IMAGE_SIZE = 1024
MIN_ALPHA, MAX_ALPHA = 0.1, 2.0

_KERAS_SOURCE = "https://keras.io/api/applications/"
_MOBILENET_V3_SOURCE = "https://keras.io/api/applications/mobilenet/"


@dataclass(frozen=True)
class Width:
    """A network at one width (alpha).

    `parameters` are those of the part that is kept here; `published_parameters` count the layers
    for ImageNet's 1000 classes too, as the published weights have them. `top1` maps each size in
    pixels for which there are published weights to their accuracy on ImageNet's validation photos,
    a share of 1.
    """

    alpha: float
    parameters: int
    published_parameters: int = 0
    top1: Mapping[int, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Architecture:
    """A network without its head.

    `application` is its name in keras.applications, "" for what pocketlens builds itself.
    `fine_tune_layers` is how many of its last layers fine-tuning changes: those of the last two of
    the stages between which the picture is halved, which was measured for MobileNetV2. `source`
    is who measured the published weights, "" without any.
    """

    name: str
    application: str
    normalisation: str
    image_size: int
    min_image_size: int
    fine_tune_layers: int
    widths: tuple[Width, ...]
    has_alpha: bool = False
    source: str = ""

    @property
    def published_alphas(self) -> tuple[float, ...]:
        """The widths that have published weights, the narrowest first."""
        return tuple(width.alpha for width in self.widths if width.top1)

    def published_size(self, alpha: float, image_size: int) -> int:
        """Return the size of the published weights to take for a width and a size.

        Convolutions take any size, so those of the usual one do where none of this one are.
        """
        sizes = next(width.top1 for width in self.widths if width.alpha == alpha)
        return image_size if image_size in sizes else self.image_size

    def check_size(self, image_size: int) -> None:
        """Refuse a size that leaves nothing of the picture, or that nobody can mean.

        Raises:
            UsageError: it is out of range.
        """
        if not self.min_image_size <= image_size <= MAX_IMAGE_SIZE:
            raise UsageError(
                f"Expected an image size of {self.min_image_size} to {MAX_IMAGE_SIZE} pixels for "
                f"{self.name}. Received: --image-size {image_size}."
            )

    def check_alpha(self, alpha: float) -> None:
        """Refuse a width that cannot be.

        Raises:
            UsageError: it is out of range, or the network has one width only.
        """
        if not self.has_alpha and alpha != 1.0:
            raise UsageError(
                f"Expected no --alpha for {self.name}, which has one width. "
                f"Received: --alpha {alpha}. Choose one of the MobileNets for another."
            )
        if not MIN_ALPHA <= alpha <= MAX_ALPHA:
            raise UsageError(
                f"Expected an alpha of {MIN_ALPHA} to {MAX_ALPHA}. Received: --alpha {alpha}."
            )


def find_architecture(name: str) -> Architecture:
    """Return an architecture by its name.

    Raises:
        UsageError: there is none of that name.
    """
    if name not in ARCHITECTURES:
        raise UsageError(
            f"Expected an architecture of {', '.join(ARCHITECTURES)}. Received: --arch {name}."
        )
    return ARCHITECTURES[name]


ARCHITECTURES = {
    entry.name: entry
    for entry in (
        Architecture(
            "mobilenet_v2",
            "MobileNetV2",
            SYMMETRIC,
            image_size=224,
            min_image_size=32,
            fine_tune_layers=100,
            widths=(
                Width(
                    0.35,
                    410_208,
                    1_691_208,
                    {224: 0.603, 192: 0.582, 160: 0.557, 128: 0.508, 96: 0.455},
                ),
                Width(
                    0.5,
                    706_224,
                    1_987_224,
                    {224: 0.654, 192: 0.639, 160: 0.610, 128: 0.577, 96: 0.512},
                ),
                Width(
                    0.75,
                    1_382_064,
                    2_663_064,
                    {224: 0.698, 192: 0.687, 160: 0.664, 128: 0.632, 96: 0.588},
                ),
                Width(
                    1.0,
                    2_257_984,
                    3_538_984,
                    {224: 0.718, 192: 0.707, 160: 0.688, 128: 0.653, 96: 0.603},
                ),
                Width(1.3, 3_766_048, 5_431_048, {224: 0.744}),
                Width(1.4, 4_363_712, 6_156_712, {224: 0.750}),
            ),
            has_alpha=True,
            source="https://github.com/tensorflow/models/tree/master/research/slim/nets/mobilenet",
        ),
        Architecture(
            "mobilenet_v3_small",
            "MobileNetV3Small",
            SYMMETRIC,
            image_size=224,
            min_image_size=32,
            fine_tune_layers=122,
            widths=(
                Width(0.75, 583_160, 2_051_552, {224: 0.654}),
                Width(1.0, 939_120, 2_554_968, {224: 0.681}),
            ),
            has_alpha=True,
            source=_MOBILENET_V3_SOURCE,
        ),
        Architecture(
            "mobilenet_v3_large",
            "MobileNetV3Large",
            SYMMETRIC,
            image_size=224,
            min_image_size=32,
            fine_tune_layers=113,
            widths=(
                Width(0.75, 1_808_736, 4_012_616, {224: 0.733}),
                Width(1.0, 2_996_352, 5_507_432, {224: 0.756}),
            ),
            has_alpha=True,
            source=_MOBILENET_V3_SOURCE,
        ),
        Architecture(
            "efficientnet_b0",
            "EfficientNetB0",
            IMAGENET_RGB,
            image_size=224,
            min_image_size=32,
            fine_tune_layers=162,
            widths=(Width(1.0, 4_049_564, 5_330_571, {224: 0.771}),),
            source=_KERAS_SOURCE,
        ),
        Architecture(
            "resnet50",
            "ResNet50",
            IMAGENET_BGR,
            image_size=224,
            min_image_size=32,
            fine_tune_layers=94,
            widths=(Width(1.0, 23_587_712, 25_636_712, {224: 0.749}),),
            source=_KERAS_SOURCE,
        ),
        Architecture(
            "vgg16",
            "VGG16",
            IMAGENET_BGR,
            image_size=224,
            min_image_size=32,
            fine_tune_layers=8,
            widths=(Width(1.0, 14_714_688, 138_357_544, {224: 0.713}),),
            source=_KERAS_SOURCE,
        ),
        Architecture(
            "inception_v3",
            "InceptionV3",
            SYMMETRIC,
            image_size=299,
            min_image_size=75,
            fine_tune_layers=224,
            widths=(Width(1.0, 21_802_784, 23_851_784, {299: 0.779}),),
            source=_KERAS_SOURCE,
        ),
        Architecture(
            "cnn_small",
            "",
            SYMMETRIC,
            image_size=128,
            min_image_size=32,
            fine_tune_layers=4,
            widths=(Width(1.0, 97_440),),
        ),
        Architecture(
            "cnn_deep",
            "",
            SYMMETRIC,
            image_size=128,
            min_image_size=32,
            fine_tune_layers=16,
            widths=(Width(1.0, 1_175_136),),
        ),
    )
}
DEFAULT_ARCHITECTURE = "mobilenet_v2"
