"""What a file of weights leaves unsaid, and what is then assumed."""

from collections.abc import Mapping
from typing import Any

from jaxgru.activations import ACTIVATIONS
from jaxgru.net import MERGES
from jaxgru.weights.errors import WeightsError

_ALLOWED: dict[str, tuple[Any, ...]] = {
    "activation": ACTIVATIONS,
    "recurrent_activation": ACTIVATIONS,
    "reset_after": (True, False),
    "reverse": (True, False),
    "merge": MERGES,
}
# The same fields where nobody says anything: what Keras 2 and 3, PyTorch and Flax begin with.
_USUAL: dict[str, Any] = {
    "activation": "tanh",
    "recurrent_activation": "sigmoid",
    "reset_after": True,
    "reverse": False,
    "merge": "concat",
}
_UNSAID = object()


def check_assume(assume: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return a copy of what the caller assumes of a file, nothing for None.

    Raises:
        ValueError: a name is unknown, or its value is none of those it can have.
    """
    checked = dict(assume or {})
    for name, value in checked.items():
        if name not in _ALLOWED:
            raise ValueError(f"assume names {name!r}: expected {', '.join(_ALLOWED)}")
        if not any(value is allowed or value == allowed for allowed in _ALLOWED[name]):
            options = ", ".join(map(repr, _ALLOWED[name]))
            raise ValueError(f"assume[{name!r}] is {value!r}: expected one of {options}")
    return checked


class Settling:
    """The fields of one GRU being settled between its file, its caller and what is usual.

    >>> settling = Settling({"activation": "relu"})
    >>> settling.pick("activation"), settling.pick("merge"), settling.pick("reset_after", False)
    ('relu', 'concat', False)
    >>> settling.notes()
    ("the file does not say merge: 'concat' is assumed (assume= says otherwise)",)
    """

    def __init__(self, assume: Mapping[str, Any]) -> None:
        self._assume = assume
        self._assumed: dict[str, Any] = {}

    def pick(self, field: str, said: Any = _UNSAID, *, usual: Any = _UNSAID) -> Any:
        """Return the value of a field: what the file says, else the caller, else what is usual.

        Args:
            field: one of activation, recurrent_activation, reset_after, reverse, merge.
            said: what the file says, left out where it is silent. A format that has no choice,
                such as PyTorch's, says its one value.
            usual: what such a file's library began with, left out where that is what most do.

        Raises:
            WeightsError: the file says one thing and the caller another.
        """
        if said is not _UNSAID:
            if field in self._assume and self._assume[field] != said:
                raise WeightsError(
                    f"{field} is {said!r} in the file: expected nothing else in assume, which has "
                    f"{self._assume[field]!r}"
                )
            return said
        if field in self._assume:
            return self._assume[field]
        self._assumed[field] = _USUAL[field] if usual is _UNSAID else usual
        return self._assumed[field]

    def notes(self) -> tuple[str, ...]:
        """Return what was assumed because nobody said it, as one note or none."""
        if not self._assumed:
            return ()
        values = ", ".join(map(repr, self._assumed.values()))
        are = "is" if len(self._assumed) == 1 else "are"
        return (
            f"the file does not say {', '.join(self._assumed)}: {values} {are} assumed "
            "(assume= says otherwise)",
        )
