"""The picture: frames as JPEGs, made only while somebody looks and once for all who do."""

from __future__ import annotations

import asyncio
import contextlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import cv2

from pocketlens.clock import Clock
from pocketlens.runtime.live.web.feed import FrameWish
from pocketlens.runtime.pictures import Pixels

MOST_PER_SECOND = 15

_LONGEST_SIDE_PX = 1280
_QUALITY = 80
# Who asks within this time after a picture was made for others gets that one.
_FRESH_S = 0.25


class Watched(Protocol):
    """What has frames to look at, as a `Feed` has."""

    clock: Clock

    def wish(self, wish: FrameWish) -> None:
        """Have a copy of the next frame given to `wish`."""

    def state(self) -> tuple[str, str]:
        """Return "starting", "live" or "stale", and why it is stale."""


@dataclass(frozen=True)
class Jpeg:
    """A frame as a JPEG, its number, and when it was made by the feed's clock."""

    number: int
    data: bytes
    made_s: float


class Jpegs:
    """Makes pictures of the newest frames, at most 15 per second, for one event loop."""

    def __init__(self, feed: Watched) -> None:
        self._feed = feed
        self._clock = feed.clock
        self._latest: Jpeg | None = None
        self._making: asyncio.Task[Jpeg] | None = None
        self._due_s = 0.0
        self._pool = ThreadPoolExecutor(1, "jpeg")

    async def other_than(self, number: int | None) -> Jpeg:
        """Wait for a new picture of another frame than the one with this number.

        Frames that come while nobody waits are never encoded. Waits for as long as none comes.
        """
        latest = self._latest
        if latest and latest.number != number and self._clock.now_s() - latest.made_s < _FRESH_S:
            return latest
        if self._making is None or self._making.done():
            self._making = asyncio.create_task(self._make())
        return await asyncio.shield(self._making)

    def close(self) -> None:
        """Stop making pictures."""
        if self._making:
            self._making.cancel()
        self._pool.shutdown(wait=False)

    async def _make(self) -> Jpeg:
        await asyncio.sleep(max(0.0, self._due_s - self._clock.now_s()))
        self._due_s = self._clock.now_s() + 1 / MOST_PER_SECOND
        loop = asyncio.get_running_loop()
        coming: asyncio.Future[tuple[Pixels, int]] = loop.create_future()

        def arrive(frame_bgr: Pixels, number: int) -> None:
            if not coming.done():
                coming.set_result((frame_bgr, number))

        def take(frame_bgr: Pixels, number: int) -> None:
            # In the thread that classifies; the loop may have ended by then.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(arrive, frame_bgr, number)

        self._feed.wish(take)
        frame_bgr, number = await coming
        data = await loop.run_in_executor(self._pool, encode, frame_bgr)
        self._latest = Jpeg(number, data, self._clock.now_s())
        return self._latest


def encode(frame_bgr: Pixels) -> bytes:
    """Return a frame, uint8 (height, width, 3) BGR, as a JPEG whose sides are 1280 px at most."""
    height, width = frame_bgr.shape[:2]
    share = _LONGEST_SIDE_PX / max(height, width)
    if share < 1:
        size_wh = (max(1, round(share * width)), max(1, round(share * height)))
        small = cv2.resize(frame_bgr, size_wh, interpolation=cv2.INTER_AREA)
    else:
        small = frame_bgr
    return cv2.imencode(".jpg", small, (cv2.IMWRITE_JPEG_QUALITY, _QUALITY))[1].tobytes()
