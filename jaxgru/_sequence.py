"""A GRU over whole sequences: layout, initial states, padding, episodes, and nets of layers."""

import dataclasses
import functools
import math
import warnings
from typing import Any, NamedTuple, overload

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from jaxgru._checks import (
    as_reset_state,
    check_implementation,
    check_last_axis,
    check_lengths,
    check_masks,
    check_precision,
    check_remat,
    check_state,
    check_static,
    once_per_shapes,
    state_dtype,
)
from jaxgru._dropout import Dropout, as_dropout, check_rate, state_factors
from jaxgru._masks import length_mask, reset_mask
from jaxgru._net import Layer, Net, State, check_net, fold, map_layers, merged, unroll
from jaxgru._params import GRUParams
from jaxgru._recurrence.devices import split_rows, state_like
from jaxgru._recurrence.layer import Implementation, Precision, Remat, choose, states
from jaxgru._recurrence.scan import states_before

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
    stack, the outputs of each layer are the inputs of the next. A sequence can be run in chunks:
    pass the last state of one chunk as ``h0`` of the next.

    Args:
        net: a layer, a ``Bidirectional`` of two nets, a ``Backward``, or a tuple or list of nets, a
            stack, first layer first. It has I inputs and O outputs: the H units of the last layer,
            or 2H for both directions.
        xs: the input, ``(..., T, I)``, or ``(T, ..., I)`` with ``time_major``; any batch axes.
        h0: the state before the first step, in the structure of the net, with an array for each
            layer that broadcasts to ``(..., H)``. None, for the whole net or for a part of it,
            means zeros.
        lengths: integers ``(...)``, 0 to T: the number of valid steps of each sequence. Under
            ``jax.jit``, values outside this range are clipped. Steps after the end of the longest
            sequence still cost time, so truncate xs there.
        mask: booleans ``(..., T)``, or ``(T, ...)`` with ``time_major``: True at valid steps. At
            other steps the state is kept bit for bit, and the input, even NaN, affects neither
            values nor derivatives. Pass ``lengths`` or ``mask``, not both.
        resets: booleans in the shape of a mask, True at the first step of each episode. The state
            before this step is ``reset_state``. With ``reverse``, an episode starts at its last
            step, so the state before that step is ``reset_state``. Flags at invalid steps are
            ignored.
        reset_state: the state at the start of each such episode, like ``h0``, or a number for all
            units of all layers; zeros if None. (Up to jaxgru 0.1 the default was h0, so passing
            ``h0`` and ``resets`` without it warns once.)
        reverse: run from the last step to the first. The state at index t is then the state after
            steps T ... t, and the last state is that of index 0. (Keras' ``go_backwards`` returns
            the states in reversed order.)
        time_major: whether time is the first axis of xs, mask, resets and ys.
        zero_masked: set ys to zero at invalid steps, as in PyTorch's packed sequences and in ONNX.
            By default they repeat the held state, as in Keras.
        return_sequences: whether to return the outputs of every step. If False, ys is the output at
            the last state only, and earlier outputs are not kept in memory.
        dropout: the dropout rate of the inputs of every layer of a stack but the first, like
            PyTorch's ``dropout``, or a ``jaxgru.Dropout``, which also covers Keras' ``dropout``.
        recurrent_dropout: the dropout rate of the state in its products with the recurrent kernel.
            Each sequence, unit and layer has one draw, shared by all steps and gates. (Keras draws
            separately for each gate.)
        key: a JAX random key for dropout.
        precision: the precision of the matrix products, as in ``jax.lax.dot_general``. JAX's
            default is TF32 on recent NVIDIA GPUs and bfloat16 on TPUs; ``"highest"`` is float32.
        remat: what is saved for the backward pass. An integer K, 1 to T: the state of every K-th
            step, and the rest is recomputed. "states": the states only. None: the fastest choice.
        implementation: the implementation of the loop over time. "scan": ``jax.lax.scan``.
            "native": the compiled loops, for tanh and sigmoid without a clip, in float32 or
            float64, on one CPU device. "auto": native where it is installed and supports the layer,
            otherwise scan. Programs exported with ``jax.export`` always use scan.

    Returns:
        The outputs ``ys``, ``(..., T, O)``, or ``(T, ..., O)`` with ``time_major``, or ``(..., O)``
        without ``return_sequences``; a pair of arrays if a merge is None. Then the last state, with
        ``(..., H)`` for each layer, in the structure of the net. Their dtype is the promotion of
        the dtypes of the arguments, at least float32.

    Raises:
        ValueError: layers do not fit together, a shape or dtype does not fit them, a length is not
            within 0 to T, remat is not within 1 to T, precision is unknown, dropout has no key or
            no inputs to drop, implementation is "native" and does not support the net, or two
            arguments contradict each other.

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
    operands, options = _prepared(
        net,
        xs,
        h0,
        (lengths, mask, resets),
        reset_state,
        key,
        reverse=reverse,
        time_major=time_major,
        zero_masked=zero_masked,
        return_sequences=return_sequences,
        dropout=dropout,
        recurrent_dropout=recurrent_dropout,
        precision=precision,
        remat=remat,
        implementation=implementation,
    )
    ys, h, _ = _run_net(options, *operands)
    return ys, h


