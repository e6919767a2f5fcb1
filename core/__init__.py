"""pocketlens: from a folder of photos to a classifier that runs live on a small device."""

from pocketlens.card import ModelCard
from pocketlens.errors import PocketlensError

__version__ = "0.1.0"

__all__ = ["ModelCard", "PocketlensError", "__version__"]
