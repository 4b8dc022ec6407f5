"""A gallery: upload, look, play, replace and delete, with files that are true to their rows."""
