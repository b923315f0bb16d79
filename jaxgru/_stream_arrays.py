"""The arrays that a stream is given, checked and converted."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxgru._checks import shape_of, type_name


class Layout(NamedTuple):
    """What the arrays of a stream look like."""

    streams: int | None  # the axis before the last; None if there is none
    inputs: int
    outputs: int
    dtype: np.dtype

    def as_inputs(self, x: Any) -> np.ndarray:
        """Return x as a dense array in the type of the stream; raise ValueError if it is none."""
        x = _as_array("x", x)
        check_floating("x", x)
        leading = () if self.streams is None else (self.streams,)
        shape = (*leading, self.inputs)
        if x.shape != shape and x.shape[1:] != shape:
            of_steps = ", ".join(map(str, ("T", *shape)))
            raise ValueError(f"x has shape {x.shape}: expected {shape} or ({of_steps})")
        return _dense(x.astype(self.dtype, copy=False))

    def as_active(self, active: Any) -> np.ndarray:
        """Return the flags as a dense array; raise ValueError if they are none."""
        active = _as_array("active", active)
        if self.streams is None:
            raise ValueError("active is given, and streams is None: expected None")
        if active.dtype != np.bool_ or active.shape != (self.streams,):
            raise ValueError(
                f"active has dtype {active.dtype} and shape {active.shape}: expected bool and "
                f"({self.streams},)"
            )
        return _dense(active)

    def check_out(self, out: Any, leading: tuple[int, ...]) -> None:
        """Raise ValueError unless the outputs, with these axes before theirs, can be written."""
        shape = (*leading, self.outputs)
        if not isinstance(out, np.ndarray) or isinstance(out, np.ma.MaskedArray):
            raise ValueError(f"out is a {type_name(out)}: expected a NumPy array")
        if out.dtype != self.dtype or out.shape != shape:
            raise ValueError(
                f"out has dtype {out.dtype} and shape {out.shape}: expected {self.dtype} and "
                f"{shape}, for this x"
            )
        if not out.flags.writeable:
            raise ValueError("out is read-only: expected an array that can be written to")

    def as_rows(self, which: Any) -> Any:
        """Return an index of streams, of NumPy; raise ValueError if it is none of these streams."""
        if which is None:
            return slice(None)
        if self.streams is None:
            raise ValueError(f"which is {which!r}, and streams is None: expected None")
        rows = np.asarray(which)
        if rows.dtype == np.bool_ and rows.shape == (self.streams,):
            return rows
        if rows.shape == (0,):
            return rows.astype(np.intp)
        is_index = np.issubdtype(rows.dtype, np.integer) and rows.ndim <= 1
        if not is_index or rows.max() >= self.streams or rows.min() < -self.streams:
            raise ValueError(
                f"which is {which!r}: expected indices below {self.streams}, or that many booleans"
            )
        return rows


def is_plain(array: np.ndarray) -> bool:
    """Return whether an array of the right type can be written to in place."""
    return type(array) is np.ndarray and array.flags.c_contiguous and array.flags.aligned


def check_floating(name: str, array: np.ndarray) -> None:
    """Raise ValueError unless an array has floating-point numbers."""
    # bfloat16 is of another kind than NumPy's own.
    if array.dtype.kind != "f" and not jnp.issubdtype(array.dtype, jnp.floating):
        raise ValueError(f"{name} has dtype {array.dtype.name}: expected a floating-point type")


def _dense(array: np.ndarray) -> np.ndarray:
    is_dense = array.flags.c_contiguous and array.flags.aligned
    return array if is_dense else array.copy()


def _as_array(name: str, value: Any) -> np.ndarray:
    if isinstance(value, jax.core.Tracer):
        raise ValueError(
            f"{name} is a traced value: expected a NumPy array; jaxgru.gru_cell can be traced"
        )
    if isinstance(value, np.ma.MaskedArray):
        shape_of(name, value)  # raises
    return np.asarray(value)
