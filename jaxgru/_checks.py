"""Checks of arguments: arrays, shapes, static values and the common dtype."""

import functools
import numbers
from collections.abc import Callable
from typing import Any, Literal, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxgru._params import GRUParams, at_least_float32

Array = jax.Array
T = TypeVar("T")


def once_per_shapes(check: Callable[..., T]) -> Callable[..., tuple[T, Any]]:
    """Return a check ``(static, *arrays)`` that runs once for equal shapes and types.

    The check sees arrays as ``jax.ShapeDtypeStruct``, so its result must depend on structures,
    shapes and types alone. For leaves that are not arrays, and for symbolic shapes, whose
    comparison may fail, it runs on the arguments each time.

    Returns the result of the check, and the arrays, in which leaves other than arrays of JAX or
    NumPy are converted to JAX arrays.
    """

    @functools.lru_cache(1024)
    def on_shapes(static: Any, structure: Any, leaves: tuple[Any, ...], *_: object) -> T:
        shapes = [
            jax.ShapeDtypeStruct(shape, dtype, weak_type=weak)  # type: ignore[no-untyped-call]
            for shape, dtype, weak in leaves
        ]
        return check(static, *jax.tree.unflatten(structure, shapes))

    def checked(static: Any, *arrays: Any) -> tuple[T, Any]:
        try:
            leaves, structure = jax.tree.flatten(arrays)
            seen = []
            for leaf in leaves:
                # Subclasses of NumPy's arrays, such as masked ones, may be errors.
                known = type(leaf) is np.ndarray or isinstance(leaf, Array)
                if not known or not {*map(type, leaf.shape)} <= {int}:
                    break
                seen.append((leaf.shape, leaf.dtype, getattr(leaf, "weak_type", False)))
            else:
                config = jax.config.jax_enable_x64, jax.config.jax_numpy_dtype_promotion
                return on_shapes(static, structure, tuple(seen), config), arrays
        except TypeError:  # the structure cannot be flattened or hashed
            pass
        result = check(static, *arrays)
        return result, jax.tree.map(
            lambda leaf: leaf if isinstance(leaf, Array | np.ndarray) else jnp.asarray(leaf), arrays
        )

    return checked


def check_params(params: GRUParams) -> None:
    """Raise ValueError, naming the array and the shape expected, unless the arrays fit together."""
    if not isinstance(params, GRUParams):
        raise ValueError(f"params is a {type_name(params)}: expected a GRUParams{ways_in(params)}")
    if axes := leading_axes(params):
        raise ValueError(
            f"the arrays have the leading axes {' x '.join(map(str, axes))}: expected those of one "
            "layer; run all with jax.vmap(lambda net: jaxgru.gru(net, xs))(net), or take one, as "
            "jax.tree.map(lambda array: array[0], net)"
        )
    shape = shape_of("recurrent_kernel", params.recurrent_kernel)
    if len(shape) != 2 or shape[1] != 3 * shape[0]:
        raise ValueError(f"recurrent_kernel has shape {shape}: expected (H, 3H)")
    units = shape[0]
    shape = shape_of("kernel", params.kernel)
    if len(shape) != 2 or shape[1] != 3 * units:
        raise ValueError(
            f"kernel has shape {shape}: expected (I, {3 * units}), as recurrent_kernel has "
            f"{units} units"
        )
    if not (shape[0] and units):
        raise ValueError(f"kernel has shape {shape}: expected at least one input and one unit")
    for name in ("bias", "recurrent_bias"):
        value = getattr(params, name)
        if value is not None and shape_of(name, value) != (3 * units,):
            raise ValueError(f"{name} has shape {value.shape}: expected ({3 * units},) or None")
    for name in ("kernel", "recurrent_kernel", "bias", "recurrent_bias"):
        value = getattr(params, name)
        if value is not None and not jnp.issubdtype(jnp.result_type(value), jnp.floating):
            raise ValueError(
                f"{name} has dtype {jnp.result_type(value).name}: expected a floating-point type"
            )


def leading_axes(params: GRUParams) -> tuple[int, ...]:
    """Return the axes over which all arrays of a layer are stacked, ``()`` for one layer's own."""
    ranks = {"kernel": 2, "recurrent_kernel": 2, "bias": 1, "recurrent_bias": 1}
    arrays = {name: getattr(params, name) for name in ranks}
    found = {
        tuple(getattr(array, "shape", ()))[: -ranks[name]]
        for name, array in arrays.items()
        if array is not None
    }
    return found.pop() if len(found) == 1 else ()


