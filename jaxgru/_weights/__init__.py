"""Weights from files and other libraries, and back."""
