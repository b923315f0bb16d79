"""Synthetic learning tasks, and the comparison of libraries on them."""
