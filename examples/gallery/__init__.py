"""A gallery: upload, view, play, replace and delete, with files and rows that always agree."""
