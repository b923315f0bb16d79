"""Descriptions of a net, in words and as a table of statistics."""

from collections.abc import Iterator

import numpy as np

from jaxgru._net import Net, check_net, parts, unroll
from jaxgru._params import GATES, GRUParams

_ARRAYS = ("kernel", "recurrent_kernel", "bias", "recurrent_bias")


def in_a_line(net: Net) -> str:
    """Return a description of a net in one line: its structure and sizes."""
    return f"{structure(net)}: {sizes(net)}"


def structure(net: Net) -> str:
    """Return a description of the structure of a net.

    >>> import jax, jaxgru
    >>> a, b = jaxgru.init(jax.random.key(0), 3, 4), jaxgru.init(jax.random.key(1), 4, 4)
    >>> structure((a, b)), structure(jaxgru.Backward(a))
    ('a stack of 2 GRU layers', 'a GRU layer from the last step to the first')
    >>> structure([jaxgru.Bidirectional(a, a, "sum"), b])
    'a stack of 2: a bidirectional GRU layer (merge sum), a GRU layer'
    """
    kind, nets, merge = parts(net)
    kinds = [structure(part) for part in nets.values()]
    if kind == "layer":
        return "a GRU layer"
    if kind == "backward":
        return f"{kinds[0]} from the last step to the first"
    if kind == "bidirectional":
        if {parts(part).kind for part in nets.values()} == {"layer"}:
            return f"a bidirectional GRU layer (merge {merge})"
        return f"a bidirectional net (merge {merge}) of {kinds[0]} forward, {kinds[1]} backward"
    if len(kinds) == 1:
        return kinds[0]
    if len(set(kinds)) == 1 and " layer" in kinds[0]:
        return f"a stack of {len(kinds)} {kinds[0][2:].replace('layer', 'layers', 1)}"
    return f"a stack of {len(kinds)}: {', '.join(kinds)}"


def sizes(net: Net) -> str:
    """Return the numbers of inputs, outputs and parameters of a net, and the dtypes."""
    inputs, outputs = check_net(net)
    dtypes = ", ".join(sorted({params.dtype.name for params, *_ in unroll(net)}))
    gives = f"{outputs} outputs" if outputs is not None else "a pair of outputs"
    return f"{inputs} inputs, {gives}, {_parameters(net):,} parameters, {dtypes}"


def summary(params: GRUParams) -> Iterator[str]:
    """Yield the lines that describe a layer."""
    present = [name for name in _ARRAYS if getattr(params, name) is not None]
    applied = "after" if params.reset_after else "before"
    rows = {
        "inputs": params.input_size,
        "units": params.hidden_size,
        "variant": f"reset gate applied {applied} the recurrent product "
        f"(reset_after={params.reset_after})",
        "activations": f"{params.activation} (candidate), {params.recurrent_activation} (gates)",
        "clip": params.clip,
        "biases": ", ".join(name for name in present if "bias" in name) or "none",
        "dtype": ", ".join(sorted({getattr(params, name).dtype.name for name in present})),
        "parameters": f"{_parameters(params):,}",
    }
    for name, value in rows.items():
        if value is not None:
            yield f"{name:<12} {value}"


def table(params: GRUParams) -> Iterator[str]:
    """Yield the lines of a table with a row for each gate's block of each array."""
    blocks = list(_blocks(params))
    has_non_finite = any(np.count_nonzero(~np.isfinite(block)) for _, _, block in blocks)
    columns = " ".join(f"{name:>11}" for name in ("min", "max", "mean", "norm"))
    yield f"{'array':<17} {'gate':<10} {'shape':>13} {columns}" + (
        f" {'NaN':>7} {'Inf':>7}" if has_non_finite else ""
    )
    for name, gate, block in blocks:
        shape = " x ".join(map(str, block.shape))
        row = f"{name:<17} {gate:<10} {shape:>13} {_statistics(block)}"
        nan, inf = np.count_nonzero(np.isnan(block)), np.count_nonzero(np.isinf(block))
        yield row + (f" {nan:>7} {inf:>7}" if has_non_finite else "")


def _parameters(net: Net) -> int:
    arrays = (getattr(params, name) for params, *_ in unroll(net) for name in _ARRAYS)
    return sum(value.size for value in arrays if value is not None)


def _blocks(params: GRUParams) -> Iterator[tuple[str, str, np.ndarray]]:
    for name in _ARRAYS:
        value = getattr(params, name)
        if value is not None:
            for gate, block in zip(GATES, np.split(value, 3, axis=-1), strict=True):
                yield name, gate, block


def _statistics(block: np.ndarray) -> str:
    # In double precision, because a norm in half precision may overflow.
    finite = block[np.isfinite(block)].astype(np.float64)
    if finite.size == 0:
        return " ".join(["          -"] * 4)
    values = (np.min(finite), np.max(finite), np.mean(finite), np.linalg.norm(finite))
    return " ".join(f"{value:>11.5g}" for value in values)