class LayerRun(NamedTuple):
    """The inputs and states of one layer in a run of its net."""

    place: str  # as a Python expression: net[0].forward
    params: GRUParams
    xs: Array  # its inputs, (..., T, I)
    before: Array  # its states before each step, (..., T, H)
    ys: Array  # and after each step


def run_layers(
    net: Net, xs: ArrayLike, h0: State = None, *, reverse: bool = False, precision: Precision = None
) -> tuple[Any, Any, list[LayerRun]]:
    """Return the outputs and the last state, as ``gru`` does, and the run of each layer.

    Arguments and errors are those of ``gru``.

    >>> import jax, jax.numpy as jnp, jaxgru
    >>> stack = jaxgru.init(jax.random.key(0), 3, 5), jaxgru.init(jax.random.key(1), 5, 4)
    >>> ys, h, (first, second) = run_layers(stack, jnp.ones((7, 3)))
    >>> first.ys.shape, second.xs.shape, ys.shape
    ((7, 5), (7, 5), (7, 4))
    """
    operands, options = _prepared(net, xs, h0, reverse=reverse, precision=precision)
    ys, h, runs = _run_net(dataclasses.replace(options, every_layer=True), *operands)
    layers = zip(unroll(net), runs, strict=True)
    return ys, h, [LayerRun(layer.place, layer.params, *run) for layer, run in layers]


@dataclasses.dataclass(frozen=True)
class Options:
    """The static arguments of a run, shared by all layers of a net: see ``gru``."""

    dtype: Any = None
    reset_number: float = 0.0  # the state after a reset, if none is given
    reverse: bool = False
    time_major: bool = False
    zero_masked: bool = False
    return_sequences: bool = True
    every_layer: bool = False  # also return the inputs and states of every layer
    dropout: Any = 0.0
    recurrent_dropout: float = 0.0
    precision: Precision = None
    remat: Remat = None
    implementation: Implementation = "auto"


def _prepared(
    net: Net,
    xs: Any,
    h0: State,
    flags: tuple[Any, Any, Any] = (None, None, None),
    reset_state: State = None,
    key: Any = None,
    **given: Any,
) -> tuple[tuple[Any, ...], Options]:
    """Check the arguments of ``gru``; return the arrays and the rest."""
    try:
        options = _options(**given)
    except TypeError:  # not hashable
        options = _options.__wrapped__(**given)
    lengths, _, resets = flags
    start, number = as_reset_state(reset_state, resets)
    dtype, arrays = _settled(options, net, xs, h0, *flags, start)
    if resets is not None and reset_state is None and jax.tree.leaves(h0):
        _warn_of_zeros()
    options = dataclasses.replace(options, dtype=dtype, reset_number=number)
    time = np.shape(xs)[0 if options.time_major else -2]
    if lengths is not None:
        check_lengths(lengths, time)
    if options.remat is not None:
        options = dataclasses.replace(options, remat=check_remat(options.remat, time))
    if options.dropout is None and not options.recurrent_dropout:
        key = None
    elif key is None:
        raise ValueError("dropout is given without a key: expected key=, a JAX random key")
    if options.implementation == "native":
        # Raised here rather than while tracing, where JAX adds lines to the message.
        for layer in unroll(net):
            choose("native", layer.params, options.precision, options.dtype)
    return (*arrays, key), options


@functools.lru_cache(typed=True)  # of two equal values, such as 0 and False, one may be invalid
def _options(**given: Any) -> Options:
    """Check the static arguments that do not depend on shapes."""
    check_static(**given)
    switches = ("reverse", "time_major", "zero_masked", "return_sequences")
    options = Options(**given | {name: bool(given[name]) for name in switches if name in given})
    check_implementation(options.implementation)
    if options.zero_masked and not options.return_sequences:
        raise ValueError(
            "zero_masked is given with return_sequences=False: expected only one of them, as no "
            "masked step is returned"
        )
    dropout = as_dropout(options.dropout)
    check_rate("recurrent_dropout", options.recurrent_dropout)
    check_precision(options.precision)
    rate = float(options.recurrent_dropout)
    return dataclasses.replace(options, dropout=dropout, recurrent_dropout=rate)


