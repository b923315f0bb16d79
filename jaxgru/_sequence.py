"""A GRU over whole sequences: layout, initial states, padding, episodes, and nets of layers."""

import functools
import math
import warnings
from collections.abc import Iterator
from typing import Any, NamedTuple, overload

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike, DTypeLike

from jaxgru._checks import (
    as_arrays,
    as_reset_state,
    check_implementation,
    check_last_axis,
    check_masks,
    check_precision,
    check_remat,
    check_state,
    check_static,
    state_dtype,
)
from jaxgru._dropout import Dropout, as_dropout, check_rate, state_factors
from jaxgru._masks import cuts, within
from jaxgru._net import (
    Backward,
    Bidirectional,
    Net,
    State,
    check_net,
    count_layers,
    has_stack,
    map_state,
    merged,
)
from jaxgru._params import GRUParams
from jaxgru._recurrence.devices import split_rows, state_like
from jaxgru._recurrence.layer import Implementation, Precision, Remat, choose, states

Array = jax.Array


@overload
def gru(
    net: GRUParams,
    xs: ArrayLike,
    h0: ArrayLike | None = None,
    *,
    lengths: ArrayLike | None = None,
    mask: ArrayLike | None = None,
    resets: ArrayLike | None = None,
    reset_state: ArrayLike | None = None,
    reverse: bool = False,
    time_major: bool = False,
    zero_masked: bool = False,
    return_sequences: bool = True,
    dropout: float | Dropout = 0.0,
    recurrent_dropout: float = 0.0,
    key: ArrayLike | None = None,
    precision: Precision = None,
    remat: Remat = None,
    implementation: Implementation = "auto",
) -> tuple[Array, Array]: ...


# Any: arrays, or pairs and structures of them, by values that types do not have (a merge of None).
@overload
def gru(
    net: Net,
    xs: ArrayLike,
    h0: State = None,
    *,
    lengths: ArrayLike | None = None,
    mask: ArrayLike | None = None,
    resets: ArrayLike | None = None,
    reset_state: State = None,
    reverse: bool = False,
    time_major: bool = False,
    zero_masked: bool = False,
    return_sequences: bool = True,
    dropout: float | Dropout = 0.0,
    recurrent_dropout: float = 0.0,
    key: ArrayLike | None = None,
    precision: Precision = None,
    remat: Remat = None,
    implementation: Implementation = "auto",
) -> tuple[Any, Any]: ...  # Any: see above


