"""TensorFlow 1's GRU cells, by the names of their variables, which are the same in any format.

=======================================  ===========  ==============================================
name, in one of its versions             shape        meaning
=======================================  ===========  ==============================================
``gates/kernel``, ``gates/weights``,     (I+H, 2H)    columns r, u, where u is z; the rows of the
``Gates/Linear/Matrix``, ``w_ru``                     inputs come first
``gates/bias`` and so on, ``b_ru``       (2H,)        their bias
``candidate/kernel`` and so on, ``w_c``  (I+H, H)     the candidate, with the reset gate before
``candidate/bias`` and so on, ``b_c``    (H,)         its bias
``candidate/input_projection/kernel``    (I, H)       of ``CudnnCompatibleGRUCell``, and as CudnnGRU
``candidate/hidden_projection/kernel``   (H, H)       is saved: the reset gate after; with biases
=======================================  ===========  ==============================================

Above these are the name of the cell, ``cell_0`` in a ``multi_rnn_cell``, and ``fw`` or ``bw`` in a
``bidirectional_rnn``. In some versions of ``GRUBlockCell``, ``w_ru`` and ``w_c`` are exchanged.

Source: ``tensorflow/python/keras/layers/legacy_rnn/rnn_cell_impl.py``, and in TensorFlow 1
``contrib/rnn/python/ops/gru_ops.py`` and ``contrib/cudnn_rnn/python/ops/cudnn_rnn_ops.py``.
"""

import functools
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxgru._net import Backward, Bidirectional, Net
from jaxgru._weights.defaults import TANH_SIGMOID, Fields
from jaxgru._weights.dtypes import Arrays
from jaxgru._weights.errors import WeightsError, shown
from jaxgru._weights.libraries import names
from jaxgru._weights.results import GRUsByName

LOOKED_FOR = "gates/kernel (I+H, 2H) and candidate/kernel of TensorFlow 1"

_Parts = tuple[str, ...]
_VARIABLE = re.compile(
    r"(?:(?P<place>.+)/)?(?:"
    r"(?P<layer>gates|candidate)/(?:linear/)?(?P<kind>kernel|weights|matrix|bias|biases)"
    r"|candidate/(?P<side>input|hidden)_projection/(?P<own>kernel|bias)"
    r"|(?P<block>[wb]_(?:ru|c))|(?P<opaque>opaque_kernel))(?::0)?",
    re.IGNORECASE,
)
_BIASES = ("bias", "biases")
_SHAPES: names.Shapes = {
    "candidate/kernel": ("I+H", "H"),
    "gates/kernel": ("I+H", "2H"),
    "candidate/bias": ("H",),
    "gates/bias": ("2H",),
}
_CUDNN: names.Shapes = {
    "hidden/kernel": ("H", "H"),
    "input/kernel": ("I", "H"),
    "gates/kernel": ("I+H", "2H"),
    "input/bias": ("H",),
    "hidden/bias": ("H",),
    "gates/bias": ("2H",),
}
_BLOCK = {"w_c": "candidate/kernel", "w_ru": "gates/kernel", "b_c": "candidate/bias"}
_BLOCK |= {"b_ru": "gates/bias"}
_CELL = re.compile(
    r"(gru_cell|grucell|gru_block_cell(_v2)?|cudnn_compatible_gru_cell)(_\d+)?", re.I
)
_STACK = re.compile(r"(multi_rnn_cell|multirnncell|stack_bidirectional_rnn)(_\d+)?", re.I)
_MEMBER = re.compile(r"cell_?(\d{1,6})", re.I)
_SIDES = ("fw", "bw")


def find(arrays: Arrays, assume: Mapping[str, Any]) -> GRUsByName:
    """Return all GRUs of TensorFlow 1 among named arrays, with stacks and directions joined."""
    modules: dict[str, names.Module] = {}
    opaque = {}
    for name in arrays:
        if match := _VARIABLE.fullmatch(name):
            place = match["place"] or ""
            if match["opaque"]:
                opaque[place or name] = WeightsError(
                    f"{shown(name)} is in cuDNN's own layout, which depends on its version: "
                    "expected the variables beside it that a Saver of the layer writes"
                )
                continue
            module = modules.setdefault(place, {})
            if (own := _own(match)) in module:
                raise WeightsError(
                    f"{shown(module[own])} and {shown(name)} are both there: expected one"
                )
            module[own] = name
    cells: dict[_Parts, names.Build] = {}
    for place, module in modules.items():
        if any(module.keys() >= shapes.keys() for shapes in (_SHAPES, _CUDNN, _BLOCK)):
            cells[tuple(place.split("/"))] = functools.partial(_cell, arrays, place, module)
    # Without copies, as those of a Saver.
    return names.build_all(_joined(cells), assume, "tensorflow") or {**opaque}


def _own(match: re.Match[str]) -> str:
    if match["block"]:
        return match["block"].lower()
    if match["side"]:
        return f"{match['side']}/{match['own']}".lower()
    kind = "bias" if match["kind"].lower() in _BIASES else "kernel"
    return f"{match['layer'].lower()}/{kind}"


