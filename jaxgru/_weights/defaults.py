"""The fields of a GRU that may be missing in a file, or wrong in it, and their defaults."""

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Literal, TypedDict, get_args

from jaxgru._activations import ACTIVATIONS, Activation, ActivationLike, canonical
from jaxgru._net import MERGES, Backward, Merge, parts, rebuild
from jaxgru._params import GRUParams
from jaxgru._weights.errors import WeightsError, result_or_error
from jaxgru._weights.results import GRUsByName, LoadedGRU

Source = Literal["keras", "torch", "flax", "haiku", "equinox", "mlx"]


class Assume(TypedDict, total=False):
    """The fields of a GRU that ``assume=`` and ``override=`` may have, see ``load``."""

    activation: ActivationLike
    recurrent_activation: ActivationLike
    reset_after: bool
    reverse: bool
    merge: Merge
    subclass: Literal["gru"]  # only in assume: the class that a custom class is equivalent to
    source: Source  # only in assume: the library of arrays whose names do not identify it


ALLOWED: dict[str, tuple[Any, ...]] = {
    "activation": ACTIVATIONS,
    "recurrent_activation": ACTIVATIONS,
    "reset_after": (True, False),
    "reverse": (True, False),
    "merge": MERGES,
    "subclass": ("gru",),
    "source": get_args(Source),
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


class Assumed(dict[str, Any]):
    """Values of missing fields; those in ``override`` may contradict the file."""

    override: Mapping[str, Any] = MappingProxyType({})


def check_assume(
    assume: Mapping[str, object] | None = None, override: Mapping[str, object] | None = None
) -> Assumed:
    """Return checked copies of ``assume`` and ``override``, which are empty for None."""
    assumed = _checked("assume", assume or {})
    overriding = _checked("override", override or {})
    for name in assumed.keys() & overriding.keys():
        raise ValueError(f"{name!r} is in assume and in override: expected only one of them")
    for name in overriding.keys() & {"subclass", "source"}:
        raise ValueError(f"override has {name!r}: expected it in assume")
    both = Assumed(assumed | overriding)
    both.override = overriding
    return both


def _checked(argument: str, values: Mapping[str, object]) -> dict[str, Any]:
    checked: dict[str, Any] = dict(values)
    for name, value in checked.items():
        if name not in ALLOWED:
            raise ValueError(f"{argument} has {name!r}: expected {', '.join(ALLOWED)}")
        if isinstance(value, Activation) and "activation" in name:
            checked[name] = canonical(value)
        elif not any(value is allowed or value == allowed for allowed in ALLOWED[name]):
            options = ", ".join(map(repr, ALLOWED[name]))
            raise ValueError(f"{argument}[{name!r}] is {value!r}: expected one of {options}")
    return checked


def overridden(gathered: GRUsByName, assume: Assumed) -> GRUsByName:
    """Return GRUs with the fields of ``override``, with a note on each that the file contradicts.

    For fields that are missing in the file, readers have already used its values.
    """
    return {
        name: found
        if isinstance(found, WeightsError)
        else result_or_error(_with, found, assume.override)
        for name, found in gathered.items()
    }


def _with(found: LoadedGRU, override: Mapping[str, Any]) -> LoadedGRU:
    notes = []
    for field, value in override.items():
        before: list[Any] = []
        found = found._replace(net=_changed(found.net, field, value, before))
        if not before:
            raise WeightsError(f"override has {field}: expected fields that this GRU has")
        notes += [
            f"{field} is {held!r} in the file: changed to {value!r} by override"
            for held in dict.fromkeys(before)
            if held != value
        ]
    return found._replace(notes=(*found.notes, *notes))


def _changed(net: Any, field: str, value: Any, before: list[Any]) -> Any:
    """Return a net with one field replaced in every layer; add the values before to the list."""
    kind, nets, merge = parts(net)
    if field == "reverse" and kind in ("layer", "backward"):
        before.append(kind == "backward")
        (layer,) = nets.values() or (net,)
        return Backward(layer) if value else layer
    if field == "merge" and kind == "bidirectional":
        before.append(merge)
        return replace(net, merge=value)
    if kind == "layer" and field != "merge":
        before.append(getattr(net, field))
        return replace(net, **{field: value})
    if kind == "layer" or (kind == "bidirectional" and field == "reverse"):
        return net
    return rebuild(net, [_changed(part, field, value, before) for part in nets.values()])


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
        self._override = assume.override if isinstance(assume, Assumed) else {}
        self._assumed: dict[str, Any] = {}
        self._notes: list[str] = []

    def given(self, field: str) -> Any:
        """Return the value of a field in ``assume``, None if there is none."""
        return self._assume.get(field)

    def resolve(self, field: str, in_file: Any = _LEFT_OUT, *, default: Any = _LEFT_OUT) -> Any:
        """Return the value of a field, given the value in the file if there is one.

        ``default`` is the default of the library, if it is not the usual one.
        """
        if in_file is not _LEFT_OUT:
            given = self._assume.get(field, in_file)
            if given != in_file and field not in self._override:  # see overridden
                raise WeightsError(
                    f"{field} is {in_file!r} in the file: expected the same in assume, which has "
                    f"{given!r} (use override= to replace a wrong value)"
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

    def note(self, note: str) -> None:
        """Add a note for the warning about the GRU."""
        self._notes.append(note)

    def notes(self) -> tuple[str, ...]:
        """Return the notes, and one on the assumed values, if any."""
        if not self._assumed:
            return tuple(self._notes)
        values = ", ".join(map(repr, self._assumed.values()))
        are = "is" if len(self._assumed) == 1 else "are"
        return (
            *self._notes,
            f"the file does not specify {', '.join(self._assumed)}: {values} {are} assumed "
            "(assume= changes that)",
        )
