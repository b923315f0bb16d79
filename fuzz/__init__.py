"""Mutates real files of weights, thousands per format, and reads each: ``python -m fuzz``.

A read must return nets or raise a ``jaxgru.WeightsError`` with one line that names file and cause.
Anything else is a failure: another exception or warning, a crash, a hang, a started program, or
too much memory.
"""