def gru(
    net: Net,
    xs: ArrayLike,
    h0: State = None,
    *,
    lengths: ArrayLike | None = None,
    mask: ArrayLike | None = None,
    resets: ArrayLike | None = None,
    reset_state: State = None,
    reverse: bool = False,
    time_major: bool = False,
    zero_masked: bool = False,
    return_sequences: bool = True,
    dropout: float | Dropout = 0.0,
    recurrent_dropout: float = 0.0,
    key: ArrayLike | None = None,
    precision: Precision = None,
    remat: Remat = None,
    implementation: Implementation = "auto",
) -> tuple[Any, Any]:  # Any: see above
    """Return the states of a GRU at every step of its input, and the last state.

    ``h_t = cell(h_{t-1}, x_t)`` for t = 1 ... T, where ``cell`` is the step of ``GRUParams``. In a
    stack, the outputs of a layer are the inputs of the next. A sequence may be run in chunks: the
    last state of one chunk is ``h0`` of the next.

    Args:
        net: a layer, a ``Bidirectional`` of two nets, a ``Backward``, or a tuple or list of nets, a
            stack, first layer first. It has I inputs and O outputs: the H units of the last layer,
            or 2H for both directions.
        xs: the input, ``(..., T, I)``, or ``(T, ..., I)`` with ``time_major``; any batch axes.
        h0: the state before the first step, in the structure of the net, with an array for each
            layer that broadcasts to ``(..., H)``. None, also for a part of the net, means zeros.
        lengths: integers ``(...)``, 0 to T: the number of valid steps of each sequence. Under
            ``jax.jit``, values outside this range are limited to it. Steps after the longest
            sequence cost time, so cut xs there.
        mask: booleans ``(..., T)``, or ``(T, ...)`` with ``time_major``: True at valid steps. At
            other steps the state is held, equal to the bit, and the input, even NaN, affects
            neither values nor derivatives. Use either ``lengths`` or ``mask``.
        resets: booleans in the shape of a mask, True at the first step of each episode. The state
            before this step is ``reset_state``. In reverse, the state before the last step of an
            episode is ``reset_state``. Flags at invalid steps are ignored.
        reset_state: the state at the start of each such episode, like ``h0``, or a number for all
            units of all layers; zeros if None. (It was h0 up to jaxgru 0.1, so ``h0`` and
            ``resets`` without it warn once.)
        reverse: run from the last step to the first. The state at index t is then the state after
            steps T ... t, and the last state is that of index 0. (Keras' ``go_backwards`` returns
            the states in reversed order.)
        time_major: time is the first axis of xs, mask, resets and ys.
        zero_masked: set ys to zero at invalid steps, as in PyTorch's packed sequences and in ONNX.
            By default they repeat the held state, as in Keras.
        return_sequences: return the outputs of every step. If False, ys are the outputs of the
            last state only, and the others are not kept in memory.
        dropout: a rate for the inputs of every layer of a stack but the first, as PyTorch's
            ``dropout``, or a ``jaxgru.Dropout``, which also covers Keras' ``dropout``.
        recurrent_dropout: a rate for the state in its products with the recurrent kernel, with one
            draw for each sequence, unit and layer, for all steps and gates. (Keras draws for each
            gate.)
        key: a JAX random key for dropout.
        precision: the precision of the matrix products, as in ``jax.lax.dot_general``. JAX's
            default is TF32 on recent NVIDIA GPUs and bfloat16 on TPUs; ``"highest"`` is float32.
        remat: what is kept for the backward pass. An integer K, 1 to T: the state of every K-th
            step; the rest is recomputed. "states": the states only. None: the fastest choice.
        implementation: what runs the loops over time. "scan": ``jax.lax.scan``. "native": the
            compiled loops of ``jaxgru-native``, for tanh and sigmoid without a clip, in float32 and
            float64, on one CPU. "auto": native where it is installed and serves, else scan;
            programs of ``jax.export`` always scan.

    Returns:
        The outputs ``ys``, ``(..., T, O)``, or ``(T, ..., O)`` with ``time_major``, or ``(..., O)``
        without ``return_sequences``; a pair of arrays if a merge is None. Then the last state, with
        ``(..., H)`` for each layer, in the structure of the net. Their dtype is the promotion of
        the dtypes of the arguments, at least float32.

    Raises:
        ValueError: layers do not fit together, a shape or dtype does not fit them, a length is not
            within 0 to T, remat is not within 1 to T, precision is unknown, dropout has no key or
            no inputs to drop, implementation is "native" and cannot serve, or two arguments
            contradict each other.

    >>> import jax, jax.numpy as jnp, jaxgru
    >>> params = jaxgru.init(jax.random.key(0), 3, 5)
    >>> ys, h = jaxgru.gru(params, jnp.ones((2, 7, 3)), lengths=jnp.array([7, 4]))
    >>> ys.shape, h.shape
    ((2, 7, 5), (2, 5))
    >>> bool(jnp.all(ys[:, -1] == h)), bool(jnp.all(ys[1, 3] == h[1]))
    (True, True)
    >>> stack = (params, jaxgru.init(jax.random.key(1), 5, 4))
    >>> ys, (h1, h2) = jaxgru.gru(stack, jnp.ones((2, 7, 3)))
    >>> ys.shape, h1.shape, h2.shape
    ((2, 7, 4), (2, 5), (2, 4))

    Source: Cho et al. 2014 (arXiv:1406.1078), in the convention of Keras.
    """
    check_static(
        reverse=reverse,
        time_major=time_major,
        zero_masked=zero_masked,
        return_sequences=return_sequences,
        dropout=dropout,
        recurrent_dropout=recurrent_dropout,
        remat=remat,
        implementation=implementation,
    )
    check_implementation(implementation)
    inputs, _ = check_net(net)
    check_last_axis("xs", xs, inputs, "inputs")
    if np.ndim(xs) < 2:
        layout = "(T, ..., I)" if time_major else "(..., T, I)"
        raise ValueError(f"xs has shape {np.shape(xs)}: expected {layout}, a sequence of inputs")
    *steps, _ = np.shape(xs)
    time, *batch = steps if time_major else (steps[-1], *steps[:-1])
    check_masks(lengths, mask, resets, tuple(steps), tuple(batch), time)
    if zero_masked and not return_sequences:
        raise ValueError(
            "zero_masked is given without return_sequences: no masked step is returned"
        )
    drop = as_dropout(dropout)
    if drop is not None and drop.on == "between" and not has_stack(net):
        raise ValueError(
            f"dropout of {drop.rate} acts between layers, and net has no stack of them: expected a "
            "stack, or jaxgru.Dropout(rate, on='inputs')"
        )
    check_rate("recurrent_dropout", recurrent_dropout)
    check_precision(precision)
    if drop is None and not recurrent_dropout:
        key = None
    elif key is None:
        raise ValueError("dropout is given without a key: expected key=, a JAX random key")
    if resets is not None and reset_state is None and jax.tree.leaves(h0):
        _warn_of_zeros()
    reset_state, reset_number = as_reset_state(reset_state, resets)
    for name, state in (("h0", h0), ("reset_state", reset_state)):
        map_state(functools.partial(check_state, tuple(batch)), net, state, name)
    dtype = state_dtype(net, xs=xs, h0=h0, reset_state=reset_state)
    if implementation == "native":
        # An error here rather than while tracing, where JAX appends lines to it.
        map_state(lambda layer, *_: choose("native", layer, precision, dtype), net, None, "net")
    ys_and_h: tuple[Any, Any] = _run(
        *as_arrays((net, xs, h0, lengths, mask, resets, reset_state)),
        key,
        dtype=dtype,
        reset_number=reset_number,
        reverse=bool(reverse),
        time_major=bool(time_major),
        zero_masked=bool(zero_masked),
        return_sequences=bool(return_sequences),
        dropout=drop,
        recurrent_dropout=float(recurrent_dropout),
        precision=precision,
        remat=check_remat(remat, time),
        implementation=implementation,
    )
    return ys_and_h


