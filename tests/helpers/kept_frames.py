"""Frames that are worth keeping, and a sink that keeps them."""

import random
from contextlib import contextmanager
from dataclasses import replace

import cv2
import numpy as np
from timing import wait_for

from pocketlens.choices import MULTICLASS
from pocketlens.runtime.classifier import Category
from pocketlens.runtime.live.frames import Decision, FrameResult, RunInfo
from pocketlens.runtime.live.sinks.keep import MB, Keep
from pocketlens.runtime.live.sinks.keep_folder import Room

LABELS = ("fox", "cat", "unknown")
SURE, TORN, STRANGE = (0.98, 0.01, 0.01), (0.45, 0.44, 0.11), (0.02, 0.03, 0.95)
NOON_S = 1_700_000_000.0
PLENTY = Room(10**12, 2 * 10**12, 4096)
RUN = RunInfo(
    model="zoo_int8.tflite",
    model_hash=lambda: "ab" * 32,
    task=MULTICLASS,
    labels=LABELS,
    source="rtsp://***@camera/1",
)


def scene(seed, size_wh=(160, 120)):
    """A picture unlike those of other seeds, with the noise of a camera."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (6, 8, 3), np.uint8)
    return cv2.resize(small, size_wh, interpolation=cv2.INTER_CUBIC)


def result(time_s, scores=SURE, *, changed=False, file=None):
    best = int(np.argmax(scores))
    entry = Category(LABELS[best], float(max(scores)), best)
    return FrameResult(
        round(30 * time_s),
        time_s,
        (entry,),
        (entry,),
        Decision((entry,), changed),
        1.0,
        2.0,
        at_s=NOON_S + time_s,
        file=file,
        novelty=float(scores[2]),
        scores=np.array(scores, np.float32),
        unknown=2,
    )


@contextmanager
def opened(folder, *, live=True, limit_bytes=50 * MB, random_a_day=0, **more):
    keep = Keep(
        folder,
        limit_bytes=limit_bytes,
        random_a_day=random_a_day,
        chance=random.Random(1),
        **{"room": lambda _: PLENTY, **more},
    )
    keep.opened(replace(RUN, live=live))
    try:
        yield keep
    finally:
        keep.closed()


def settled(keep, outcomes):
    """Wait until so many frames were dealt with."""

    def done():
        counts = keep.keeping()
        return sum(counts.kept.values()) + counts.near_copies + counts.lost >= outcomes

    wait_for(done, keep.keeping)
