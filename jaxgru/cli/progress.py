"""A progress bar on stderr, where there is somebody to see it."""

import contextlib
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def progress_bar(total: int) -> Iterator[Callable[[int], object]]:
    """Give a function to call with the number of steps just done.

    It moves a bar if stderr is a terminal and tqdm is installed. A bar is a comfort: without one
    all else is the same.

    Args:
        total: the number of steps to do.
    """
    try:
        from tqdm import tqdm  # type: ignore[import-untyped]
    except ImportError:
        yield lambda steps: None
        return
    # disable=None: no bar where stderr is no terminal. delay: none for what is soon done.
    with tqdm(total=total, unit="step", unit_scale=True, disable=None, delay=1, leave=False) as bar:
        yield bar.update
