"""Arrays one after the other, without names: what ``numpy.save`` and Equinox write.

``equinox.tree_serialise_leaves`` writes each leaf of a model as a .npy file, one behind the other,
often after a line of JSON that the user made. Which of them are a GRU is known to the model alone,
so such a file is told from others only to say what to do instead.
"""

from jaxgru.weights.contract import Look, Source
from jaxgru.weights.errors import WeightsError
from jaxgru.weights.results import Gathered

_MAGIC = b"\x93NUMPY"


def recognises(look: Look) -> bool:
    """Tell whether a file begins with a .npy file, or has one after a first line of JSON."""
    first_line, _, rest = look.head.partition(b"\n")
    return look.head.startswith(_MAGIC) or (first_line.startswith(b"{") and rest.startswith(_MAGIC))


def read(source: Source) -> Gathered:
    """Raise WeightsError: there are no names to find a GRU by."""
    raise WeightsError(
        "its arrays have no names, as numpy.save and equinox.tree_serialise_leaves write them: "
        "expected arrays with names; load them into the model they were saved from "
        "(equinox.tree_deserialise_leaves) and hand that to jaxgru.from_equinox"
    )