@functools.cache  # once in a process
def _warn_of_zeros() -> None:
    warnings.warn(
        "reset_state is None beside h0: the state after a reset is zeros, which was h0 up to "
        "jaxgru 0.1; pass reset_state=0 or reset_state=h0",
        FutureWarning,
        stacklevel=3,
    )


# Compiled, so that a call outside of jit is compiled once for its shapes, and checks for NaN
# (``jax_debug_nans``) do not see padding before it is masked.
@functools.partial(
    jax.jit,
    static_argnames=(
        "dtype",
        "reset_number",
        "reverse",
        "time_major",
        "zero_masked",
        "return_sequences",
        "dropout",
        "recurrent_dropout",
        "precision",
        "remat",
        "implementation",
    ),
)
def _run(
    net: Net,
    xs: Array,
    h0: State,
    lengths: Array | None,
    mask: Array | None,
    resets: Array | None,
    reset_state: State,
    key: Array | None,
    *,
    dtype: DTypeLike,
    reset_number: float,
    reverse: bool,
    time_major: bool,
    zero_masked: bool,
    return_sequences: bool,
    dropout: Dropout | None,
    recurrent_dropout: float,
    precision: Precision,
    remat: Remat,
    implementation: Implementation,
) -> tuple[Any, Any]:
    """Run the net on arrays of one type with axes (time, batch), and restore the layout."""
    net, xs, h0, reset_state = jax.tree.map(
        lambda leaf: leaf.astype(dtype), (net, xs, h0, reset_state)
    )
    if not time_major:
        xs = jnp.moveaxis(xs, -2, 0)
        mask, resets = (None if f is None else jnp.moveaxis(f, -1, 0) for f in (mask, resets))
    time, *batch, _ = xs.shape

    def flat(array: Array, leading: int) -> Array:
        """Merge the batch axes, which follow ``leading`` other axes."""
        if len(batch) == 1:
            return array
        rest = array.shape[leading + len(batch) :]
        return array.reshape(*array.shape[:leading], math.prod(batch), *rest)

    valid = None
    if lengths is not None:
        valid = within(flat(lengths, 0), time)
    if mask is not None:
        valid = flat(mask, 1)
    given, xs = xs, flat(xs, 1)
    if valid is not None:
        # Before everything else, so that padding affects neither values nor derivatives.
        xs = jnp.where(valid[..., None], xs, jnp.zeros((), xs.dtype))

    def whole(number: float, layer: GRUParams, h: Array | None, _: str) -> Array:
        h = jnp.full(layer.hidden_size, number, xs.dtype) if h is None else h
        if h.ndim > 1:
            h = flat(jnp.broadcast_to(h, (*batch, layer.hidden_size)), 0)
        return state_like(h, xs)

    h0 = map_state(functools.partial(whole, 0.0), net, h0, "h0")
    reset_state = map_state(functools.partial(whole, reset_number), net, reset_state, "reset_state")
    run = _Run(
        valid=valid,
        resets=None if resets is None else flat(resets, 1),
        keys=iter(()) if key is None else iter(jax.random.split(key, 2 * count_layers(net))),
        dropout=dropout,
        recurrent_dropout=recurrent_dropout,
        precision=precision,
        remat=remat,
        implementation=implementation,
    )
    ys, h = _outputs(run, net, xs, h0, reset_state, reverse, not return_sequences)
    if zero_masked and valid is not None:
        ys = jax.tree.map(lambda ys: jnp.where(valid[..., None], ys, jnp.zeros_like(ys)), ys)
    if len(batch) != 1:
        ys, h = jax.tree.map(lambda array: split_rows(array, given), (ys, h))
    if return_sequences and not time_major:
        ys = jax.tree.map(lambda ys: jnp.moveaxis(ys, 0, -2), ys)
    return ys, h