def shape_of(name: str, value: Any) -> tuple[int, ...]:
    """Return the shape of an array of JAX or NumPy; raise ValueError for anything else."""
    known = isinstance(value, jax.Array | np.ndarray | np.generic | jax.ShapeDtypeStruct)
    masked = isinstance(value, np.ma.MaskedArray)
    if masked or not (known or hasattr(value, "__jax_array__")):
        convertible = hasattr(value, "__array__") or isinstance(value, list | tuple | float | int)
        way = f"; np.asarray({name}) makes one" + (" without its mask" if masked else "")
        raise ValueError(
            f"{name} is a {type_name(value)}: expected a JAX or NumPy array"
            f"{way if convertible else ''}"
        )
    return tuple(value.shape)


def type_name(value: object) -> str:
    """Return the name of a value's type, with its library unless that is Python or jaxgru."""
    kind = type(value)
    library = kind.__module__.partition(".")[0]
    return kind.__name__ if library in ("builtins", "jaxgru") else f"{library}.{kind.__name__}"


def ways_in(value: object) -> str:
    """Return the end of an error: the function that converts an object of this library, if any."""
    libraries = {kind.__module__.partition(".")[0] for kind in type(value).__mro__}
    for library in ("torch", "keras", "onnx", "flax", "equinox"):
        if library in libraries:
            return f"; convert it with jaxgru.from_{library}"
    if isinstance(value, dict):
        return "; jaxgru.from_flax and jaxgru.from_haiku make one of their parameters"
    return ""


def check_last_axis(name: str, value: Any, size: int, what: str) -> None:
    """Raise ValueError unless the last axis of ``value`` has the given size."""
    shape = shape_of(name, value)
    if not shape or shape[-1] != size:
        raise ValueError(f"{name} has shape {shape}: expected (..., {size}), for {size} {what}")


def check_static(**values: object) -> None:
    """Raise ValueError for a traced value that must be static."""
    for name, value in values.items():
        if isinstance(value, jax.core.Tracer):
            raise ValueError(
                f"{name} is a traced value: expected a Python value; name {name!r} in the "
                "static_argnames of jax.jit"
            )


def check_remat(remat: Any, time: int) -> int | Literal["states"]:
    """Return remat; raise ValueError unless it is "states", or a number of steps, 1 to time.

    For a sequence without steps it may be 1, for a symbolic time any positive integer.
    """
    if isinstance(remat, str) and remat == "states":
        return "states"
    most = max(time, 1) if isinstance(time, int) else None
    is_integer = isinstance(remat, numbers.Integral) and not isinstance(remat, bool)
    if not (is_integer and remat >= 1 and (most is None or remat <= most)):
        raise ValueError(
            f"remat is {remat!r}: expected None, 'states', or an integer from 1 to {most or 'T'}, "
            f"for {time} steps"
        )
    return int(remat)


def check_implementation(implementation: Any) -> None:
    """Raise ValueError unless implementation is one of the three names."""
    names = ("auto", "scan", "native")
    if not (isinstance(implementation, str) and implementation in names):
        raise ValueError(
            f"implementation is {implementation!r}: expected 'auto', 'scan' or 'native'"
        )


def check_precision(precision: Any) -> None:
    """Raise ValueError unless ``jax.lax.dot_general`` accepts the precision.

    Whether a device supports it is checked by JAX when it compiles for that device.
    """
    try:
        known = _is_known_precision(precision)
    except TypeError:  # not hashable: neither this cache nor jax.jit accepts it
        known = False
    if not known:
        raise ValueError(
            f"precision is {precision!r}: expected None, 'default', 'high', 'highest' or another "
            "name known to JAX, a jax.lax.Precision, a tuple of two names or of two of these, a "
            "jax.lax.DotAlgorithm or a jax.lax.DotAlgorithmPreset"
        )


@functools.lru_cache
def _is_known_precision(precision: Any) -> bool:
    # Versions of JAX differ in the names, so JAX checks them, in a product of abstract arrays.
    vector = np.zeros(1, np.float32)
    try:
        jax.eval_shape(functools.partial(lax.dot, precision=precision), vector, vector)
    except (ValueError, TypeError):
        return False
    return True


