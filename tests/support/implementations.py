"""The implementations of the loops that are installed, and the cases that the native one serves."""

from jaxgru._recurrence.library import native

ALL = ["scan"] if native().reason else ["scan", "native"]
