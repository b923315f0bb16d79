"""The implementations of the loops that are installed, and the cases that the native one serves."""

import importlib.util

ALL = ["scan"] if importlib.util.find_spec("jaxgru_native") is None else ["scan", "native"]
