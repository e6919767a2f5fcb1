"""The pages that go with an export: templates in which a model's own values are put."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pocketlens import __version__
from pocketlens.export.models import Candidate

README_NAME = "README.md"

_MEGA = 1_000_000


def filled(template: str, values: Mapping[str, str]) -> str:
    """Return a template with each `@KEY@` replaced by its value."""
    for key, value in values.items():
        template = template.replace(f"@{key}@", value)
    return template


def readme_values(models: Sequence[Candidate], pictures: int, *, photos: bool) -> dict[str, str]:
    """Return what every target's page says of the models and of how many test pictures."""
    card = models[0].card
    width, height = models[0].signature.size_wh
    rows = [
        f"| `{model.name}.tflite` | {model.card.format} | {len(model.data) / _MEGA:.2f} |"
        for model in models
    ]
    return {
        "VERSION": __version__,
        "MODEL": f"{models[0].name}.tflite",
        "MODELS": "\n".join(rows),
        "TASK": card.task,
        "LABELS": str(len(card.labels)),
        "THRESHOLD": f"{card.threshold:g}",
        "SIZE": f"{width}×{height}",
        "PICTURES": f"{pictures} {'photos' if photos else 'synthetic images'}",
    }
