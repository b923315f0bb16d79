"""TensorFlow's checkpoints and SavedModels, parsed without TensorFlow.

Every size and offset is checked against the file before anything is allocated, and checksums are
compared. No code in a file is run, and only the files of the checkpoint are opened.
"""

from jaxgru._weights.formats.tensorflow.files import located
from jaxgru._weights.formats.tensorflow.format import read

__all__ = ["located", "read"]
