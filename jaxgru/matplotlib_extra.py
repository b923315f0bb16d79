"""Matplotlib, the extra that plots need."""


def need_matplotlib() -> None:
    """Raise ImportError, naming the extra to install, unless Matplotlib is installed."""
    try:
        import matplotlib.backend_bases  # noqa: F401
    except ImportError:
        raise ImportError(
            'drawing needs Matplotlib, which is not installed: pip install "jaxgru[plot]"'
        ) from None
