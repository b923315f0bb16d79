"""The hostile files by name, and what each is answered with."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

CANARY = "canary"

Build = Callable[[Path], bytes]


class Case(NamedTuple):
    """A hostile file."""

    build: Build
    refusal: (
        str | None
    )  # a pattern in the error's message; None: it is loaded, the attack passed by
    needs: tuple[str, ...]  # libraries that build it


CASES: dict[str, Case] = {}


def refused(pattern: str, *needs: str) -> Callable[[Build], Build]:
    """Enter a builder whose file is one WeightsError with this pattern in its message."""
    return _entering(pattern, needs)


def passed_by(*needs: str) -> Callable[[Build], Build]:
    """Enter a builder whose file has a sound GRU beside what is hostile, which nobody touches."""
    return _entering(None, needs)


def _entering(pattern: str | None, needs: tuple[str, ...]) -> Callable[[Build], Build]:
    def enter(build: Build) -> Build:
        name = f"{build.__module__.removeprefix('hostile.')}.{build.__name__}"
        CASES[name] = Case(build, pattern, needs)
        return build

    return enter


def shell(folder: Path) -> str:
    """Return a command that a file would have run: it leaves a canary in the folder."""
    return f"touch {folder / CANARY}"
