"""Files as attributes of SQLAlchemy models; importing it is what listens."""

from filecolumn.orm import column, events, granting

__all__ = ("column", "events", "granting")
