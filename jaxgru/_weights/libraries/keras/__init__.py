"""Keras: names and order of its arrays, its configurations, its layers in memory."""