def _joined(cells: Mapping[_Parts, names.Build]) -> dict[str, names.Build]:
    """Join the cells of stacks and the two directions, the innermost first."""
    waiting, done = dict(cells), dict[_Parts, names.Build]()
    while waiting:
        depth = max(map(len, waiting))
        members: dict[_Parts, dict[str, names.Build]] = {}
        for parts in [parts for parts in waiting if len(parts) == depth]:
            members.setdefault(parts[:-1], {})[parts[-1]] = waiting.pop(parts)
        for parent, held in members.items():
            last = parent[-1] if parent else ""
            sides = {name.lower(): build for name, build in held.items()}
            numbers = {int(m[1]): held[name] for name in held if (m := _MEMBER.fullmatch(name))}
            joined: names.Build | None = None
            if set(sides) == set(_SIDES):
                joined = functools.partial(_both, [sides[side] for side in _SIDES])
            elif _STACK.fullmatch(last) and len(numbers) == len(held):
                joined = functools.partial(_stack, dict(sorted(numbers.items())))
            elif len(held) == 1 and (last.lower() in _SIDES or _MEMBER.fullmatch(last)):
                (joined,) = held.values()
            if joined is None or parent in waiting or parent in done:
                done |= {(*parent, name): build for name, build in held.items()}
            elif (parent and _is_inside(parent)) or joined in held.values():
                waiting[parent] = joined
            else:
                done[parent] = joined
    ordered = sorted(done, key=lambda place: _position(place, list(cells)))
    return {"/".join(place): functools.partial(_directed, done[place]) for place in ordered}


def _is_inside(place: _Parts) -> bool:
    """Return whether a place may be part of a stack or of both directions."""
    return any(_MEMBER.fullmatch(part) or part.lower() in _SIDES for part in place)


def _position(place: _Parts, cells: list[_Parts]) -> int:
    return next(i for i, cell in enumerate(cells) if cell[: len(place)] == place)


def _stack(cells: Mapping[int, names.Build], fields: Fields) -> Net:
    if list(cells) != list(range(len(cells))):
        raise WeightsError(
            f"it has GRUs as its cells {', '.join(map(str, cells))}: expected all cells from 0"
        )
    nets = tuple(cell(fields) for cell in cells.values())
    return nets[0] if len(nets) == 1 else nets


def _both(sides: list[names.Build], fields: Fields) -> Net:
    forward, backward = (side(fields) for side in sides)
    return Bidirectional(forward, backward, fields.resolve("merge"))


def _directed(build: names.Build, fields: Fields) -> Net:
    net = build(fields)
    if isinstance(net, Bidirectional):
        return net
    return Backward(net) if fields.resolve("reverse") else net


def _cell(arrays: Arrays, place: str, module: names.Module, fields: Fields) -> Any:
    called = place.rpartition("/")[2]
    if not _CELL.fullmatch(called) and fields.given("subclass") != "gru":
        raise WeightsError(
            f"its cell is called {shown(called)}, which may compute anything, such as attention: "
            "expected gru_cell, or assume={'subclass': 'gru'} if it computes what GRUCell does"
        )
    held = {own: arrays[name] for own, name in module.items()}
    known: dict[str, Any] = {}
    if held.keys() >= _BLOCK.keys():
        # In some versions the names of the kernels are exchanged.
        if (shape := held["w_c"].shape) and (0, *held["w_ru"].shape)[-1] < shape[-1]:
            held["w_c"], held["w_ru"] = held["w_ru"], held["w_c"]
        held = {_BLOCK.get(own, own): array for own, array in held.items()}
        known = TANH_SIGMOID
    is_cudnn = held.keys() >= _CUDNN.keys()
    shapes = _CUDNN if is_cudnn else _SHAPES
    if more := held.keys() - shapes.keys():
        raise WeightsError(
            f"{names.label(place, min(more))} is there: expected {', '.join(shapes)} alone"
        )
    found = names.check_arrays(held, place, shapes)
    units, rows = found["gates/bias"].size // 2, len(found["gates/kernel"])
    if rows <= units or (is_cudnn and rows != units + len(found["input/kernel"])):
        raise WeightsError(
            f"{names.label(place, 'gates/kernel')} has {rows} rows: expected those of the inputs "
            f"and of {units} units"
        )
    gates, bias = found["gates/kernel"], found["gates/bias"]
    if not is_cudnn:
        joined = np.concatenate([*_z_r(gates), found["candidate/kernel"]], 1)
        bias = np.concatenate([*_z_r(bias), found["candidate/bias"]])
        return fields.params(
            joined[:-units], joined[-units:], bias, reset_after=False,
            **{"recurrent_activation": "sigmoid", **known},
        )  # fmt: skip
    return fields.params(
        np.concatenate([*_z_r(gates[:-units]), found["input/kernel"]], 1),
        np.concatenate([*_z_r(gates[-units:]), found["hidden/kernel"]], 1),
        np.concatenate([*_z_r(bias), found["input/bias"]]),
        # The biases of the gates are already the sum of both sides.
        np.concatenate([np.zeros_like(bias), found["hidden/bias"]]),
        reset_after=True,
        **TANH_SIGMOID,
    )


def _z_r(columns: Any) -> list[Any]:
    """Return the columns r, u as those of z and r."""
    return np.split(columns, 2, -1)[::-1]
