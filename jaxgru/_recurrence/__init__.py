"""The states of one layer over time, and their derivative."""
