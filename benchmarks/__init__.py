"""Measurements of speed and memory; see `__main__`."""
