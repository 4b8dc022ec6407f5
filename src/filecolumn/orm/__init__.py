"""Files as attributes of SQLAlchemy models."""
