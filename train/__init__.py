"""From photos to a trained Keras model and a report on how good it is."""

from pocketlens.quiet import quiet

with quiet():
    import tensorflow  # noqa: F401 (its chatter at import is held back here, once for all parts)

from pocketlens.train.settings import Settings
from pocketlens.train.summary import summarise
from pocketlens.train.training import Training, train

__all__ = ["Settings", "Training", "summarise", "train"]
