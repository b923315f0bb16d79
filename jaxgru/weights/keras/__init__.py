"""Keras' files: configurations, arrays, and the HDF5 files and archives that hold them."""
