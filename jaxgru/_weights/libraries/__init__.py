"""Conversions from and to other libraries, one module each.

Each module defines the names and the order of the arrays of its library: ``find(arrays, assume)``
returns the GRUs among named arrays, ``LOOKED_FOR`` describes their names. ``from_`` and ``to_``
convert objects in memory.
"""
