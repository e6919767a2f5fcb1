"""The list of architectures that `train --list-architectures` prints."""

from __future__ import annotations

from collections.abc import Iterator

from pocketlens.train.architectures import ARCHITECTURES, Architecture

_ROW = "{:<19}{:>5}{:>8}{:>12}{:>7}{:>12}{:>7}{:>8}{:>5}"
_HEADINGS = (
    ("", "", "", "", "", "with 1000", "", "ImageNet", ""),
    ("--arch", "alpha", "pixels", "parameters", "MB", "classes", "MB", "top-1", ""),
)
_NOTES = """
alpha and pixels are --alpha and --image-size: those that have published weights, and any
other with --weights none. Parameters are counted without the head, which is small, and as
published, with a head for ImageNet's 1000 classes. MB are those of a float32 file; an 8-bit
one has a quarter. Top-1 is the published accuracy on ImageNet's validation photos:
"""


def architecture_table() -> str:
    """Return a line for each network, and for each width and size that has published weights."""
    sources = list(dict.fromkeys(entry.source for entry in ARCHITECTURES.values() if entry.source))
    lines = [_ROW.format(*heading) for heading in _HEADINGS]
    for architecture in ARCHITECTURES.values():
        source = f"[{sources.index(architecture.source) + 1}]" if architecture.source else ""
        name = architecture.name
        for row in _rows(architecture):
            lines.append(_ROW.format(name, *row, source))
            name = ""
    references = [f"[{number}] {source}" for number, source in enumerate(sources, 1)]
    return "\n".join([*lines, *_NOTES.splitlines(), *references])


def _rows(architecture: Architecture) -> Iterator[tuple[str, ...]]:
    for width in architecture.widths:
        alpha = f"{width.alpha:g}" if architecture.has_alpha else ""
        if not width.top1:
            yield alpha, str(architecture.image_size), *_size(width.parameters), "", "", "none"
        counts = (*_size(width.parameters), *_size(width.published_parameters))
        for size, top1 in width.top1.items():
            yield alpha, str(size), *counts, f"{top1:.1%}"
            alpha, counts = "", ("", "", "", "")


def _size(parameters: int) -> tuple[str, str]:
    """Return parameters in millions, and the MB that they take in float32."""
    return f"{parameters / 1e6:.2f} M", f"{4 * parameters / 1e6:.1f}"
