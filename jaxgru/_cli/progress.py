"""A progress bar on stderr, if stderr is a terminal."""

import contextlib
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def progress_bar(total: int) -> Iterator[Callable[[int], object]]:
    """Yield a function to call with the number of steps just done.

    It updates a bar if stderr is a terminal and tqdm is installed.

    Args:
        total: the total number of steps.
    """
    try:
        from tqdm import tqdm  # type: ignore[import-untyped]
    except ImportError:
        yield lambda steps: None
        return
    # disable=None: no bar unless stderr is a terminal. delay: no bar for short runs.
    with tqdm(total=total, unit="step", unit_scale=True, disable=None, delay=1, leave=False) as bar:
        yield bar.update
