"""TensorFlow's checkpoints and SavedModels, parsed without TensorFlow.

Every size and offset is checked against the file before anything is allocated, and checksums are
compared. Nothing in a file is run, and no other file is opened than those of the checkpoint.
"""

from jaxgru._weights.formats.tensorflow.files import located
from jaxgru._weights.formats.tensorflow.format import read

__all__ = ["located", "read"]
