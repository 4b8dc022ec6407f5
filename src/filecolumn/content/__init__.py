"""Content on its way in: what a caller may give, how it is read, what it is, and what a column accepts."""
