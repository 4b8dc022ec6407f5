"""Maintenance, on every database that runs here."""
