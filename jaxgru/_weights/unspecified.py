"""The fields of a GRU that may be missing in a file, and their defaults."""

from collections.abc import Mapping
from typing import Any

from jaxgru._activations import ACTIVATIONS, Activation, canonical
from jaxgru._net import MERGES
from jaxgru._params import GRUParams
from jaxgru._weights.errors import WeightsError

_ALLOWED: dict[str, tuple[Any, ...]] = {
    "activation": ACTIVATIONS,
    "recurrent_activation": ACTIVATIONS,
    "reset_after": (True, False),
    "reverse": (True, False),
    "merge": MERGES,
}
# The defaults of Keras 2 and 3, PyTorch and Flax.
_DEFAULTS: dict[str, Any] = {
    "activation": "tanh",
    "recurrent_activation": "sigmoid",
    "reset_after": True,
    "reverse": False,
    "merge": "concat",
}
_LEFT_OUT = object()
# The fields of the cells of most libraries.
TANH_SIGMOID = {"activation": "tanh", "recurrent_activation": "sigmoid"}


def check_assume(assume: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return a checked copy of ``assume``, which is empty for None."""
    checked = dict(assume or {})
    for name, value in checked.items():
        if name not in _ALLOWED:
            raise ValueError(f"assume names {name!r}: expected {', '.join(_ALLOWED)}")
        if isinstance(value, Activation) and "activation" in name:
            checked[name] = canonical(value)
        elif not any(value is allowed or value == allowed for allowed in _ALLOWED[name]):
            options = ", ".join(map(repr, _ALLOWED[name]))
            raise ValueError(f"assume[{name!r}] is {value!r}: expected one of {options}")
    return checked


class Fields:
    """The fields of one GRU: from its file, else from the caller, else the default.

    >>> fields = Fields({"activation": "relu"})
    >>> fields.resolve("activation"), fields.resolve("merge"), fields.resolve("reset_after", False)
    ('relu', 'concat', False)
    >>> fields.notes()
    ("the file does not specify merge: 'concat' is assumed (assume= changes that)",)
    """

    def __init__(self, assume: Mapping[str, Any]) -> None:
        self._assume = assume
        self._assumed: dict[str, Any] = {}

    def resolve(self, field: str, in_file: Any = _LEFT_OUT, *, default: Any = _LEFT_OUT) -> Any:
        """Return the value of a field, given the value in the file if there is one.

        ``default`` is the default of the library, if it is not the usual one.
        """
        if in_file is not _LEFT_OUT:
            if field in self._assume and self._assume[field] != in_file:
                raise WeightsError(
                    f"{field} is {in_file!r} in the file: expected nothing else in assume, which "
                    f"has {self._assume[field]!r}"
                )
            return in_file
        if field in self._assume:
            return self._assume[field]
        self._assumed[field] = _DEFAULTS[field] if default is _LEFT_OUT else default
        return self._assumed[field]

    def params(
        self,
        kernel: Any,
        recurrent_kernel: Any,
        bias: Any = None,
        recurrent_bias: Any = None,
        **in_file: Any,
    ) -> GRUParams:
        """Return a layer with these arrays, given the other fields that are in the file."""
        names = ("reset_after", "activation", "recurrent_activation")
        variant = {name: self.resolve(name, in_file.get(name, _LEFT_OUT)) for name in names}
        return GRUParams(kernel, recurrent_kernel, bias, recurrent_bias, **variant)

    def notes(self) -> tuple[str, ...]:
        """Return a note on the assumed values, or none."""
        if not self._assumed:
            return ()
        values = ", ".join(map(repr, self._assumed.values()))
        are = "is" if len(self._assumed) == 1 else "are"
        return (
            f"the file does not specify {', '.join(self._assumed)}: {values} {are} assumed "
            "(assume= changes that)",
        )