@once_per_shapes
def _settled(
    options: Options, net: Net, xs: Any, h0: State, lengths: Any, mask: Any, resets: Any, start: Any
) -> jnp.dtype:
    """Check that the arrays fit together; return the type of the state."""
    inputs, _ = check_net(net)
    check_last_axis("xs", xs, inputs, "inputs")
    if np.ndim(xs) < 2:
        layout = "(T, ..., I)" if options.time_major else "(..., T, I)"
        raise ValueError(f"xs has shape {np.shape(xs)}: expected {layout}, a sequence of inputs")
    *steps, _ = np.shape(xs)
    batch = steps[1:] if options.time_major else steps[:-1]
    check_masks(lengths, mask, resets, tuple(steps), tuple(batch))
    dropout = options.dropout
    is_between = dropout is not None and dropout.on == "between"
    if dropout and is_between and all(layer.is_first for layer in unroll(net)):
        raise ValueError(
            f"dropout of {dropout.rate} acts between layers, but net is not a stack: expected a "
            "stack, or jaxgru.Dropout(rate, on='inputs')"
        )

    def check(layer: Layer, *of_states: Array | None) -> None:
        for name, h in zip(("h0", "reset_state"), of_states, strict=True):
            check_state(name + layer.path, h, tuple(batch), layer.params.hidden_size, "as in xs")

    if h0 is not None or start is not None:
        map_layers(check, net, h0=h0, reset_state=start)
    return state_dtype(net, xs=xs, h0=h0, reset_state=start)


@functools.cache  # once in a process
def _warn_of_zeros() -> None:
    warnings.warn(
        "reset_state is None beside h0: the state after a reset is zeros, which was h0 up to "
        "jaxgru 0.1; pass reset_state=0 or reset_state=h0",
        FutureWarning,
        stacklevel=4,
    )


# Under jit, so that an eager call compiles once for its shapes, and ``jax_debug_nans`` does not
# check padding before it is masked.
@functools.partial(jax.jit, static_argnums=0)
def _run_net(
    options: Options,
    net: Net,
    xs: Array,
    h0: State,
    lengths: Array | None,
    mask: Array | None,
    resets: Array | None,
    reset_state: State,
    key: Array | None,
) -> tuple[Any, Any, list[tuple[Array, Array, Array]]]:
    """Run the net on arrays of one type with axes (time, batch), and restore the layout."""
    net, xs, h0, reset_state = jax.tree.map(
        lambda leaf: leaf.astype(options.dtype), (net, xs, h0, reset_state)
    )
    if not options.time_major:
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
        valid = length_mask(flat(lengths, 0), time)
    if mask is not None:
        valid = flat(mask, 1)
    given, xs = xs, flat(xs, 1)
    if valid is not None:
        # Masked first, so that padding affects neither values nor derivatives.
        xs = jnp.where(valid[..., None], xs, jnp.zeros((), xs.dtype))

    def whole(h: Array | None, number: float, units: int) -> Array:
        h = jnp.full(units, number, xs.dtype) if h is None else h
        if h.ndim > 1:
            h = flat(jnp.broadcast_to(h, (*batch, units)), 0)
        return state_like(h, xs)

    between = options.dropout is not None and options.dropout.on == "between"
    keys = iter(()) if key is None else iter(jax.random.split(key, 2 * len(unroll(net))))
    runs: list[tuple[Array, Array, Array]] = []

    def layer(layer: Layer, xs: Array, h: Array | None, start: Array | None) -> tuple[Array, Array]:
        if options.dropout is not None and not between:
            xs = options.dropout.apply(xs, next(keys))
        units = layer.params.hidden_size
        h = whole(h, 0.0, units)
        factors = None
        if options.recurrent_dropout:
            factors = state_factors(options.recurrent_dropout, next(keys), h.shape, h.dtype)
        last, ys = states(
            layer.params,
            xs,
            h,
            valid=valid,
            resets=None
            if resets is None
            else reset_mask(flat(resets, 1), valid, reverse=layer.reverse),
            reset_to=None if resets is None else whole(start, options.reset_number, units),
            factors=factors,
            reverse=layer.reverse,
            batch_major=not options.time_major,
            precision=options.precision,
            remat=options.remat,
            last_only=layer.is_last and not options.return_sequences,
            implementation=options.implementation,
        )
        if ys is None:
            return last, last
        if options.every_layer:
            runs.append((xs, states_before(ys, h, reverse=layer.reverse), ys))
        return ys, last if time == 0 else ys[0 if layer.reverse else -1]

    ys, h = fold(
        layer,
        net,
        xs,
        merge=merged,
        between=(lambda xs: options.dropout.apply(xs, next(keys))) if between else None,
        at=Layer(net, reverse=options.reverse),
        h0=h0,
        reset_state=reset_state,
    )
    if options.zero_masked and valid is not None:
        ys = jax.tree.map(lambda ys: jnp.where(valid[..., None], ys, jnp.zeros_like(ys)), ys)
    if len(batch) != 1:
        ys, h, runs = jax.tree.map(lambda array: split_rows(array, given), (ys, h, runs))
    if options.return_sequences and not options.time_major:
        ys, runs = jax.tree.map(lambda ys: jnp.moveaxis(ys, 0, -2), (ys, runs))
    return ys, h, runs
