"""Digits read pixel by pixel, like sequential MNIST, from synthetic images.

Ten glyphs of five by seven dots, with random position, slant, size, stroke and noise, on SIDE x
SIDE pixels. A sequence is the pixels of an image, row after row: one number per step.
"""

import numpy as np

SIDE = 14
CLASSES = 10
NOISE = 0.15  # standard deviation; ink is 1 and paper 0

_GLYPHS = """
.###. ..#.. .###. .###. ...#. ##### ..##. ##### .###. .###.
#...# .##.. #...# #...# ..##. #.... .#... ....# #...# #...#
#..## ..#.. ....# ....# .#.#. ####. #.... ...#. #...# #...#
#.#.# ..#.. ...#. ..##. #..#. ....# ####. ..#.. .###. .####
##..# ..#.. ..#.. ....# ##### ....# #...# ..#.. #...# ....#
#...# ..#.. .#... #...# ...#. #...# #...# .#... #...# ...#.
.###. .###. ##### .###. ...#. .###. .###. .#... .###. .##..
"""


def draw_digits(generator: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return sequences of pixels ``(count, SIDE * SIDE, 1)`` in float32, and their digits."""
    digits = generator.integers(CLASSES, size=count)
    glyphs = _glyphs()
    rows, columns = glyphs.shape[1:]

    def drawn(low: float, high: float) -> np.ndarray:
        return generator.uniform(low, high, size=(count, 1, 1))

    # The position of every pixel of an image in the glyph.
    y, x = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2
    down = (y - drawn(-1.5, 1.5)) / drawn(1.3, 1.7)
    across = (x - drawn(-2, 2)) / drawn(1.3, 1.8) + drawn(-0.25, 0.25) * down
    row, column = down + (rows - 1) / 2, across + (columns - 1) / 2
    ink = _bilinear(glyphs[digits], row, column) ** drawn(0.6, 1.5)
    images = ink + NOISE * generator.standard_normal(ink.shape)
    return images.reshape(count, -1, 1).astype(np.float32), digits


def _glyphs() -> np.ndarray:
    """Return ``(10, 7, 5)``, 1 for ink."""
    lines = [line.split() for line in _GLYPHS.split("\n")[1:-1]]
    return np.array(
        [[[dot == "#" for dot in part] for part in line] for line in lines], float
    ).swapaxes(0, 1)


def _bilinear(images: np.ndarray, row: np.ndarray, column: np.ndarray) -> np.ndarray:
    """Interpolate images ``(N, ., .)`` at rows and columns between their dots; 0 outside."""
    images = np.pad(images, ((0, 0), (1, 1), (1, 1)))
    row = np.clip(row + 1, 0, images.shape[1] - 1.001)
    column = np.clip(column + 1, 0, images.shape[2] - 1.001)
    top, left = row.astype(int), column.astype(int)
    number = np.arange(len(images))[:, None, None]
    total = np.zeros(row.shape)
    for below in (0, 1):
        for right in (0, 1):
            share = np.abs(1 - below - (row - top)) * np.abs(1 - right - (column - left))
            total += share * images[number, top + below, left + right]
    return total
