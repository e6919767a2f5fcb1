"""How many labels the studio's order saves: photos labelled in it, in others, and at random.

Run by hand (`make labels-order PHOTOS=…`), some minutes. For each seed part of the photos is held
back, the others are an inbox. A head (logistic regression on the pooled features of MobileNetV2,
ImageNet weights, computed once) is trained on 20 random photos, then again after every 20 more
that an order puts first by what the head says of the rest. Accuracy is always that on the other
photos, which no order sees.

With `--burst N` every photo of the inbox is there N times, a little moved, lighter or darker, and
noisy, as a camera sees one scene; groups of similar frames are found as the studio finds them.

The exit status is 1 where the studio's order needs more than 0.6 times the labels of random order.
"""

import argparse
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pocketlens.evaluation.ordering import margin, teaching_order
from pocketlens.runtime.inbox import fingerprint
from pocketlens.runtime.photos import scan
from pocketlens.runtime.pictures import Pixels, decode, resize
from pocketlens.runtime.similar import SURE_SCORE, similar_groups

ROUND = 20
LIMIT = 0.6
TARGETS = (200, 300, 340, 400, 500)
SIDE = 224
# Of the frames of a burst: seconds between them, and between bursts.
FRAME_S, PAUSE_S = 2.0, 600.0
STUDIO, RANDOM = "studio: margin, groups take turns", "random"

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Inbox:
    """Frames: features (N, channels), label numbers, fingerprints, the photo that each is of."""

    features: NDArray[np.float32]
    truth: NDArray[np.intp]
    fingerprints: list[int]
    photo: NDArray[np.intp]


@dataclass(frozen=True)
class Turn:
    """What an order goes by: scores, groups and features of what has no label yet."""

    scores: Floats
    groups: NDArray[np.intp]
    features: NDArray[np.float32]
    rng: np.random.Generator


