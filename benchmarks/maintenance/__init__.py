"""Databases full of keys, what maintenance costs there, and a writer beside it."""
