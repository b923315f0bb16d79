"""Hostile files, built by code: each is a function whose docstring names what it attacks.

A function takes a folder that is its own, where it may put what the attack reaches for, and returns
the content of the file to read. ``CASES`` has all of them by name.
"""

from hostile import cases, hdf5, keras, msgpack, npy, onnx, others, pickles, safetensors, zips

__all__ = [
    "CASES", "hdf5", "keras", "msgpack", "npy", "onnx", "others", "pickles", "safetensors", "zips",
]  # fmt: skip
CASES = cases.CASES
