"""Keras files: ``.keras``, ``.weights.h5`` and whole models in HDF5."""
