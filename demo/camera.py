"""What a camera does to a scene: light, blur, noise, compression."""

import math

import cv2
import numpy as np
import numpy.typing as npt

from pocketlens.demo.backdrops import Picture, pixel_unit

Light = npt.NDArray[np.float32]


def random_light(rng: np.random.Generator, size_wh: tuple[int, int]) -> Light:
    """The light on a scene: brightness, colour temperature and how both fall off.

    Returns:
        (h, w, 3) float32 RGB gains, about 0.4 to 1.5.
    """
    brightness = rng.uniform(0.7, 1.2)
    warmth = rng.normal(0, 0.07)
    tint = rng.normal(0, 0.025)
    gains = brightness * np.array([1 + warmth, 1 + tint, 1 - warmth], np.float32)
    cells = np.ones((3, 3), np.float32)
    if rng.random() < 0.6:
        x, y = rng.uniform(-0.18, 0.18, 2)
        ramp = np.arange(-1, 2, dtype=np.float32)
        cells += x * ramp + y * ramp[:, None]
    if rng.random() < 0.3:
        cells[1, 1] += rng.uniform(0.05, 0.3)
    spread = np.multiply.outer(cells, gains)
    return np.asarray(cv2.resize(spread, size_wh, interpolation=cv2.INTER_CUBIC), np.float32)


def expose(
    picture: Picture, light: Light, contrast: float, noise: float, rng: np.random.Generator
) -> Picture:
    """Apply light, contrast about mid grey, and sensor noise.

    Args:
        picture: (h, w, 3) uint8 RGB.
        light: (h, w, 3) float32 gains.
        contrast: 1 keeps it, less flattens.
        noise: standard deviation of the noise, in steps of the 8-bit scale.
        rng: the source of the noise.

    Returns:
        (h, w, 3) uint8 RGB.
    """
    # The same noise in all channels: what a camera's own filter leaves is mostly grey.
    grain = rng.standard_normal(picture.shape[:2], np.float32)
    grain *= noise
    grain += 128 * (1 - contrast)
    exposed = picture * light
    exposed *= contrast
    exposed += np.asarray(cv2.merge((grain, grain, grain)), np.float32)
    # OpenCV converts with saturation, several times faster than clipping first.
    return np.asarray(cv2.convertScaleAbs(np.maximum(exposed, 0, out=exposed)), np.uint8)


def blurred(picture: Picture, rng: np.random.Generator, strength: float = 1.0) -> Picture:
    """The picture out of focus or shaken, or as it is.

    Args:
        picture: (h, w, 3) uint8 RGB.
        rng: the source of every choice.
        strength: 1 blurs by at most 0.9 pixels of a 96-pixel picture; less for small subjects.

    Returns:
        (h, w, 3) uint8 RGB.
    """
    height, width = picture.shape[:2]
    unit = pixel_unit((width, height)) * strength
    kind = rng.random()
    if kind < 0.45:
        sigma = rng.uniform(0.3, 0.9) * unit
        return np.asarray(cv2.GaussianBlur(picture, (0, 0), sigma), np.uint8)
    if kind < 0.7:
        length, turn = rng.uniform(1.5, 3.5) * unit, rng.uniform(0, math.pi)
        half = math.ceil(0.5 * length)
        kernel = np.zeros((2 * half + 1, 2 * half + 1), np.uint8)
        step_xy = 0.5 * length * math.cos(turn), 0.5 * length * math.sin(turn)
        start = (round(16 * (half - step_xy[0])), round(16 * (half - step_xy[1])))
        end = (round(16 * (half + step_xy[0])), round(16 * (half + step_xy[1])))
        cv2.line(kernel, start, end, 255, 1, cv2.LINE_AA, 4)
        weights = kernel.astype(np.float32)
        return np.asarray(cv2.filter2D(picture, -1, weights / weights.sum()), np.uint8)
    return picture


def compressed(picture: Picture, quality: int) -> Picture:
    """The picture after a JPEG file of the given quality (1 to 100): (h, w, 3) uint8 RGB."""
    _, data = cv2.imencode(".jpg", picture, (cv2.IMWRITE_JPEG_QUALITY, quality))
    # The channels are named differently in the file and here, but both ways in the same order.
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)
