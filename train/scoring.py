"""The page of a model that was measured on labelled photos."""

from __future__ import annotations

from pathlib import Path

from pocketlens.errors import UsageError
from pocketlens.evaluation.models import ModelEvaluation, evaluate_model
from pocketlens.evaluation.scorers import open_scorer
from pocketlens.files import staged_folder
from pocketlens.runtime.hints import ModelHints
from pocketlens.runtime.photos import LabelledPhotos
from pocketlens.runtime.pictures import decode, resize
from pocketlens.train.report import JSON_NAME, refuse_report, write_evaluation_report


def evaluate_with_report(
    model: Path,
    data: str | Path | LabelledPhotos,
    hints: ModelHints | None = None,
    *,
    report: Path,
    feature_photo: Path | None = None,
    overwrite: bool = False,
) -> ModelEvaluation:
    """Do what `evaluate_model` does, and write a page, its pictures and JSON.

    Args:
        model: as `evaluate_model` takes it, like the next two.
        data: labelled photos.
        hints: what a user says of a third-party model.
        report: the new folder for the page.
        feature_photo: a photo whose feature maps the page shows; Keras models only.
        overwrite: replace an earlier report.

    Raises:
        UsageError, OutputExistsError: an argument cannot be.
        DataError: no photo can be read, or not the one for the feature maps.
    """
    refuse_report(report, overwrite=overwrite)
    scorer = open_scorer(model, hints)
    seen = None
    if feature_photo is not None:
        if scorer.network is None:
            raise UsageError(
                f"Expected a run or a .keras file for --feature-maps. Received: {model}, whose "
                "layers cannot be looked into. Give the run that it was made from."
            )
        # Before the photos, so that one that cannot be read is not found out at the end.
        card = scorer.card
        seen = resize(decode(feature_photo), card.input_size_wh, card.resize_mode)
    evaluation = evaluate_model(scorer, data)
    maps = None
    if feature_photo is not None and seen is not None:
        from pocketlens.train.feature_maps import feature_maps

        maps = (feature_photo.name, seen, feature_maps(scorer.network, seen))
    with staged_folder(report, overwrite=overwrite, marker=JSON_NAME) as folder:
        write_evaluation_report(folder, evaluation, maps)
    return evaluation
