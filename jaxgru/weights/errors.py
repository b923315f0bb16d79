"""What goes wrong with weights in files, and what is only worth a warning."""


class WeightsError(ValueError):
    """A file whose weights cannot be used, or weights that a file cannot hold.

    The message is one line: the file, the array, what was found and what was expected.
    """


class WeightsWarning(UserWarning):
    """Weights that were read, and that hold something to know about: NaN, Inf, or rounding."""