def check_masks(
    lengths: Any,
    mask: Any,
    resets: Any,
    steps: tuple[int, ...],
    batch: tuple[int, ...],
) -> None:
    """Raise ValueError unless the arguments fit ``steps``, the axes of batch and time."""
    if lengths is not None and mask is not None:
        raise ValueError("lengths and mask are both given: expected one of them")
    if lengths is not None:
        shape = shape_of("lengths", lengths)
        if shape != batch:
            raise ValueError(f"lengths has shape {shape}: expected {batch}, the batch axes of xs")
        if not jnp.issubdtype(lengths.dtype, jnp.integer):
            raise ValueError(f"lengths has dtype {lengths.dtype}: expected integers")
    for name, flags in (("mask", mask), ("resets", resets)):
        if flags is None:
            continue
        shape = shape_of(name, flags)
        if shape != steps:
            raise ValueError(
                f"{name} has shape {shape}: expected {steps}, that of xs but its last axis"
            )
        check_flags(name, flags)


def check_flags(name: str, flags: Any) -> None:
    """Raise ValueError unless flags are booleans."""
    if flags.dtype != np.bool_:
        raise ValueError(f"{name} has dtype {flags.dtype}: expected bool, as {name}.astype(bool)")


def as_reset_state(reset_state: Any, resets: Any) -> tuple[Any, float]:
    """Return the state after a reset, and the number of all units where that is None: zero.

    Raises ValueError for a state without resets.
    """
    if reset_state is not None and resets is None:
        raise ValueError("reset_state is given without resets: expected both")
    if isinstance(reset_state, numbers.Real) and not isinstance(reset_state, bool):
        return None, float(reset_state)
    return reset_state, 0.0


def check_lengths(lengths: Any, time: int) -> None:
    """Raise ValueError unless lengths are within 0 to ``time``; traced ones are not checked."""
    if isinstance(lengths, jax.core.Tracer):
        return
    values = np.asarray(lengths)
    wrong = np.argwhere((values < 0) | (values > time))
    if len(wrong):
        place = tuple(int(i) for i in wrong[0])
        index = ", ".join(str(i) for i in place)
        raise ValueError(
            f"lengths{f'[{index}]' if place else ''} is {values[place]}: expected 0 to {time}, "
            "the number of steps of xs"
        )


def check_state(name: str, h: Any, leading: tuple[int, ...], units: int, why: str) -> None:
    """Raise ValueError unless a layer's part of a state broadcasts to ``(*leading, H)``."""
    if h is not None:
        check_last_axis(name, h, units, "units")
        check_broadcasts(name, h, (*leading, units), why)


def check_broadcasts(name: str, value: Any, shape: tuple[int, ...], why: str) -> None:
    """Raise ValueError unless an array broadcasts to a shape."""
    try:
        fits = jnp.broadcast_shapes(shape_of(name, value), shape) == shape
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(f"{name} has shape {value.shape}: expected {shape}, {why}")


def state_dtype(net: Any, **arrays: Any) -> jnp.dtype:
    """Return the type of the state: that of net and arrays promoted, and at least float32.

    Weights and inputs in half precision are converted to float32, which is exact, once before the
    loop, so that the state and every sum have single precision.

    Args:
        net: a layer, or any structure of layers.
        **arrays: arguments by name, each an array, a structure of arrays, or None.

    Raises ValueError, naming the argument, if one is not a floating-point array or if JAX does not
    allow the promotion (``jax.numpy_dtype_promotion("strict")``).
    """
    given = [pair for name, value in arrays.items() for pair in _named_leaves(name, value)]
    for name, value in given:
        found = jnp.result_type(value)
        if not jnp.issubdtype(found, jnp.floating):
            raise ValueError(f"{name} has dtype {found.name}: expected a floating-point type")
    promoted: Any = None
    weak = []
    for name, value in [*_named_leaves("", net), *given]:
        if getattr(value, "weak_type", False):
            weak.append(value)
            continue
        # jnp.result_type, not .dtype: JAX converts a NumPy array of float64 to float32 by default.
        dtype = at_least_float32(jnp.result_type(value))
        try:
            promoted = dtype if promoted is None else jnp.promote_types(promoted, dtype)
        except ValueError:  # JAX's TypePromotionError
            raise ValueError(
                f"{name} has dtype {jnp.result_type(value).name}: expected {promoted.name}, as "
                "strict dtype promotion is on"
            ) from None
    # The weak types of Python numbers do not take part in the promotion.
    return at_least_float32(jnp.result_type(*weak)) if promoted is None else promoted


def _named_leaves(name: str, tree: Any) -> list[tuple[str, Any]]:
    """Return the leaves of a structure with their names, such as ``h0[1].forward``."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return [((name + jax.tree_util.keystr(path)).lstrip("."), leaf) for path, leaf in leaves]
