"""A progress bar on stderr."""

import contextlib
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def progress_bar(
    total: int, unit: str, *, initial: int = 0, delay: float = 0.0, shown: bool = True
) -> Iterator[Callable[..., None]]:
    """Yield a function to call with the number of units done so far, and a note for the bar.

    The bar is drawn if ``shown``, stderr is a terminal and tqdm is installed; after ``delay``
    seconds.
    """
    try:
        from tqdm import tqdm  # type: ignore[import-untyped]
    except ImportError:
        shown = False
    if not shown:
        yield lambda done, note="": None
        return
    scale = total >= 100_000  # 1.2M instead of 1200000
    # disable=None: no bar unless stderr is a terminal.
    options = {"unit_scale": scale, "delay": delay, "disable": None, "leave": False}
    with tqdm(total=total, unit=unit, initial=initial, **options) as bar:

        def advance(done: int, note: str = "") -> None:
            bar.set_postfix_str(note, refresh=False)
            bar.update(done - bar.n)

        yield advance
