"""Copy memory: symbols are shown, one per step, and repeated in order after a long blank."""

import numpy as np

SYMBOLS = 8
SHOWN = 5  # symbols to remember: 15 bits
DELAY = 20  # steps of blank between the last symbol and the first answer
TIME = 2 * SHOWN + DELAY


def draw_copies(generator: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return sequences ``(count, TIME, SYMBOLS + 2)`` in float32, and symbols ``(count, SHOWN)``.

    The input of a step is one-hot: a symbol, the blank, or, once, the signal to repeat them. The
    answers are at the last SHOWN steps, the first of which has the signal.
    """
    symbols = generator.integers(SYMBOLS, size=(count, SHOWN))
    blank, call = SYMBOLS, SYMBOLS + 1
    codes = np.full((count, TIME), blank)
    codes[:, :SHOWN] = symbols
    codes[:, -SHOWN] = call
    return np.eye(SYMBOLS + 2, dtype=np.float32)[codes], symbols