def main() -> int:
    """Measure all orders and print what they need."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", type=Path, help="a folder for each class")
    parser.add_argument("--weights", default="imagenet")
    parser.add_argument("--out", type=Path, default=Path("build/labels-order"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--held-back", type=int, default=400)
    parser.add_argument("--burst", type=int, default=1)
    parser.add_argument("--orders", nargs="+", choices=list(ORDERS), default=list(ORDERS))
    parser.add_argument("--starts", type=int, default=3, help="first 20 photos of each seed")
    chosen = parser.parse_args()
    inbox = _features(chosen)
    curves: dict[str, Floats] = {}
    for name in dict.fromkeys((RANDOM, STUDIO, *chosen.orders)):
        starts = range(chosen.starts)
        curves[name] = np.stack(
            [
                np.mean([_curve(inbox, name, seed, each, chosen.held_back) for each in starts], 0)
                for seed in chosen.seeds
            ]
        )
        _print(name, curves[name])
    return _compare(curves, chosen.seeds)


def _random(turn: Turn) -> NDArray[np.intp]:
    return turn.rng.permutation(len(turn.scores))


def _smallest(value: Callable[[Floats], Floats]) -> Callable[[Turn], NDArray[np.intp]]:
    return lambda turn: np.argsort(value(turn.scores), kind="stable")


def _entropy(scores: Floats) -> Floats:
    return np.asarray((scores * np.log(scores + 1e-12)).sum(axis=1))


def _best(scores: Floats) -> Floats:
    return np.asarray(scores.max(axis=1))


def _pairs(turn: Turn) -> NDArray[np.intp]:
    """Of each pair of labels that are taken for each other in turn, by margin."""
    best = np.sort(np.argsort(-turn.scores, axis=1)[:, :2], axis=1)
    return teaching_order(turn.scores, best[:, 0] * turn.scores.shape[1] + best[:, 1])


def _spread(space: Callable[[Turn], Floats]) -> Callable[[Turn], NDArray[np.intp]]:
    """Greedy k-center (Sener and Savarese 2018), distances weighted by 1 - margin."""

    def order(turn: Turn) -> NDArray[np.intp]:
        ahead = margin(turn.scores)
        places = space(turn)
        chosen = [int(ahead.argmin())]
        apart = ((places - places[chosen[0]]) ** 2).sum(axis=1)
        while len(chosen) < min(ROUND, len(places)):
            worth = apart * (1 - ahead)
            worth[chosen] = -1
            chosen.append(int(worth.argmax()))
            apart = np.minimum(apart, ((places - places[chosen[-1]]) ** 2).sum(axis=1))
        return np.array(chosen)

    return order


def _clusters(turn: Turn) -> NDArray[np.intp]:
    """Weighted k-means of the first five rounds by margin (Zhdanov 2019): one of each cluster."""
    from sklearn.cluster import KMeans

    ahead = margin(turn.scores)
    first = np.argsort(ahead, kind="stable")[: 5 * ROUND]
    places = _directions(turn)[first]
    model = KMeans(min(ROUND, len(first)), n_init=2, random_state=0)
    apart = model.fit(places, sample_weight=1 - ahead[first]).transform(places)
    chosen = list(dict.fromkeys(int(row) for row in first[apart.argmin(axis=0)]))
    return np.array([*chosen, *(int(row) for row in first if row not in chosen)])


def _dense(turn: Turn) -> NDArray[np.intp]:
    """Information density (Settles and Craven 2008): (1 - margin) * sqrt(likeness to 20 others)."""
    places = turn.features - turn.features.mean(axis=0)
    places /= np.linalg.norm(places, axis=1, keepdims=True)
    likeness = np.sort(places @ places.T, axis=1)[:, -21:-1].mean(axis=1)
    worth = (1 - margin(turn.scores)) * np.sqrt(np.clip(likeness, 0.01, 1))
    return np.argsort(-worth, kind="stable")


def _roots(turn: Turn) -> Floats:
    return np.sqrt(turn.scores)


def _directions(turn: Turn) -> Floats:
    return np.asarray(turn.features / np.linalg.norm(turn.features, axis=1, keepdims=True))


ORDERS: dict[str, Callable[[Turn], NDArray[np.intp]]] = {
    RANDOM: _random,
    STUDIO: lambda turn: teaching_order(turn.scores, turn.groups),
    "margin": _smallest(margin),
    "entropy": _smallest(_entropy),
    "least confident": _smallest(_best),
    "margin, pairs of labels in turn": _pairs,
    "margin x k-center of scores": _spread(_roots),
    "margin x k-center of features": _spread(_directions),
    "margin, clusters of features": _clusters,
    "margin x density of features": _dense,
}


def _curve(inbox: Inbox, name: str, seed: int, start: int, held_back: int) -> Floats:
    """Return the accuracy after each round."""
    rng = np.random.default_rng([seed, start])
    photos = np.random.default_rng(seed).permutation(inbox.photo.max() + 1)
    first = np.searchsorted(inbox.photo, photos[:held_back])
    held = np.flatnonzero(np.isin(inbox.photo, photos[held_back:]))
    # The first round is random, and the same for all orders.
    begin = np.random.default_rng([seed, start, 1]).permutation(len(held))[:ROUND]
    labelled, rest = held[begin], np.delete(held, begin)
    # As many frames as there are photos: a burst adds nothing to see.
    most = len(photos) - held_back
    accuracy = []
    while True:
        head = _train(inbox.features[labelled], inbox.truth[labelled])
        scores = head(inbox.features)
        accuracy.append(float((scores[first].argmax(axis=1) == inbox.truth[first]).mean()))
        if len(labelled) >= most:
            return np.array(accuracy)
        groups = _groups(inbox, rest, scores) if name == STUDIO else rest
        turn = Turn(scores[rest], groups, inbox.features[rest], rng)
        taken = ORDERS[name](turn)[:ROUND]
        labelled, rest = np.append(labelled, rest[taken]), np.delete(rest, taken)


def _groups(inbox: Inbox, rows: NDArray[np.intp], scores: Floats) -> NDArray[np.intp]:
    burst = np.bincount(inbox.photo).max()
    return similar_groups(
        [inbox.fingerprints[row] for row in rows],
        [PAUSE_S * inbox.photo[row] + FRAME_S * (row % burst) for row in rows],
        [str(scores[row].argmax()) if scores[row].max() >= SURE_SCORE else "" for row in rows],
    )


def _train(
    features: NDArray[np.float32], truth: NDArray[np.intp]
) -> Callable[[NDArray[np.float32]], Floats]:
    import warnings

    from sklearn.linear_model import LogisticRegression

    # The weights lie in the space of the labelled photos' features: there are fewer photos than
    # channels, so the same head is found in a fraction of the time.
    space = np.linalg.qr(features.T.astype(np.float64))[0]
    model = LogisticRegression(max_iter=200)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(features @ space, truth)

    def scores(values: NDArray[np.float32]) -> Floats:
        found = np.zeros((len(values), int(model.classes_.max()) + 1))
        found[:, model.classes_] = model.predict_proba(values @ space)
        return found

    return scores


def _features(chosen: argparse.Namespace) -> Inbox:
    """Compute what the orders go by, or read what an earlier call has computed."""
    kept = chosen.out / f"features-{chosen.burst}.npz"
    if not kept.is_file():
        photos = scan(chosen.photos).photos
        truth = [photo.label_indices[0] for photo in photos for _ in range(chosen.burst)]
        rng = np.random.default_rng(0)
        frames = (
            frame for photo in photos for frame in _burst(decode(photo.path), chosen.burst, rng)
        )
        features, fingerprints = _compute(frames, chosen.weights)
        kept.parent.mkdir(parents=True, exist_ok=True)
        np.savez(
            kept,
            features=features,
            truth=truth,
            fingerprints=np.array(fingerprints, np.uint64),
            photo=np.repeat(np.arange(len(photos)), chosen.burst),
        )
    found = np.load(kept)
    return Inbox(
        found["features"], found["truth"], [int(v) for v in found["fingerprints"]], found["photo"]
    )


def _burst(pixels: Pixels, count: int, rng: np.random.Generator) -> Iterator[Pixels]:
    yield pixels
    height, width = pixels.shape[:2]
    down, right = int(0.03 * height), int(0.03 * width)
    for _ in range(count - 1):
        top, left = rng.integers(0, down + 1), rng.integers(0, right + 1)
        part = pixels[top : height - down + top, left : width - right + left]
        noisy = part * rng.uniform(0.9, 1.1) + rng.normal(0, 4, part.shape)
        yield np.clip(noisy, 0, 255).astype(np.uint8)


def _compute(frames: Iterator[Pixels], weights: str) -> tuple[NDArray[np.float32], list[int]]:
    import keras
    import tensorflow as tf

    network = keras.applications.MobileNetV2(
        include_top=False, pooling="avg", input_shape=(SIDE, SIDE, 3), weights=weights
    )
    answer = tf.function(lambda pixels: network(pixels, training=False))
    features, fingerprints, batch = [], [], []
    for frame in frames:
        fingerprints.append(fingerprint(np.ascontiguousarray(frame[..., ::-1])))
        batch.append(resize(frame, (SIDE, SIDE)))
        if len(batch) == ROUND:
            features.append(answer(np.stack(batch).astype(np.float32) / 127.5 - 1).numpy())
            batch = []
    if batch:
        features.append(answer(np.stack(batch).astype(np.float32) / 127.5 - 1).numpy())
    return np.concatenate(features), fingerprints


def _print(name: str, curves: Floats) -> None:
    mean = 100 * curves.mean(axis=0)
    shown = "  ".join(f"{ROUND * (row + 1)}: {mean[row]:.1f}" for row in range(0, len(mean), 4))
    print(f"{name:36} {shown}", flush=True)


def _needed(curve: Floats, accuracy: float) -> float:
    """Return how many labels reach an accuracy, between two rounds as if it grew evenly.

    The curve is one that grows (`_growing`).
    """
    row = int(np.argmax(curve >= accuracy))
    if curve[row] < accuracy:
        return float("nan")
    if row == 0:
        return float(ROUND)
    part = (accuracy - curve[row - 1]) / (curve[row] - curve[row - 1])
    return float(ROUND * (row + part))


def _growing(curve: Floats) -> Floats:
    """Return the nearest curve that never falls, since more labels do no harm but by chance."""
    from sklearn.isotonic import IsotonicRegression

    found: Floats = IsotonicRegression().fit_transform(np.arange(len(curve)), curve)
    return found


def _compare(curves: dict[str, Floats], seeds: list[int]) -> int:
    """Print how many labels each order needs for what random order has, and judge the studio's."""
    random = _growing(curves[RANDOM].mean(axis=0))
    at = [count for count in TARGETS if count <= ROUND * len(random)]
    levels = [float(random[count // ROUND - 1]) for count in at]
    print(f"\n{'labels for the accuracy of':36}", *(f"{count:>6}" for count in at))
    print(f"{'random labels':36}", *(f"{100 * level:5.1f}%" for level in levels))
    for name, found in curves.items():
        needed = [_needed(_growing(found.mean(axis=0)), level) for level in levels]
        print(f"{name:36}", *(f"{count:6.0f}" for count in needed))
    middle = at.index(340) if 340 in at else len(at) // 2
    for seed, own, others in zip(seeds, curves[STUDIO], curves[RANDOM], strict=True):
        level = float(_growing(others)[at[middle] // ROUND - 1])
        pair = [_needed(_growing(curve), level) for curve in (own, others)]
        print(f"seed {seed}: {pair[0]:.0f} in place of {pair[1]:.0f}, {pair[0] / pair[1]:.2f}")
    ratios = [
        _needed(_growing(curves[STUDIO].mean(axis=0)), level) / _needed(random, level)
        for level in levels
    ]
    print("ratios:", *(f"{ratio:.2f}" for ratio in ratios))
    held = ratios[middle] <= LIMIT
    print(f"{'held' if held else 'not held'}: {ratios[middle]:.2f}, at most {LIMIT}")
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
