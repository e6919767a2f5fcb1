"""Labels to and from Label Studio, CVAT, FiftyOne and tables."""

from pocketlens.labels.exporting import export_labels
from pocketlens.labels.importing import import_labels

__all__ = ["export_labels", "import_labels"]
