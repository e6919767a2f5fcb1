"""Every error that a user can cause: one sentence with what was expected, what came, what to do.

Each leaf is also the builtin that fits, so that callers who know nothing of pocketlens can
catch it. `exit_code` is what the command line ends with: 2 where the call itself was wrong,
1 where the call was right and the work failed.
"""


class PocketlensError(Exception):
    """The root of all errors that pocketlens raises on purpose."""

    exit_code = 1


class UsageError(PocketlensError, ValueError):
    """An argument that cannot be: a wrong value or combination, a path that is not there."""

    exit_code = 2


class ProjectError(PocketlensError, ValueError):
    """A project's file does not say what it should."""

    exit_code = 2


class ConflictError(PocketlensError, RuntimeError):
    """Somebody else has done something with a picture in the meantime; nothing was changed."""


class BusyError(PocketlensError, RuntimeError):
    """Something that only one may do at a time is being done already."""


class LabelsError(PocketlensError, ValueError):
    """The labels that were given do not fit the model or the photos."""

    exit_code = 2


class OutputExistsError(PocketlensError, FileExistsError):
    """Something is already where the result should go, and overwriting was not asked for."""

    exit_code = 2


class OutputError(PocketlensError, OSError):
    """The result cannot be written: no permission, no space, a file where a folder is needed."""


class DataError(PocketlensError, ValueError):
    """The photos cannot be used as they are: too few, one class only, nothing readable."""


class PictureError(DataError):
    """One picture cannot be decoded."""


class ModelFileError(PocketlensError, ValueError):
    """A file is not a model that pocketlens can use."""


class ScoresError(ModelFileError):
    """A model gives NaN or infinite scores."""


class ConversionError(PocketlensError, RuntimeError):
    """A converted file does not hold what its format promises."""


class WeightsError(PocketlensError, OSError):
    """Pretrained weights cannot be had or do not fit."""


class SourceError(PocketlensError, OSError):
    """A camera, video or folder of pictures cannot be opened or read."""


class MissingDependencyError(PocketlensError, ImportError):
    """A package that this needs is not installed; the message has the command that installs it."""
