"""From a trained Keras model to `.tflite` files, each checked and described."""

from pocketlens.quiet import quiet

with quiet():
    import tensorflow  # noqa: F401 (its chatter at import is held back here, once for all parts)

from pocketlens.convert.conversion import ConvertedFile, convert
from pocketlens.convert.formats import FORMATS

__all__ = ["FORMATS", "ConvertedFile", "convert"]
