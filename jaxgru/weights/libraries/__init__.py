"""Layers of other libraries in memory, to nets and back: one module a library."""