class _Run(NamedTuple):
    """The arguments of a run that are the same for all layers of a net."""

    valid: Array | None  # (T, B), False where the state is held
    resets: Array | None  # (T, B), True where an episode begins
    keys: Iterator[Array]  # two for each layer, for its inputs and its state
    dropout: Dropout | None
    recurrent_dropout: float
    precision: Precision
    remat: Remat
    implementation: Implementation


def _outputs(
    run: _Run, net: Net, xs: Array, h0: Any, reset_state: Any, reverse: bool, last_only: bool
) -> tuple[Any, Any]:
    """Return the outputs of a net, ``(T, B, O)`` or the last ``(B, O)``, and its last state."""
    if isinstance(net, GRUParams):
        return _layer(run, net, xs, h0, reset_state, reverse, last_only)
    if isinstance(net, Bidirectional):
        forward, h_forward = _outputs(
            run, net.forward, xs, h0.forward, reset_state.forward, reverse, last_only
        )
        backward, h_backward = _outputs(
            run, net.backward, xs, h0.backward, reset_state.backward, not reverse, last_only
        )
        last = Bidirectional(h_forward, h_backward, net.merge)
        return merged(net.merge, forward, backward), last
    if isinstance(net, Backward):
        ys, h = _outputs(run, net.net, xs, h0.net, reset_state.net, not reverse, last_only)
        return ys, Backward(h)
    states = []
    for i, layer in enumerate(net):
        if i and run.dropout is not None and run.dropout.on == "between":
            xs = run.dropout.apply(xs, next(run.keys))
        is_top = i == len(net) - 1
        xs, h = _outputs(run, layer, xs, h0[i], reset_state[i], reverse, last_only and is_top)
        states.append(h)
    return xs, states if isinstance(net, list) else tuple(states)


def _layer(
    run: _Run,
    params: GRUParams,
    xs: Array,
    h0: Array,
    reset_state: Array,
    reverse: bool,
    last_only: bool,
) -> tuple[Array, Array]:
    if run.dropout is not None and run.dropout.on == "inputs":
        xs = run.dropout.apply(xs, next(run.keys))
    factors = None
    if run.recurrent_dropout:
        factors = state_factors(run.recurrent_dropout, next(run.keys), h0.shape, h0.dtype)
    last, ys = states(
        params,
        xs,
        h0,
        valid=run.valid,
        resets=None if run.resets is None else cuts(run.resets, run.valid, reverse=reverse),
        reset_to=reset_state,
        factors=factors,
        reverse=reverse,
        precision=run.precision,
        remat=run.remat,
        last_only=last_only,
        implementation=run.implementation,
    )
    if ys is None:
        return last, last
    # Without the barrier, XLA computes the last state separately if it unrolls a short loop, and
    # the last bit may differ.
    ys = lax.optimization_barrier(ys)  # type: ignore[no-untyped-call]
    return ys, last if xs.shape[0] == 0 else ys[0 if reverse else -1]
