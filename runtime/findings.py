"""What in a model will be slow or in the way, and why, in plain sentences."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from pocketlens.runtime.operators import Operator

_MOST_NAMES = 4


def find_slow_parts(operators: Sequence[Operator], partitions: int) -> list[str]:
    """Return what costs time, the most important first; nothing where nothing is known to.

    The figures are measurements of MobileNetV2 1.0/224 on x86-64 with AVX-512 VNNI, one thread,
    ai-edge-litert 2.3: the README's table, and for several pieces TFLiteConverter's own dynamic
    file (13.4 ms) against one of the same network that stays in one piece (4.9 ms).
    """
    return [*_pieces(operators, partitions), *_outside(operators), *_floats(operators)]


def _pieces(operators: Sequence[Operator], partitions: int) -> list[str]:
    if partitions == 0:
        text = (
            "XNNPACK takes over none of it: all of it runs in the interpreter's own kernels. So "
            "does an int8 file in tflite-runtime 2.14, where it took 17 times as long as in "
            "ai-edge-litert (x86-64)."
        )
        return [text]
    if partitions == 1:
        return []
    outside = sum(not operator.delegated for operator in operators)
    text = (
        f"XNNPACK takes it over in {partitions} pieces and leaves {outside} of "
        f"{len(operators)} operators to the interpreter. A MobileNetV2 in 16 pieces took 2.7 times "
        "as long as one in a single piece, which the files that pocketlens converts are in "
        "ai-edge-litert."
    )
    return [text]


def _outside(operators: Sequence[Operator]) -> list[str]:
    outside = [operator for operator in operators if not operator.delegated]
    if not outside or len(outside) == len(operators):
        return []
    counts = Counter(operator.name for operator in outside).most_common()
    names = ", ".join(f"{count} {name}" for name, count in counts[:_MOST_NAMES])
    names += ", …" if len(counts) > _MOST_NAMES else ""
    macs = _share(sum(o.macs for o in outside), sum(o.macs for o in operators))
    values = _share(sum(o.values for o in outside), sum(o.values for o in operators))
    text = (
        f"Not run by XNNPACK: {names}. They hold {macs} of the multiply-adds and write {values} "
        "of all values."
    )
    return [text]


def _floats(operators: Sequence[Operator]) -> list[str]:
    """Say so where an int8 file would have less to do."""
    macs = sum(operator.macs for operator in operators)
    in_float = sum(o.macs for o in operators if o.arithmetic == "float32")
    if 2 * in_float <= macs:
        return []
    text = (
        f"{_share(in_float, macs).capitalize()} of the multiply-adds are calculated in float32. "
        "MobileNetV2's int8 file took half of its float32 file's time on a processor with 8-bit "
        "instructions; pocketlens benchmark measures it on yours."
    )
    return [text]


def _share(part: int, whole: int) -> str:
    """Return a share in per cent, without rounding something to nothing or to all."""
    if part == 0 or whole == 0:
        return "none"
    if part == whole:
        return "all"
    percent = 100 * part / whole
    return "less than 1 %" if percent < 1 else f"{min(percent, 99):.0f} %"
