"""Every error that Hourglass raises on purpose.

    HourglassError
    ├── DataError (ValueError)        images, labels or files that cannot be used as they are
    │   ├── DownloadError             a data set that is not at hand and could not be fetched
    │   ├── LimitError                an image or file of more pixels, pages or bytes than a limit allows
    │   └── WorkerError               a process that decodes images has ended; the images themselves may be intact
    ├── ParameterError (ValueError)   an argument that is out of range or does not fit the others
    ├── ModelError (ValueError)       a network that cannot be built, or does not fit the images
    ├── FormatError (ValueError)      a saved model or checkpoint that is damaged or of an unknown version
    ├── ProcessError (RuntimeError)   a process that trains with others, and has lost one of them
    └── DivergenceError               a training run whose loss is no longer a finite number

    HourglassWarning (UserWarning)    something was converted or left out; the message says what

scikit-learn's ``NotFittedError`` is raised as it is. A message says what came, what is allowed and what to do.
"""

from __future__ import annotations


class HourglassError(Exception):
    """Base of all errors that Hourglass raises on purpose."""


class DataError(HourglassError, ValueError):
    """Images, labels or files that cannot be used as they are."""


class DownloadError(DataError):
    """A data set that is not at hand and could not be fetched."""


class LimitError(DataError):
    """An image or file of more pixels, pages or bytes than a limit allows."""


class WorkerError(DataError):
    """A process that decodes images has ended; the images themselves may be intact."""


class ParameterError(HourglassError, ValueError):
    """An argument that is out of range or does not fit the others."""


class ModelError(HourglassError, ValueError):
    """A network that cannot be built, or does not fit the images."""


class FormatError(HourglassError, ValueError):
    """A saved model or checkpoint that is damaged or of an unknown version."""


class ProcessError(HourglassError, RuntimeError):
    """A process that trains with others, and has lost one of them."""


class DivergenceError(HourglassError, ArithmeticError):
    """A training run whose loss is no longer a finite number."""


class HourglassWarning(UserWarning):
    """Something was converted or left out; the message says what."""
