"""PyTorch: packed sequences, both directions, and several layers, each in ``torch.nn.GRU``."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from benchmarks.contenders import Program
from benchmarks.contenders.torch_gru import Torch
from benchmarks.featured.case import KINDS, Case, Featured
from benchmarks.problem import Weights
from benchmarks.timing import estimate

Layer = torch.nn.GRU


def enter(case: Case) -> Featured:
    """Return the features of PyTorch: no masks with gaps, resets, or dropout in a layer.

    With all threads or with one, whichever is faster for the plain layer.
    """
    contenders = [Torch(), Torch(threads=1)]
    first = case.layers[:1]

    def by_kind(
        weights: Sequence[Weights],
        states: Callable[[Layer, torch.Tensor], torch.Tensor],
        **options: Any,
    ) -> dict[str, Program]:
        return {
            kind: _program(chosen[kind], kind, case, weights, states, options) for kind in KINDS
        }

    def packed(layer: Layer, xs: torch.Tensor) -> torch.Tensor:
        sequences = pack_padded_sequence(xs, lengths, enforce_sorted=False)
        return pad_packed_sequence(layer(sequences)[0], total_length=case.shape.time)[0]

    lengths = torch.tensor(case.lengths)  # always on the CPU
    chosen = {kind: _fastest(contenders, kind, case) for kind in KINDS}
    rows = {
        "plain layer": by_kind(first, _states),
        "lengths, padding zero": by_kind(first, packed),
        "Bidirectional": by_kind([*first, case.backward], _states, bidirectional=True),
        "3-layer stack": by_kind(case.layers, _states, num_layers=3),
    }
    threads = {kind: {"threads": contender.threads} for kind, contender in chosen.items()}
    return Featured(contenders[0], rows, options=threads)


def _states(layer: Layer, xs: torch.Tensor) -> torch.Tensor:
    return layer(xs)[0]


def _fastest(contenders: Sequence[Torch], kind: str, case: Case) -> Torch:
    def seconds(contender: Torch) -> float:
        return estimate(_program(contender, kind, case, case.layers[:1], _states, {}))

    return min(contenders, key=seconds)


def _program(
    contender: Torch,
    kind: str,
    case: Case,
    weights: Sequence[Weights],
    states: Callable[[Layer, torch.Tensor], torch.Tensor],
    options: dict[str, Any],
) -> Program:
    layer = Layer(case.shape.inputs, case.shape.units, device=contender.device, **options)
    contender.fill(layer, weights)
    xs = contender.inputs(case.xs)
    if kind == "forward":
        return contender.inference(lambda: states(layer, xs))
    return contender.training(lambda: states(layer, xs), layer, xs)
