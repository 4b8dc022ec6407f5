"""Storages behind one contract."""
