"""Benchmarks of jaxgru and other GRU implementations, described in README.md."""
