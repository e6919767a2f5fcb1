"""JPEGs as cameras send them: decoded if they are whole."""

from __future__ import annotations

import cv2
import numpy as np

from pocketlens.errors import PictureError
from pocketlens.runtime.live.sources.complaints import COMPLAINTS
from pocketlens.runtime.pictures import MAX_PIXELS, Pixels, read_header

_START = b"\xff\xd8"
_END = b"\xff\xd9"
# Drivers fill their buffers up, servers end parts with a line end and dashes.
_PADDING = b"\0\xff\r\n -"


def decode_jpeg(data: bytes) -> Pixels:
    """Decode a JPEG of a camera.

    OpenCV fills the missing part of a JPEG with grey. The mark of its end is looked for, and where
    `COMPLAINTS` listens, what libjpeg says of a missing piece counts, too.

    Args:
        data: the bytes of the file; padding may follow.

    Returns:
        uint8 (height, width, 3) BGR.

    Raises:
        PictureError: it is cut off, damaged, no JPEG, or larger than `pictures.MAX_PIXELS`.
    """
    end = data.rfind(_END)
    if not data.startswith(_START) or end < 0 or data[end + len(_END) :].strip(_PADDING):
        raise _damaged(data)
    header = read_header(data)
    if header is None or header.size_wh[0] * header.size_wh[1] > MAX_PIXELS:
        raise _damaged(data)
    try:
        frame_bgr = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error as error:
        raise _damaged(data) from error
    if frame_bgr is None or COMPLAINTS.news():
        raise _damaged(data)
    return np.asarray(frame_bgr, np.uint8)


def _damaged(data: bytes) -> PictureError:
    kind = "of a damaged one" if data.startswith(_START) else "of something else"
    return PictureError(
        f"Expected a whole JPEG from the camera. Received: {len(data)} bytes {kind}. "
        "Check its cable or network."
    )
