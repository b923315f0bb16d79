"""Mutates real files of weights, thousands a format, and reads each: ``python -m fuzz``.

A read must end in nets or in one ``jaxgru.WeightsError`` of one line that names file and cause.
Anything else is a failure: another exception or warning, a crash, a hang, a program started, or
more memory than the reader may take.
"""
