"""TensorFlow's checkpoints and SavedModels, given their place."""

from pathlib import Path

from jaxgru._weights.contract import Stored
from jaxgru._weights.errors import WeightsError, shown
from jaxgru._weights.formats.tensorflow.bundle import read_index
from jaxgru._weights.libraries.finding import find


def read(place: Path) -> Stored:
    """Return the variables of the checkpoint with an index, or of the SavedModel in a folder."""
    index = place / "variables" / "variables.index" if place.is_dir() else place
    if index.suffix != ".index":
        raise WeightsError(
            f"its name is {shown(index.name)}, and it is a table of TensorFlow: expected an .index "
            "with its shards beside it; a checkpoint of the first format is one file, which "
            "tf.compat.v1.train.Saver restores and, with its write_version V2, writes anew"
        )
    return Stored(read_index(index).arrays, find)
